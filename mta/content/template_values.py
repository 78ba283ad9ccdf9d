"""Values that a template uses where MiniJinja does not notice that they are missing: they are asked for there.

MiniJinja refuses a name without a value where it is printed, tested or reached into. A list, an object, the arguments
of a call and some filters take it as it is. There `name` becomes `(name if (name or true))`, which tests it. Attributes
that filters take are asked for by `mta.content.template_attributes`.
"""

from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

from mta.content.template_attributes import Insertion, attribute_tests, path_end
from mta.content.template_bounds import Tag, tags_of
from mta.content.template_growth import BINDING, is_literal, is_name

_CONSTANTS: Final = frozenset(("true", "false", "none", "True", "False", "None"))
_MAY_MISS: Final = frozenset(("default", "d"))  # filters that stand in for a missing value
_TESTING: Final = frozenset(("if", "elif", "for", "set", "with"))  # tags that hold expressions
_OPEN: Final = "([{"
_CLOSE: Final = ")]}"
_GROUP: Final = "group"  # a bracket that orders an expression, a subscript, or what stands in for a missing value
_HOLDING: Final = "holding"  # one whose values MiniJinja takes as they are


class _Path(NamedTuple):
    """A name, and the attributes and subscripts behind it, as places of tokens."""

    begin: int
    end: int


def checked(source: str) -> str:
    """The template with such values tested; the same object where there are none. Its lines stay where they are."""
    found: list[Insertion] = []
    for tag in tags_of(source):
        for path in _unnoticed(tag):
            begin = tag.places[path.begin]
            end = tag.places[path.end - 1] + len(tag.tokens[path.end - 1])
            value = source[begin:end]
            if "\n" not in value:  # twice would move the lines behind it, which errors name
                found += (Insertion(begin, "("), Insertion(end, f" if ({value} or true))"))
        found += attribute_tests(source, tag)
    if not found:
        return source
    pieces: list[str] = []
    done = 0
    for at, text in sorted(found, key=lambda insertion: insertion.at):
        pieces += (source[done:at], text)
        done = at
    return "".join([*pieces, source[done:]])


def _unnoticed(tag: Tag) -> Iterator[_Path]:
    """The values of a tag whose absence MiniJinja does not notice."""
    tokens, at = tag.tokens, _begin(tag)
    opened: list[str] = []
    while at < len(tokens):
        token = tokens[at]
        if token in _OPEN:
            opened.append(_kind(tokens, at))
        elif token in _CLOSE and opened:
            opened.pop()
        elif _begins_path(tokens, at):
            path = _Path(at, path_end(tokens, at))
            if _must_be_there(tokens, path, _HOLDING in opened[-1:]):
                yield path
                at = path.end
                continue
        at += 1


def _begin(tag: Tag) -> int:
    """The place of the first token of the tag's expressions."""
    tokens = tag.tokens
    if tag.is_value:
        return 0
    word = next((token for token in tokens[:2] if token not in "-+"), "")
    if word not in _TESTING:
        return len(tokens)
    sign = BINDING.get(word, word)
    return tokens.index(sign) + 1 if sign in tokens else len(tokens)


def _kind(tokens: Sequence[str], at: int) -> str:
    """The kind of the bracket that opens there."""
    if is_literal(tokens, at):
        return _HOLDING if tokens[at] != "(" or _has_comma(tokens, at) else _GROUP
    if tokens[at] == "[" or (tokens[at - 1] in _MAY_MISS and tokens[at - 2 : at - 1] == ["|"]):
        return _GROUP
    return _HOLDING  # the arguments of a call


def _has_comma(tokens: Sequence[str], at: int) -> bool:
    """Whether the bracket that opens there holds a comma of its own: a tuple."""
    depth = 0
    for token in tokens[at:]:
        depth += (token in _OPEN) - (token in _CLOSE)
        if not depth:
            return False
        if token == "," and depth == 1:
            return True
    return False


def _begins_path(tokens: Sequence[str], at: int) -> bool:
    """Whether a name stands there that is no attribute, filter, test or constant."""
    before = tokens[at - 1] if at else ""
    if not is_name(tokens[at]) or tokens[at] in _CONSTANTS:
        return False
    return before not in (".", "|", "is") and not (before == "not" and at > 1 and tokens[at - 2] == "is")


def _must_be_there(tokens: Sequence[str], path: _Path, is_held: bool) -> bool:
    """`is_held`: the innermost bracket around it takes a missing value as it is."""
    after, next_ = (*tokens[path.end : path.end + 2], "", "")[:2]
    if after in ("(", "is") or (after == "=" and next_ != "="):
        return False  # it is called, is tested, or names an argument
    if after == "|":
        return next_ not in _MAY_MISS
    return is_held and not (after == ":" and tokens[path.begin - 1] in ("{", ","))
