"""The settings, from the environment."""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping
from typing import Annotated, Literal, TypeVar

from pydantic import BeforeValidator, Field, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass as validated

__all__ = ["ServerSettings", "Settings", "SettingsError"]

_PREFIX = "ECI_PROFILE_"
_NAME = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$"
_OF_A_SERVICE = re.compile(r"_SERVICE_(HOST|PORT\w*)$|_PORT(_\d+_\w+)?$")
_MEANINGS = {
    "ECI_PROFILE_PROVIDER": "cm (the cluster) or file",
    "ECI_PROFILE_FILE": "the path of a YAML file",
    "ECI_PROFILE_NAMESPACE": "the name of a namespace",
    "ECI_PROFILE_NAME": "the name of a ConfigMap",
    "ECI_PROFILE_TTL": "a number of seconds from 0 to 3600, such as 5 or 0.5",
    "ECI_PROFILE_MAX_BODY": "a number of bytes from 1024 to 1073741824",
    "ECI_PROFILE_LOG_LEVEL": "DEBUG, INFO, WARNING or ERROR",
    "ECI_PROFILE_PAGE": "1 (serve the page for those who write profiles) or 0",
}
_SERVER_MEANINGS = {
    "PORT": "a number from 1 to 65535",
    "ECI_PROFILE_TLS_DIR": "the path of a directory with tls.crt and tls.key",
    "ECI_PROFILE_TLS_CLIENT_CA": "the path of a PEM file",
    "ECI_PROFILE_DRAIN": "a number of seconds from 0 to 3600, such as 5 or 0.5",
}

_CLOSE = 0.92  # of the whole name, with its prefix

_T = TypeVar("_T")


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
    page: bool = False

    @classmethod
    def read(cls, environment: Mapping[str, str]) -> Settings:
        """Read them; an empty variable counts as absent.

        Raises SettingsError, also for a name that looks like a misspelt one.
        """
        _check_names(environment)
        settings = _read(cls, _MEANINGS, environment)
        if settings.provider == "file" and not settings.file:
            raise SettingsError(
                f"ECI_PROFILE_FILE must be {_MEANINGS['ECI_PROFILE_FILE']},"
                " since ECI_PROFILE_PROVIDER is file"
            )
        return settings


@validated(frozen=True, slots=True)
class ServerSettings:
    """What an administrator may choose where the process itself is the server.

    ``tls_dir``: empty for plain HTTP. ``tls_client_ca``: empty if anyone may send reviews.
    ``drain``: seconds from SIGTERM until no more connections are accepted.
    """

    port: Annotated[int | None, Field(ge=1, le=65535)] = None
    tls_dir: str = ""
    tls_client_ca: str = ""
    drain: Annotated[float, Field(ge=0, le=3600, allow_inf_nan=False)] = 5.0

    @classmethod
    def read(cls, environment: Mapping[str, str]) -> ServerSettings:
        """Read them; an empty variable counts as absent.

        Raises SettingsError.
        """
        settings = _read(cls, _SERVER_MEANINGS, environment)
        if settings.tls_client_ca and not settings.tls_dir:
            raise SettingsError(
                f"ECI_PROFILE_TLS_DIR must be {_SERVER_MEANINGS['ECI_PROFILE_TLS_DIR']},"
                " since ECI_PROFILE_TLS_CLIENT_CA is given"
            )
        return settings


def _check_names(environment: Mapping[str, str]) -> None:
    """Refuse a variable that looks like a misspelt setting.

    Others with the prefix may be Kubernetes' own, for Services whose names begin so.
    """
    known = (*_MEANINGS, *_SERVER_MEANINGS)
    for name in environment:
        if not name.startswith(_PREFIX) or name in known or _OF_A_SERVICE.search(name):
            continue
        if close := difflib.get_close_matches(name.upper(), known, n=1, cutoff=_CLOSE):
            raise SettingsError(f"{name} is no setting, did you mean {close[0]}?")


def _read(form: type[_T], meanings: Mapping[str, str], environment: Mapping[str, str]) -> _T:
    variables = {variable.removeprefix(_PREFIX).lower(): variable for variable in meanings}
    written = {
        field: value
        for field, variable in variables.items()
        if (value := environment.get(variable, "").strip())
    }
    try:
        return TypeAdapter(form).validate_python(written)
    except ValidationError as error:
        field = str(error.errors()[0]["loc"][0])
        variable = variables[field]
        raise SettingsError(
            f"{variable} must be {meanings[variable]}, not {written[field]!r}"
        ) from None
