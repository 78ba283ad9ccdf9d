"""Values that a template may not make, since they grow with each step and MiniJinja does not count them.

A list that holds another one twice doubles what is shown of it. Thirty such steps make a billion values, and showing or
comparing these stops the process: the fuel counts steps and text alone. So what a template binds to a name is made of
given values by filters that make nothing longer; where a value is shown, a list may be written, but not repeated.
"""

from collections.abc import Iterator, Sequence
from typing import Final

BINDING: Final = {"set": "=", "with": "=", "for": "in"}  # word of the tag -> where its expressions begin
_FILTERS: Final = frozenset(
    (
        *("abs", "bool", "capitalize", "count", "d", "default", "e", "escape", "first", "float", "int", "join"),
        *("last", "length", "list", "lower", "max", "min", "reject", "rejectattr", "replace", "reverse", "round"),
        *("safe", "select", "selectattr", "sort", "string", "sum", "title", "trim", "unique", "upper", "urlencode"),
    )
)
_CONSTANTS: Final = frozenset(("true", "false", "none", "True", "False", "None", ",", ":", "-", "."))
_OPERATORS: Final = frozenset(("in", "not", "and", "or", "if", "else", "is"))
_CLOSING: Final = {"]": "[", "}": "{", ")": "("}


def growing(tokens: Sequence[str], *, is_value: bool) -> str | None:
    """Why the tag is refused, by its tokens; None: it is not."""
    words = [token for token in tokens[:2] if token not in "-+"][:1]
    word = words[0] if words and not is_value else ""
    if word in ("macro", "call"):
        return f"has a {word}, which this engine does not have"
    if word == "for" and "recursive" in tokens:
        return "has a recursive loop, which this engine does not have"
    if (begin := BINDING.get(word)) is None:
        written = any(is_literal(tokens, at) for at, token in enumerate(tokens) if token in "[{")
        return "repeats a list that it writes" if written and "*" in tokens else None
    if begin not in tokens:
        return None
    return _growing_bound(tokens[tokens.index(begin) + 1 :], word)


def _growing_bound(tokens: Sequence[str], word: str) -> str | None:
    for at, (token, inside) in enumerate(_with_brackets(tokens)):
        before = tokens[at - 1] if at else ""
        if token in "[{" and is_literal(tokens, at) and not _is_constant(tokens, at):
            return f"binds a list or object of other values in {word}; give it as data"
        if token == "+" and at and before not in "=,([{":
            return f"adds in {word}; add where the value is shown"
        if token == "," and (inside == "(" or (not inside and word != "with")):
            return f"binds several values in {word}; give them as data"
        if before == "|" and token not in _FILTERS:
            return f"uses the filter {token} in {word}; use it where the value is shown"
        if token == "(" and is_name(before) and (at < 2 or tokens[at - 2] not in ("|", ".")) and before != "range":
            return f"calls {before} in {word}; call it where the value is shown"
    return None


def _with_brackets(tokens: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Each token with the innermost bracket that is open there: ( of a group, f of a call, [ or {."""
    opened: list[str] = []
    for at, token in enumerate(tokens):
        yield token, opened[-1] if opened else ""
        if token in ("[", "{"):
            opened.append(token)
        elif token == "(":
            opened.append("f" if at and is_name(tokens[at - 1]) else "(")
        elif token in _CLOSING and opened:
            opened.pop()


def is_literal(tokens: Sequence[str], at: int) -> bool:
    """Whether a bracket begins a list or an object; behind a value it begins a subscript."""
    before = tokens[at - 1] if at else ""
    return not (before in ("]", "}", ")") or before[:1] in ("'", '"') or is_name(before))


def _is_constant(tokens: Sequence[str], at: int) -> bool:
    """Whether the bracket that begins there holds no names."""
    depth = 0
    for token in tokens[at:]:
        depth += (token in "[{") - (token in "]}")
        if not depth:
            return True
        if token not in "[{]}" and token not in _CONSTANTS and not (token[0] in "'\"" or token.isdigit()):
            return False
    return True


def is_name(token: str) -> bool:
    return token.isidentifier() and token not in _OPERATORS
