"""The settings, from the environment."""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass as validated

__all__ = ["Settings", "SettingsError"]

_PREFIX = "ECI_PROFILE_"
_NAME = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$"
_OF_A_SERVICE = re.compile(r"_SERVICE_(HOST|PORT\w*)$|_PORT(_\d+_\w+)?$")
_MEANINGS = {
    "provider": "cm (the cluster) or file",
    "file": "the path of a YAML file",
    "namespace": "the name of a namespace",
    "name": "the name of a ConfigMap",
    "ttl": "a number of seconds from 0 to 3600, such as 5 or 0.5",
    "max_body": "a number of bytes from 1024 to 1073741824",
    "log_level": "DEBUG, INFO, WARNING or ERROR",
}


class SettingsError(ValueError):
    """A setting is wrong. The message is one sentence that names it, its value and the remedy."""


def _upper(value: object) -> object:
    return value.upper() if isinstance(value, str) else value


@validated(frozen=True, slots=True)
class Settings:
    """What an administrator may choose. ``ttl`` is in seconds, ``max_body`` in bytes."""

    provider: Literal["cm", "file"] = "cm"
    file: str = ""
    namespace: Annotated[str, Field(pattern=_NAME, max_length=63)] = "kube-system"
    name: Annotated[str, Field(pattern=_NAME, max_length=253)] = "eci-profile"
    ttl: Annotated[float, Field(ge=0, le=3600, allow_inf_nan=False)] = 5.0
    max_body: Annotated[int, Field(ge=1024, le=2**30)] = 8 * 2**20
    log_level: Annotated[Literal["DEBUG", "INFO", "WARNING", "ERROR"], BeforeValidator(_upper)] = (
        "INFO"
    )

    @classmethod
    def read(cls, environment: Mapping[str, str]) -> Settings:
        """Read them; an empty variable counts as absent.

        Raises SettingsError, also for a name that looks like a misspelt one. Others with the
        prefix may be Kubernetes' own, which it sets for Services whose names begin so.
        """
        known = {field.upper(): field for field in _MEANINGS}
        for name in environment:
            field = name.removeprefix(_PREFIX)
            if field == name or field in known or _OF_A_SERVICE.search(name):
                continue
            if close := difflib.get_close_matches(field.upper(), known, n=1):
                raise SettingsError(f"{name} is no setting, did you mean {_PREFIX}{close[0]}?")
        written = {
            field: value
            for name, field in known.items()
            if (value := environment.get(_PREFIX + name, "").strip())
        }
        try:
            settings = TypeAdapter(cls).validate_python(written)
        except ValidationError as error:
            field = str(error.errors()[0]["loc"][0])
            raise SettingsError(
                f"{_PREFIX}{field.upper()} must be {_MEANINGS[field]}, not {written[field]!r}"
            ) from None
        if settings.provider == "file" and not settings.file:
            raise SettingsError(
                f"{_PREFIX}FILE must be {_MEANINGS['file']}, since {_PREFIX}PROVIDER is file"
            )
        return settings
