"""A condition that did not hold, told so that the output of a failed test is enough to understand it."""

import ast
import inspect
import linecache
import os
import reprlib
from collections.abc import Callable, Iterator
from typing import Any, Final

# Seconds that a wait lasts at most: no bound of speed, since a busy machine may need them. A run of tests of which most
# are to fail has less patience.
PATIENCE: Final = float(os.environ.get("PATIENCE", "60"))
_MOST: Final = 2000  # characters of a value
_SHORT: Final = reprlib.Repr()
_SHORT.maxlevel, _SHORT.maxstring, _SHORT.maxother = 6, 500, 500
_SHORT.maxlist = _SHORT.maxtuple = _SHORT.maxdict = _SHORT.maxset = 40


def told(holds: Callable[[], Any], last: Any, *, ask: bool = True) -> str:
    """The text of the condition, its last answer, the values that it is about.

    `ask`: the parts of a lambda are computed once more, so the values are those of now.
    """
    node = _lambda_of(holds)
    text = ast.unparse(node.body) if node is not None else _text_of(holds)
    names = _names_of(holds)
    lines = [f"condition: {text}", f"last answer: {shown(last)}"]
    lines += [f"{name} = {value}" for name, given in names.items() if not _is_opaque(value := shown(given))]
    if node is not None and ask:
        # As globals, since a comprehension does not see the locals of `eval`; a part may use names of one before it.
        around = {**holds.__globals__, **names}
        parts = dict.fromkeys(map(ast.unparse, _parts_of(node.body)))
        lines += [f"now {part} = {_computed(part, around)}" for part in parts if part not in names]
    return "\n".join(lines)


def shown(value: Any) -> str:
    """A value, cut where it is long."""
    try:
        text = _SHORT.repr(value)
    except Exception as error:
        return f"({type(value).__name__} whose repr fails: {error!r})"
    return text if len(text) <= _MOST else text[:_MOST] + " ..."


def _is_opaque(text: str) -> bool:
    """Whether a text says nothing but type and address."""
    return text.startswith("<") and " at 0x" in text


def _lambda_of(holds: Callable[[], Any]) -> ast.Lambda | None:
    code = getattr(holds, "__code__", None)
    if code is None or code.co_name != "<lambda>":
        return None
    try:
        tree = ast.parse("".join(linecache.getlines(code.co_filename)))
    except SyntaxError:
        return None
    spans = set(code.co_positions())
    for node in ast.walk(tree):
        if isinstance(node, ast.Lambda) and node.lineno == code.co_firstlineno:
            body = node.body
            if (body.lineno, body.end_lineno, body.col_offset, body.end_col_offset) in spans:
                return node
    return None


def _text_of(holds: Callable[[], Any]) -> str:
    try:
        return inspect.getsource(holds).strip()
    except (OSError, TypeError):
        return repr(holds)


def _names_of(holds: Callable[[], Any]) -> dict[str, Any]:
    """Values of the names that a function takes from the functions around it, and of its defaults."""
    names = {}
    code = getattr(holds, "__code__", None)
    if code is not None:
        for name, cell in zip(code.co_freevars, getattr(holds, "__closure__", None) or (), strict=False):
            try:
                names[name] = cell.cell_contents
            except ValueError:  # it has no value yet
                continue
        defaults = getattr(holds, "__defaults__", None) or ()
        given = code.co_varnames[: code.co_argcount]
        names |= dict(zip(given[len(given) - len(defaults) :], defaults, strict=True))
    return names


def _parts_of(node: ast.expr) -> Iterator[ast.expr]:
    """The parts of an expression that decide about its truth."""
    match node:
        case ast.BoolOp():
            for value in node.values:
                yield from _parts_of(value)
        case ast.UnaryOp(op=ast.Not()):
            yield from _parts_of(node.operand)
        case ast.NamedExpr():
            yield node  # parts after it may use its name
        case ast.Compare():
            for side in (node.left, *node.comparators):
                yield from _parts_of(side)
        case ast.Tuple() | ast.List():
            for each in node.elts:
                yield from _parts_of(each)
        case ast.Constant():
            return
        case ast.Call(func=ast.Name(), args=[given]):  # such as `len`, `all`, `set`
            yield from (node, _counted(given))
        case ast.Subscript():
            yield from (node, node.value)
        case _:
            yield node


def _counted(given: ast.expr) -> ast.expr:
    """The things that a function of one argument counts or looks at."""
    if isinstance(given, ast.GeneratorExp | ast.ListComp | ast.SetComp):
        return given.generators[0].iter
    return given


def _computed(part: str, around: dict[str, Any]) -> str:
    try:
        return shown(eval(part, around))
    except Exception as error:
        return f"({error!r})"
