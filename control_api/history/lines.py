"""Records of deliveries as lines: JSON, and CSV (RFC 4180); many at once, with few objects of Python for each."""

import csv
import functools
import io
from collections.abc import Callable, Iterable, Sequence
from operator import itemgetter
from typing import Any, Final

import msgspec
import orjson

from control_api.history.facts import CELLS, Facts, facts_of
from control_api.schemas.message_answers import Recipient
from mta.model.json_lines import json_lines
from mta.model.status import DeliveryRow
from mta.model.text import visible

Lines = Callable[[Sequence[DeliveryRow]], bytes]

_decode = msgspec.json.Decoder(Recipient).decode


class _Error(msgspec.Struct, omit_defaults=True, gc=False):
    code: int
    enhanced: str = ""
    text: str = ""


class _Forced(msgspec.Struct, omit_defaults=True, gc=False):
    rule: str
    generation: int
    stage: str = ""
    by: str = ""


def _names() -> list[str]:
    """The names of a record, nested ones once."""
    return list(dict.fromkeys(name.partition(".")[0] for name in CELLS))


_Record: Any = msgspec.defstruct(
    "_Record",
    [(name, Any) if name == "id" else (name, Any, None if name == "sender" else "") for name in _names()],
    omit_defaults=True,
    gc=False,
)

_CODE, _RULE, _TAGS = CELLS.index("error.code"), CELLS.index("forced.rule"), CELLS.index("tags")
_METADATA: Final = CELLS.index("metadata")
_before_error = itemgetter(slice(0, _CODE))
_after_forced = itemgetter(slice(_RULE + 4, None))


def _record(row: DeliveryRow) -> Any:
    facts = facts_of(row)
    code, enhanced, text, category, rule, generation, stage, by = facts[_CODE : _RULE + 4]
    return _Record(
        *_before_error(facts),
        _Error(code, enhanced, text) if code else "",
        category,
        _Forced(rule, generation, stage, by) if rule else "",
        *_after_forced(facts),
    )


def record_lines(rows: Sequence[DeliveryRow]) -> bytes:
    """One JSON object a line, each with its line end."""
    return json_lines([_record(row) for row in rows])


def as_record(row: DeliveryRow) -> Recipient:
    """One record, as the answer about a message has it."""
    return _decode(record_lines([row]))


def csv_header(columns: Iterable[str] = CELLS) -> bytes:
    return (",".join(columns) + "\r\n").encode()


def csv_lines(rows: Sequence[DeliveryRow]) -> bytes:
    """The cells of `CELLS`, lists joined by a space; metadata is a JSON object in one cell."""
    return "".join([csv_row(_cells(facts_of(row))) for row in rows]).encode()


def _cells(facts: Facts) -> Facts:
    tags, metadata, uncertain = facts[_TAGS], facts[_METADATA], facts[-1]
    words = tags[0] if len(tags) == 1 else " ".join(tags)
    as_json = orjson.dumps(metadata).decode() if metadata else ""
    in_words = "true" if uncertain else "false" if uncertain is False else ""
    return (*facts[:_TAGS], words, *facts[_TAGS + 1 : _METADATA], as_json, in_words)


_FORMULA: Final = ("=", "+", "-", "@")  # with these a spreadsheet takes a cell for a formula


def csv_row(cells: Facts) -> str:
    """One row with its line end. A cell that a spreadsheet would take for a formula begins with
    an apostrophe, and characters that are not printable are escaped visibly."""
    line = _pattern(len(cells)) % cells
    if (
        line.count(",") == len(cells) - 1
        and '"' not in line
        and line.isprintable()
        and ",=" not in line
        and ",-" not in line
        and ",+" not in line
        and ",@" not in line
        and not line.startswith(_FORMULA)
    ):
        return line + "\r\n"  # no cell needs anything, as is true of nearly all rows
    out = io.StringIO()
    csv.writer(out).writerow([_safe(cell) for cell in cells])
    return out.getvalue()


@functools.cache
def _pattern(cells: int) -> str:
    return ",".join(["%s"] * cells)


def _safe(cell: Any) -> Any:
    if not isinstance(cell, str):
        return cell
    return visible("'" + cell if cell.startswith(_FORMULA) else cell)
