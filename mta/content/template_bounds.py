"""Bounds on the structure of a template, counted before the template engine reads it.

MiniJinja calls itself for each sign of a chain (`1+1+1`, `not not x`) and for each `elif`; a long chain would end the
process. The count is never too low for a template that MiniJinja accepts: it gives up at the first error of syntax.
"""

import re
from collections.abc import Iterator
from typing import Final, NamedTuple

from mta.content.template_growth import growing

MAX_TOKENS: Final = 500  # names, values and signs between two delimiters
MAX_OPEN: Final = 100  # blocks that are open at one place, each elif of an open if among them

_BLOCKS: Final = frozenset(("if", "for", "with", "macro", "call", "filter", "block", "autoescape"))
_MARK: Final = re.compile(r"\{[{%#]")
_RAW: Final = re.compile(r"\{%[-+]?\s*raw\s*[-+]?%\}", re.ASCII)
_END_RAW: Final = re.compile(r"\{%[-+]?\s*endraw\s*[-+]?%\}", re.ASCII)
_TOKEN: Final = re.compile(r"""\s*("(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])*'|\w+|[^\w\s])""", re.DOTALL)


class Tag(NamedTuple):
    """A tag of a template: `{{ ... }}` or `{% ... %}`."""

    start: int  # offset of its first brace
    is_value: bool  # it shows a value
    tokens: list[str]  # no more than one above the bound
    places: list[int]  # offset of each token


def tags_of(source: str) -> Iterator[Tag]:
    """The tags of a template in order, without comments and raw text."""
    at = 0
    while (mark := _MARK.search(source, at)) is not None:
        if (inert := _inert_end(source, mark.start())) is not None:
            at = inert
            continue
        tag = Tag(mark.start(), mark[0] == "{{", [], [])
        at = _read_tokens(source, mark.end(), tag)
        yield tag


def excess(source: str) -> str | None:
    """The bound that the template is over, with the line; None: it is within all."""
    opened: list[str] = []
    for tag in tags_of(source):
        if len(tag.tokens) > MAX_TOKENS:
            return f"has more than {MAX_TOKENS} names, values and signs in one tag, {line_of(source, tag.start)}"
        if (grows := growing(tag.tokens, is_value=tag.is_value)) is not None:
            return f"{grows}, {line_of(source, tag.start)}"
        if not tag.is_value:
            _follow(opened, tag.tokens)
        if len(opened) > MAX_OPEN:
            return f"has more than {MAX_OPEN} blocks and elif in one another, {line_of(source, tag.start)}"
    return None


def _inert_end(source: str, start: int) -> int | None:
    """Where the comment or the raw text ends that starts here; the end of the source if nothing ends it, which is an
    error of syntax. None: neither starts here."""
    if source.startswith("{#", start):
        end = source.find("#}", start + 1)
        return len(source) if end < 0 else end + 2
    raw = _RAW.match(source, start)
    if raw is None:
        return None
    found = _END_RAW.search(source, raw.end())
    return len(source) if found is None else found.end()


def _read_tokens(source: str, at: int, tag: Tag) -> int:
    """Reads the tokens of a tag, which begin at `at`. Returns where the tag ends."""
    found, braces = tag.tokens, 0
    while len(found) <= MAX_TOKENS and (match := _TOKEN.match(source, at)) is not None:
        token, at = match[1], match.end()
        if token in "\"'":
            return len(source)  # a string without an end is an error of syntax
        if token == "}" and tag.is_value and not braces and source.startswith("}", at):
            return at + 1
        if token == "%" and not tag.is_value and source.startswith("}", at):
            return at + 1
        braces += (token == "{") - (token == "}")
        found.append(token)
        tag.places.append(match.start(1))
    return at if len(found) > MAX_TOKENS else len(source)


def _follow(opened: list[str], tokens: list[str]) -> None:
    """Opens or closes the block of a tag. An end closes its own block alone; another one is an error of syntax."""
    word = next((token for token in tokens[:2] if token not in "-+"), "")
    if word in _BLOCKS or word == "elif" or (word == "set" and "=" not in tokens):
        opened.append(word)
    elif word.startswith("end"):
        while word == "endif" and opened and opened[-1] == "elif":
            opened.pop()
        if opened and opened[-1] == word[3:]:
            opened.pop()


def line_of(source: str, at: int) -> str:
    """The line at an offset, for people."""
    return f"line {source.count(chr(10), 0, at) + 1}"
