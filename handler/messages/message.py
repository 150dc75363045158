"""Messages: an English text that remembers what it was made of, so it can be told in Chinese.

As with gettext, the English template is the id. The templates in Chinese are in zh.yaml, which is
read when the first message is told in Chinese.
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
    """The English text, for logs and programs as well; `translated` tells it in a language.

    Without arguments the template is the text. With some it has a placeholder for each, such as
    ``{name}``. Arguments may be messages; a tuple is told as a list.
    """

    __slots__ = ("arguments", "template")

    template: str
    arguments: Mapping[str, _Argument]

    def __new__(cls, template: str, /, **arguments: _Argument) -> Self:
        """Make one of a template and what stands in its placeholders."""
        message = super().__new__(cls, _filled(template, arguments, "en"))
        message.template = template
        message.arguments = arguments
        return message


class Quoted(Message):
    """What a library says: in Chinese where the catalogue has it, else quoted in a sentence."""

    __slots__ = ()


def message_of(error: Exception) -> Message:
    """What an error says."""
    message = error.args[0] if len(error.args) == 1 else None
    return message if isinstance(message, Message) else Quoted(str(error))


def translated(text: str, language: Language) -> str:
    """The text in a language, if it is a message; else the text itself."""
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
    import yaml  # here: English does without

    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    text = (Path(__file__).parent / f"{language}.yaml").read_text("utf-8")
    sections: Mapping[str, Mapping[str, str]] = yaml.load(text, Loader=loader)  # noqa: S506
    return {english: told for section in sections.values() for english, told in section.items()}
