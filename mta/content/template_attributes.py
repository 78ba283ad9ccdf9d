"""Attributes that `map` and `sum` take from each object of a list: MiniJinja leaves out objects that lack them.

`rows|map(attribute='name')` is shown only where all of `rows` have a name; else `rows.name` is asked for, which has no
value and gives the error. `default=` says that an object may lack the attribute.
"""

import re
from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

from mta.content.template_bounds import Tag, line_of, tags_of
from mta.content.template_growth import is_literal, is_name

_FILTERS: Final = ("map", "sum")
_CLOSING: Final = (")", "]")
_TEXT: Final = re.compile(r"""(['"])([^'"\\\n]+)\1""")
_NAME: Final = re.compile(r"[A-Za-z_]\w*", re.ASCII)
_FIX: Final = "give map and sum a list of the data and attribute='name', or write a loop"


class Insertion(NamedTuple):
    """Text that is put into a template at an offset."""

    at: int
    text: str


class _Taken(NamedTuple):
    """An attribute that a filter takes, by places of tokens."""

    begin: int  # of the list
    bar: int  # before the filter
    end: int  # the bracket that closes its arguments
    attribute: str  # as it is written


def untested(source: str) -> str | None:
    """The reason for which an attribute of a template cannot be tested, with the line; None: all can be."""
    for tag in tags_of(source):
        if any(taken is None for taken in _taken(tag)):
            return f"takes an attribute whose absence would not be noticed; {_FIX}, {line_of(source, tag.start)}"
    return None


def attribute_tests(source: str, tag: Tag) -> Iterator[Insertion]:
    """The tests of the attributes that a tag takes; nothing moves to another line."""
    for taken in _taken(tag):
        if taken is None:
            continue
        begin, end = tag.places[taken.begin], tag.places[taken.bar]
        objects = source[begin:end].replace("\n", " ")
        last = path_end(tag.tokens, taken.begin) - 1
        name = source[begin : tag.places[last] + len(tag.tokens[last])].replace("\n", " ")
        attribute = taken.attribute[1:-1]
        asked = f"{name}.{attribute}" if _NAME.fullmatch(attribute) else f"{name}[{taken.attribute}]"
        parts = attribute.split(".")  # MiniJinja names nothing where it reaches into what is missing
        quote = taken.attribute[0]
        lacking = [
            f"{objects}|rejectattr({quote}{'.'.join(parts[: many + 1])}{quote}, 'defined')|list"
            for many in range(len(parts))
        ]
        yield Insertion(begin, "(")
        yield Insertion(
            tag.places[taken.end] + 1,
            f" if not ({' or '.join(lacking)}) else (({asked} or true) and {{}}.x.x))",
        )


def path_end(tokens: Sequence[str], at: int) -> int:
    """The place behind a name, and the attributes and subscripts behind it."""
    at += 1
    while at < len(tokens):
        if tokens[at] == "." and at + 1 < len(tokens):
            at += 2
        elif tokens[at] == "[":
            depth = 0
            while at < len(tokens):
                depth += (tokens[at] in "([{") - (tokens[at] in ")]}")
                at += 1
                if not depth:
                    break
        else:
            break
    return at


def _taken(tag: Tag) -> Iterator[_Taken | None]:
    """None: one that cannot be tested."""
    tokens = tag.tokens
    for at in range(1, len(tokens) - 1):
        if tokens[at] not in _FILTERS or tokens[at - 1] != "|" or tokens[at + 1] != "(":
            continue
        arguments, end = _arguments(tokens, at + 2)
        named = _attribute(tokens[at], arguments)
        if named is None:
            continue
        begin = _begin(tokens, at - 1)
        if begin is None or _TEXT.fullmatch(named) is None or any("\n" in token for token in tokens[begin:at]):
            yield None
        else:
            yield _Taken(begin, at - 1, end, named)


def _attribute(word: str, arguments: Sequence[Sequence[str]]) -> str | None:
    """The attribute of the filter as it is written; "": it is none of one token. None: it takes none that must be
    there."""
    if any(argument[:2] == ["default", "="] for argument in arguments):
        return None
    named = [argument[2:] for argument in arguments if argument[:2] == ["attribute", "="]]
    if not named and word == "sum":
        named = [list(argument) for argument in arguments[:1]]
    if not named:
        return "" if arguments and arguments[0][0][1:-1] == "attr" else None
    return named[0][0] if len(named[0]) == 1 else ""


def _arguments(tokens: Sequence[str], at: int) -> tuple[list[list[str]], int]:
    """The tokens of each argument of the call whose bracket was opened before `at`, and the place of the bracket that
    closes it."""
    found: list[list[str]] = [[]]
    depth = 0
    while at < len(tokens):
        token = tokens[at]
        if not depth and token == ")":
            break
        if not depth and token == ",":
            found.append([])
        else:
            found[-1].append(token)
        depth += (token in "([{") - (token in ")]}")
        at += 1
    return [argument for argument in found if argument], min(at, len(tokens) - 1)


def _begin(tokens: Sequence[str], bar: int) -> int | None:
    """The place of the name with which the value before a filter begins; None: it is none of the data alone."""
    at = bar - 1
    while at >= 0:
        token = tokens[at]
        if token in _CLOSING:
            opened = _opening(tokens, at)
            if token == "]" and not is_literal(tokens, opened):
                at = opened - 1
                continue
            at = opened - 1
            if token == "]" or at < 2 or tokens[at - 1] != "|":
                return None  # a list that is written, a group or a call
            token = tokens[at]
        if not is_name(token):
            return None
        before = tokens[at - 1] if at else ""
        if before == "|" and token == "map":
            return None
        if before not in ("|", "."):
            return at
        at -= 2
    return None


def _opening(tokens: Sequence[str], at: int) -> int:
    depth = 0
    while at > 0:
        depth += (tokens[at] in ")]}") - (tokens[at] in "([{")
        if not depth:
            break
        at -= 1
    return at
