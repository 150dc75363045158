"""Builds the function from the environment, for every host."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping

from .admission.admission import Admission
from .admission.executor import BoundedExecutor
from .cluster.cache import LoadError
from .cluster.file import FileSource
from .cluster.source import Registrations, Source, SourceError
from .cluster.store import THREADS, Store
from .settings import Settings, SettingsError
from .telemetry import log
from .version import VERSION
from .web.function import Function

__all__ = ["build", "function"]

_MOST_JUDGED = 4  # profiles that wait; kube-apiserver waits 10 s, and one takes at most 2 s

_log = logging.getLogger("eci-profile")


def function() -> Function:
    """Build the function from the environment.

    Exits the process with one sentence if a setting is invalid or a file cannot be read.
    """
    try:
        settings = Settings.read(os.environ)
        log.set_up(settings.log_level)
        return build(settings)
    except (SettingsError, SourceError, LoadError) as error:
        raise SystemExit(f"eci-profile: {error}") from None


def build(settings: Settings) -> Function:
    """Build the function with these settings.

    Raises SourceError and LoadError if the file cannot be read, or there is no cluster.
    """
    source, registrations, facts = _source(settings)
    _log.info("starting", extra={"version": VERSION, **facts})
    store = Store(
        source,
        settings.namespace,
        settings.name,
        settings.ttl,
        settings.node_ttl,
        bindings=settings.binding,
    )
    if settings.provider == "file":  # not from a cluster, because the host may fork later
        store.preload()
    if registrations and settings.registration:
        store.keep_registration(registrations, settings.registration)
    executor = BoundedExecutor("judging", _MOST_JUDGED)
    admission = Admission(store, executor, bindings=settings.binding, language=settings.language)
    if not settings.page:
        return Function(admission, store, settings.max_body)
    from .web.page import Page  # imported only if it is used, as below

    listed = source.namespaces if isinstance(source, FileSource) else None
    return Function(admission, store, settings.max_body, Page(store, executor, listed))


def _source(settings: Settings) -> tuple[Source, Registrations | None, Mapping[str, str]]:
    """Return the source of objects, that of registrations, and facts about them for the log."""
    if settings.provider == "file":
        source = FileSource(settings.file)
        return source, None, {"file": settings.file, "namespaces": log.listed(source.namespaces())}
    # Imported here: it is the slowest import, and the other provider does not need it.
    from .cluster.apiserver import ClusterSource

    cluster = ClusterSource(THREADS)
    return cluster, cluster, {"provider": settings.provider}
