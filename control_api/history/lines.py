"""Records of deliveries as lines of CSV (RFC 4180), many at once, with few objects of Python for each."""

from collections.abc import Callable, Iterable, Sequence
from typing import Final

import msgspec

from control_api.schemas.message_answers import Recipient
from mta.model.delivery_facts import CELLS, Facts, facts_of
from mta.model.record_lines import record_lines
from mta.model.status import DeliveryRow
from mta.model.text import visible

Lines = Callable[[Sequence[DeliveryRow]], bytes]

_decode = msgspec.json.Decoder(Recipient).decode


def as_record(row: DeliveryRow) -> Recipient:
    """One record, as the answer about a message has it."""
    return _decode(record_lines([row]))


def csv_header(columns: Iterable[str] = CELLS) -> bytes:
    return (",".join(columns) + "\r\n").encode()


def csv_lines(rows: Sequence[DeliveryRow]) -> bytes:
    """The cells of `CELLS`."""
    return csv_rows(facts_of(rows, True))


_FORMULA: Final = ("=", "+", "-", "@")  # with these a spreadsheet takes a cell for a formula


def csv_rows(rows: Sequence[Facts]) -> bytes:
    """Rows of the same number of cells, each with its line end. A cell that a spreadsheet would take for a formula
    begins with an apostrophe, and characters that are not printable are escaped visibly."""
    if not rows:
        return b""
    cells = len(rows[0])
    pattern = ",%s" * cells + "\n"
    lines = [pattern % row for row in rows]
    text = "".join(lines)
    if not _is_plain_text(text, len(lines), cells):
        pairs = zip(lines, rows, strict=True)
        text = "".join([line if _is_plain_text(line, 1, cells) else _careful(row) for line, row in pairs])
    return text[1:-1].replace("\n,", "\r\n").encode() + b"\r\n"


def _is_plain_text(text: str, lines: int, cells: int) -> bool:
    """No cell of these lines needs anything, as is true of nearly all. Before each cell stands a comma."""
    return (
        text.count(",") == lines * cells
        and text.count("\n") == lines
        and '"' not in text
        and text.replace("\n", "").isprintable()
        and not any(sign in text and f",{sign}" in text for sign in _FORMULA)
    )


def _careful(row: Facts) -> str:
    return f",{','.join([_cell(cell) if isinstance(cell, str) else str(cell) for cell in row])}\n"


def _cell(text: str) -> str:
    shown = visible("'" + text if text.startswith(_FORMULA) else text)
    return '"' + shown.replace('"', '""') + '"' if "," in shown or '"' in shown else shown
