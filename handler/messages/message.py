"""Messages: English texts that keep their template and arguments, for translation to Chinese.

As with gettext, the English template is the id. The Chinese templates are in zh.yaml, which is read
when the first message is translated.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from typing_extensions import Self

__all__ = ["Language", "Message", "Quoted", "message_of", "translated"]

Language = Literal["en", "zh"]

_SEPARATORS: Mapping[Language, str] = {"en": ", ", "zh": "、"}

_Argument = str | int | tuple[str, ...]


class Message(str):
    """The English text, for logs and programs too; `translated` renders it in a language.

    Without arguments the template is the text. Otherwise it has a placeholder for each, such as
    ``{name}``. Arguments may be messages; a tuple is rendered as a list.
    """

    __slots__ = ("arguments", "template")

    template: str
    arguments: Mapping[str, _Argument]

    def __new__(cls, template: str, /, **arguments: _Argument) -> Self:
        """Make a message from a template and the arguments for its placeholders."""
        message = super().__new__(cls, _filled(template, arguments, "en"))
        message.template = template
        message.arguments = arguments
        return message


class Quoted(Message):
    """A message of a library: translated if it is in the catalogue, else quoted."""

    __slots__ = ()


def message_of(error: Exception) -> Message:
    """Return the message of an error."""
    message = error.args[0] if len(error.args) == 1 else None
    return message if isinstance(message, Message) else Quoted(str(error))


def translated(text: str, language: Language) -> str:
    """Return the text in a language if it is a message; else the text itself."""
    if language == "en" or not isinstance(text, Message):
        return str(text)
    template = _catalogue(language).get(text.template)
    if template is not None:
        return _filled(template, text.arguments, language)
    if isinstance(text, Quoted):
        return translated(Message("in its own words: {text}", text=str(text)), language)
    return str(text)


def _filled(template: str, arguments: Mapping[str, _Argument], language: Language) -> str:
    if not arguments:
        return template
    return template.format_map({name: _told(each, language) for name, each in arguments.items()})


def _told(argument: _Argument, language: Language) -> str:
    if isinstance(argument, tuple):
        return _SEPARATORS[language].join(translated(each, language) for each in argument)
    return translated(argument, language) if isinstance(argument, str) else str(argument)


@cache
def _catalogue(language: Language) -> Mapping[str, str]:
    import yaml  # imported here, because English does not need it

    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    text = (Path(__file__).parent / f"{language}.yaml").read_text("utf-8")
    sections: Mapping[str, Mapping[str, str]] = yaml.load(text, Loader=loader)  # noqa: S506
    return {english: told for section in sections.values() for english, told in section.items()}
