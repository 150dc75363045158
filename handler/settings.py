"""The settings, from the environment."""

from __future__ import annotations

import difflib
import functools
import re
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Annotated, Literal, TypeVar, get_type_hints

from pydantic import BeforeValidator, Field, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass as validated

__all__ = ["ServerSettings", "Setting", "Settings", "SettingsError", "described"]

_PREFIX = "ECI_PROFILE_"
_NAME = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$"
_OF_A_SERVICE = re.compile(r"_SERVICE_(HOST|PORT\w*)$|_PORT(_\d+_\w+)?$")
_CLOSE = 0.92  # of the whole name with its prefix

_Form = TypeVar("_Form", "Settings", "ServerSettings")


class SettingsError(ValueError):
    """A setting is invalid. The message is one sentence with its name, its value and the remedy."""


@dataclass(frozen=True, slots=True)
class Setting:
    """The description of a setting, for the documentation and for errors.

    ``allowed`` completes "must be"; ``default`` describes the default if the value alone does not.
    """

    meaning: str
    allowed: str
    default: str = ""
    variable: str = ""


def _upper(value: object) -> object:
    return value.upper() if isinstance(value, str) else value


@validated(frozen=True, slots=True)
class Settings:
    """The settings of the function."""

    provider: Annotated[
        Literal["cm", "file"],
        Setting(
            "Where the profile and the namespaces are read from", "`cm` (the cluster) or `file`"
        ),
    ] = "cm"
    file: Annotated[
        str,
        Setting(
            "The file of the provider `file`, which requires it", "the path of a YAML file", "none"
        ),
    ] = ""
    namespace: Annotated[
        str,
        Field(pattern=_NAME, max_length=63),
        Setting("The namespace of the profile's ConfigMap", "the name of a namespace"),
    ] = "kube-system"
    name: Annotated[
        str,
        Field(pattern=_NAME, max_length=253),
        Setting("The name of the profile's ConfigMap", "the name of a ConfigMap"),
    ] = "eci-profile"
    ttl: Annotated[
        float,
        Field(ge=0, le=3600, allow_inf_nan=False),
        Setting(
            "How many seconds the profile and the labels of namespaces are cached."
            " `0`: read them for each review",
            "a number of seconds from 0 to 3600, such as `5` or `0.5`",
            "`5`",
        ),
    ] = 5.0
    max_body: Annotated[
        int,
        Field(ge=1024, le=2**30),
        Setting(
            "The maximum size of a request body, in bytes; a larger one gets 413",
            "a number of bytes from 1024 to 1073741824",
            "`8388608` (8 MiB)",
        ),
    ] = 8 * 2**20
    binding: Annotated[
        bool,
        Setting(
            "Whether effects at binding are enabled; requires the component `effects-at-binding`",
            "`1` (answer reviews of `pods/binding`) or `0`",
            "`0`",
        ),
    ] = False
    node_ttl: Annotated[
        float,
        Field(ge=0, le=86400, allow_inf_nan=False),
        Setting(
            "How many seconds the labels of a node are cached, for effects at binding",
            "a number of seconds from 0 to 86400, such as `300`",
            "`300`",
        ),
    ] = 300.0
    registration: Annotated[
        str,
        Field(pattern=_NAME, max_length=253),
        Setting(
            "The registration that [follows the profile](tools.md#let-it-follow-the-profile);"
            " requires the component `narrow-registration`",
            "the name of a MutatingWebhookConfiguration",
            "none",
        ),
    ] = ""
    log_level: Annotated[
        Literal["DEBUG", "INFO", "WARNING", "ERROR"],
        BeforeValidator(_upper),
        Setting("The lowest level that is logged", "`DEBUG`, `INFO`, `WARNING` or `ERROR`"),
    ] = "INFO"
    language: Annotated[
        Literal["en", "zh"],
        Setting(
            "The language of the command line, and of the message that refuses an invalid profile."
            " Logs, Events and warnings are always in English",
            "`en` (English) or `zh` (Chinese)",
        ),
    ] = "en"
    page: Annotated[
        bool,
        Setting(
            "Whether [the page](tools.md#the-page) is served at `/`",
            "`1` or `0`",
            "`0`",
        ),
    ] = False

    @classmethod
    def read(cls, environment: Mapping[str, str]) -> Settings:
        """Read the settings; an empty variable counts as absent.

        Raises SettingsError, also for a name that looks like a misspelt setting.
        """
        _check_names(environment)
        settings = _read(cls, environment)
        if settings.provider == "file" and not settings.file:
            raise SettingsError(
                "ECI_PROFILE_FILE must be the path of a YAML file,"
                " because ECI_PROFILE_PROVIDER is file"
            )
        if settings.provider == "file" and settings.registration:
            raise SettingsError(
                "ECI_PROFILE_REGISTRATION must not be set, because ECI_PROFILE_PROVIDER is file,"
                f" which has no registration; it is {settings.registration!r}"
            )
        return settings


@validated(frozen=True, slots=True)
class ServerSettings:
    """The settings of the server, for ``python -m handler.serve``."""

    port: Annotated[
        int | None,
        Field(ge=1, le=65535),
        Setting("The port", "a number from 1 to 65535", "`8080`, with TLS `8443`", "PORT"),
    ] = None
    tls_dir: Annotated[
        str,
        Setting(
            "A directory with `tls.crt` and `tls.key`, such as a mounted Secret. The server then"
            " serves only HTTPS (TLS 1.2 or later), and reloads changed files within seconds",
            "the path of a directory with tls.crt and tls.key",
            "none: plain HTTP",
        ),
    ] = ""
    tls_client_ca: Annotated[
        str,
        Setting(
            "A PEM file with CAs, which is also reloaded. A POST without a client certificate"
            " from one of them gets 403. Probes and metrics need none."
            " Requires `ECI_PROFILE_TLS_DIR`",
            "the path of a PEM file",
            "none",
        ),
    ] = ""
    drain: Annotated[
        float,
        Field(ge=0, le=3600, allow_inf_nan=False),
        Setting(
            "How many seconds the server accepts connections after SIGTERM, while it is not ready."
            " Requests in progress then have at most 10 seconds. A second SIGTERM or Ctrl-C ends"
            " the wait",
            "a number of seconds from 0 to 3600, such as `5` or `0.5`",
            "`5`",
        ),
    ] = 5.0

    @classmethod
    def read(cls, environment: Mapping[str, str]) -> ServerSettings:
        """Read the settings; an empty variable counts as absent.

        Raises SettingsError.
        """
        settings = _read(cls, environment)
        if settings.tls_client_ca and not settings.tls_dir:
            raise SettingsError(
                "ECI_PROFILE_TLS_DIR must be the path of a directory with tls.crt and tls.key,"
                " because ECI_PROFILE_TLS_CLIENT_CA is set"
            )
        return settings


@functools.cache
def described(form: type[Settings | ServerSettings]) -> Mapping[str, Setting]:
    """Return the settings by field, with the variable and the default of each, in Markdown."""
    found, hints = {}, get_type_hints(form, include_extras=True)
    for field in fields(form):
        notes = hints[field.name].__metadata__
        (setting,) = (each for each in notes if isinstance(each, Setting))
        found[field.name] = replace(
            setting,
            variable=setting.variable or f"{_PREFIX}{field.name.upper()}",
            default=setting.default or f"`{field.default}`",
        )
    return found


def _check_names(environment: Mapping[str, str]) -> None:
    """Refuse a variable that looks like a misspelt setting.

    Kubernetes itself sets other variables with the prefix, for Services.
    """
    known = [
        each.variable for form in (Settings, ServerSettings) for each in described(form).values()
    ]
    for name in environment:
        if not name.startswith(_PREFIX) or name in known or _OF_A_SERVICE.search(name):
            continue
        if close := difflib.get_close_matches(name.upper(), known, n=1, cutoff=_CLOSE):
            raise SettingsError(f"{name} is not a setting, did you mean {close[0]}?")


def _read(form: type[_Form], environment: Mapping[str, str]) -> _Form:
    settings = described(form)  # type: ignore[arg-type]  # the form can be hashed
    written = {
        field: value
        for field, setting in settings.items()
        if (value := environment.get(setting.variable, "").strip())
    }
    try:
        return TypeAdapter(form).validate_python(written)
    except ValidationError as error:
        field = str(error.errors()[0]["loc"][0])
        allowed = settings[field].allowed.replace("`", "")
        raise SettingsError(
            f"{settings[field].variable} must be {allowed}, not {written[field]!r}"
        ) from None
