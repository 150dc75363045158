"""Puts the function together from the environment, the same for every host."""

from __future__ import annotations

import logging
import os

from . import log
from .admission import NAMESPACE_THREADS, Admission
from .cache import LoadError
from .filesource import FileSource
from .function import Function
from .settings import Settings, SettingsError
from .sources import Source, SourceError

__all__ = ["function"]

_log = logging.getLogger("eci-profile")


def function() -> Function:
    """The function as the environment wants it.

    Ends the process with one sentence if a setting is wrong or a file can't be read.
    """
    try:
        settings = Settings.read(os.environ)
        log.set_up(settings.log_level)
        admission = Admission(settings, _source(settings))
        if settings.provider == "file":  # a cluster is not asked before the host may have forked
            admission.preload()
    except (SettingsError, SourceError, LoadError) as error:
        raise SystemExit(f"eci-profile: {error}") from None
    if not settings.page:
        return Function(admission, settings.max_body)
    from .page import Page  # as below: only for those who want it

    page = Page(admission, settings.namespace, settings.name)
    return Function(admission, settings.max_body, page)


def _source(settings: Settings) -> Source:
    if settings.provider == "file":
        source = FileSource(settings.file)
        _log.info(
            "serving from a file",
            extra={"file": settings.file, "namespaces": log.listed(source.namespaces())},
        )
        return source
    # Imported here: it takes longer than all the rest, and the other provider does without.
    from .clustersource import ClusterSource

    return ClusterSource(NAMESPACE_THREADS + 1)
