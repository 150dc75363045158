"""The profile in force, from the last read of the ConfigMap."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass

from ..decision.matching import Matcher
from ..profiles.collection import put_off
from ..profiles.parse import ProfileError, parse
from ..profiles.problems import Problem
from ..telemetry.log import listed
from ..telemetry.metrics import (
    BINDING_EFFECTS_OFF,
    MATCHES,
    PROFILE_CHANGED,
    PROFILE_SELECTORS,
    PROFILE_VALID,
    PROFILE_VERSION,
)
from .cache import LoadError
from .source import ConfigMap, NotFoundError, Source, SourceError

__all__ = ["ProfileLoader", "State"]

_ABSENT = ConfigMap({})
_SHOWN = 20  # problems or warnings in a log line, Event or response

_log = logging.getLogger("eci-profile")


@dataclass(slots=True)
class State:
    """``matcher`` is of the last good profile, or None; ``errors`` are of a newer, invalid one."""

    matcher: Matcher | None
    config_map: ConfigMap
    errors: str = ""
    reported: bool = False


class ProfileLoader:
    """Loads the profile. Unchanged text is not parsed again.

    ``bindings``: whether effects at binding are switched on.
    """

    def __init__(
        self, source: Source, namespace: str, name: str, *, bindings: bool = False
    ) -> None:
        self._source = source
        self._namespace = namespace
        self._name = name
        self._bindings = bindings
        self._state: State | None = None

    def load(self, _key: str = "") -> State:
        """Read the ConfigMap. Call it from one thread at a time.

        Raises LoadError if it cannot be read. A missing ConfigMap has no selectors.
        """
        try:
            config_map = self._source.config_map(self._namespace, self._name)
        except NotFoundError:
            config_map = _ABSENT
        except SourceError as error:
            raise LoadError(str(error), retry_after=error.retry_after) from None
        version = config_map.resource_version
        PROFILE_VERSION.set(int(version) if version.isdecimal() else 0)
        if self._state is None or _content(self._state.config_map) != _content(config_map):
            with put_off():
                self._state = self._changed(config_map)
        return self._state

    def report(self, state: State) -> None:
        """Report to the source that the profile is invalid, if the rights allow it."""
        instead = (
            "the last good profile stays in force" if state.matcher else "no profile is in force"
        )
        message = f"{instead}; this one has errors:\n{state.errors}"
        try:
            self._source.report(self._namespace, self._name, state.config_map, message)
        except SourceError as error:
            _log.info("could not create an Event for the profile", extra={"reason": str(error)})

    def _changed(self, config_map: ConfigMap) -> State:
        try:
            profile = parse(config_map.data)
        except ProfileError as error:
            last_good = self._state.matcher if self._state else None
            PROFILE_VALID.set(0)
            _log.error(
                "the profile is invalid, "
                + ("the last good one stays in force" if last_good else "and there is no other"),
                extra={"problems": error.lines(_SHOWN)},
            )
            return State(last_good, config_map, "\n".join(error.lines(_SHOWN)))
        PROFILE_VALID.set(1)
        PROFILE_SELECTORS.set(len(profile.selectors))
        PROFILE_CHANGED.set(time.time())
        MATCHES.follow([(selector.name, selector.mode) for selector in profile.selectors])
        waiting = [each.name for each in profile.selectors if each.waits_for_binding]
        off = [] if self._bindings else waiting
        BINDING_EFFECTS_OFF.set(len(off))
        _log.info(
            "there is no profile, so no pods are changed"
            if config_map is _ABSENT
            else "the profile is in force",
            extra={
                "selectors": listed([selector.name for selector in profile.selectors]),
                **({"warnings": _shown(profile.warnings)} if profile.warnings else {}),
            },
        )
        if off:
            _log.warning(
                "effects at binding are not enabled, so they are never added",
                extra={"selectors": listed(off)},
            )
        return State(Matcher(profile), config_map)


def _shown(warnings: Sequence[Problem]) -> list[str]:
    more = len(warnings) - _SHOWN
    return [*map(str, warnings[:_SHOWN]), *([f"and {more} more"] if more > 0 else [])]


def _content(config_map: ConfigMap) -> object:
    """The parts of a ConfigMap that are compared to detect a change."""
    return config_map is _ABSENT, config_map.uid, config_map.data
