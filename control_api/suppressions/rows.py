"""The rows of an import, read as they arrive: NDJSON, or CSV with a header line."""

import csv
import io
import re
from collections.abc import AsyncIterator, Iterator, Sequence
from typing import Any, Final, NamedTuple

import msgspec

from control_api.schemas import suppression_shapes as shapes
from control_api.suppressions.row_ends import LONGEST, RowEnds, Unusable
from mta.model.errors import BadValue

_MOST_AT_ONCE: Final = 64 * 1024  # bytes that are read without letting the loop run
_QUOTED: Final = "'"  # exports put it before a cell that a spreadsheet would take for a formula
_FORMULA: Final = ("'=", "'+", "'-", "'@")

_NOT_UTF8: Final = re.compile("[\udc80-\udcff]")  # as "surrogateescape" decodes a byte that is none

_decode: Final = msgspec.json.Decoder(dict[str, Any]).decode


class Row(NamedTuple):
    """One row: its line, and its fields, or the reason why it has none."""

    line: int
    fields: dict[str, Any] | BadValue


async def ndjson_rows(chunks: AsyncIterator[bytes]) -> AsyncIterator[Sequence[Row]]:
    """A line that is too long is a row without fields."""
    line = 0
    async for part in _parts(chunks, RowEnds(quotes=False)):
        rows = []
        if isinstance(part, Unusable):
            line += 1
            yield [Row(line, BadValue("body", part.value))]
            continue
        for text in part.split(b"\n")[:-1]:
            line += 1
            if text.strip():
                rows.append(Row(line, _object(text)))
        yield rows


def _object(text: bytes) -> dict[str, Any] | BadValue:
    try:
        return {name: value for name, value in _decode(text).items() if value is not None}
    except (msgspec.DecodeError, UnicodeDecodeError):
        return BadValue("body", "is not a JSON object")


async def csv_rows(chunks: AsyncIterator[bytes]) -> AsyncIterator[Sequence[Row]]:
    """A row that is too long, or whose quote does not close, has no fields; the line behind its first one begins a row.
    Raises BadValue for a header line that is no list of known columns, each of them once."""
    columns: list[str] = []
    line = 0
    async for part in _parts(chunks, RowEnds(quotes=True)):
        if isinstance(part, Unusable):
            line += 1
            if not columns:
                raise BadValue("body", f"begins with a line that {part.value}")
            yield [Row(line, BadValue("body", part.value))]
            continue
        text = part.decode("utf-8-sig" if not line else "utf-8", "surrogateescape")
        rows = []
        for first, cells in _records(text, line):
            if not columns:
                columns = _columns(cells)
            elif cells:
                rows.append(Row(first, _fields(columns, cells)))
        line += part.count(b"\n")
        yield rows


def _records(text: str, before: int) -> Iterator[tuple[int, list[str]]]:
    """(line of its begin, cells) of each record; `before` lines came before."""
    csv.field_size_limit(2 * LONGEST)  # of the whole process: a cell that is too long is refused as its field is
    reader = csv.reader(io.StringIO(text, newline=""))
    first = before + 1
    for cells in reader:
        yield first, cells
        first = before + reader.line_num + 1


def _columns(cells: Sequence[str]) -> list[str]:
    names = [cell.strip() for cell in cells]
    if _NOT_UTF8.search("".join(names)):
        raise BadValue("body", "is not UTF-8 in its first line; send UTF-8")
    for place, name in enumerate(names):
        if name in names[:place]:
            raise BadValue(name[:100], "stands twice in the first line; leave one of the two columns out")
        if name not in shapes.COLUMNS and name not in ("expire", "description"):
            raise BadValue(name[:100] or "body", f"is no column; the first line names {', '.join(shapes.COLUMNS)}")
    return names


def _fields(columns: Sequence[str], cells: Sequence[str]) -> dict[str, Any] | BadValue:
    for name, cell in zip(columns, cells, strict=False):
        if not cell.isascii() and _NOT_UTF8.search(cell):
            return BadValue(name, "is not UTF-8")
    if len(cells) > len(columns):
        return BadValue("body", f"has {len(cells)} cells for {len(columns)} columns")
    plain = [cell[1:] if cell.startswith(_QUOTED) and cell.startswith(_FORMULA) else cell for cell in cells]
    return {name: cell for name, cell in zip(columns, plain, strict=False) if cell}


async def _parts(chunks: AsyncIterator[bytes], ends: RowEnds) -> AsyncIterator[bytes | Unusable]:
    """Whole rows, some at a time."""
    async for chunk in chunks:
        for at in range(0, len(chunk), _MOST_AT_ONCE):
            for part in ends.feed(chunk[at : at + _MOST_AT_ONCE]):
                yield part
    for part in ends.finish():
        yield part
