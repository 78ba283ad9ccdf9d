"""Answers of the API as people read them: tables, and the statement of a tag or a rule."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import click
import msgspec
from rich import box
from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text

from mta.model.statements import RuleStatement
from mta.model.text import visible
from mta.policy.statement_text import selectors_text, sentences_of

_MOST_DRAWN = 500  # rows of a table on a terminal; rich takes a millisecond for each


def print_table(columns: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """A table on a terminal, or a block of lines for each row where the terminal is too narrow for it, so that nothing
    is cut; elsewhere, and where the rows are many, columns of plain text in which no line is folded, so that scripts
    can cut them. Cells come from others: nothing in them is markup."""
    console = Console()
    now = datetime.now(UTC) if console.is_terminal else None
    cells = [[cell(value, now) for value in row] for row in rows]
    if console.is_terminal and _width(columns, cells) > console.width:
        for at, row in enumerate(cells):
            if at:
                click.echo()
            print_fields({name: value for name, value in zip(columns, row, strict=True) if value != "-"})
        return
    if not console.is_terminal or len(cells) > _MOST_DRAWN:
        _print_plain([columns, *cells])
        return
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for column in columns:
        table.add_column(column)
    for row in cells:
        table.add_row(*(Text(text) for text in row))
    console.print(table)


def _print_plain(lines: Sequence[Sequence[str]]) -> None:
    """Columns two blanks apart."""
    widths = [max(map(cell_len, column)) for column in zip(*lines, strict=True)]
    padded = (
        "  ".join(text + " " * (width - cell_len(text)) for text, width in zip(line, widths, strict=True))
        for line in lines
    )
    click.echo("\n".join(line.rstrip() for line in padded))


def _width(columns: Sequence[str], cells: Sequence[Sequence[str]]) -> int:
    """Of a table in which no cell is folded: the columns stand two blanks apart, with one at each end."""
    widths = [max(map(cell_len, column)) for column in zip(columns, *cells, strict=True)]
    return sum(widths) + 3 * (len(widths) - 1) + 2


class Instant(str):
    """A time in RFC 3339. People on a terminal read how far it is from now; scripts read it as it is."""


def cell(value: object, now: datetime | None = None) -> str:
    """One value as text; "-" where there is none. `now`: an instant is shown relative to it."""
    if value is None or value == "":
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list | tuple):
        return ", ".join(cell(item, now) for item in value) or "-"
    if isinstance(value, Instant) and now is not None:
        return _relative(value, now)
    return visible(str(value))


def age(seconds: float | None) -> str | None:
    """A number of seconds as people say it, in its two largest units: 42s, 3m12s, 5h00m, 2d07h."""
    if seconds is None:
        return None
    whole = int(seconds)
    minutes, hours, days = whole // 60, whole // 3600, whole // 86400
    if days:
        return f"{days}d{hours % 24:02}h"
    if hours:
        return f"{hours}h{minutes % 60:02}m"
    return f"{minutes}m{whole % 60:02}s" if minutes else f"{whole}s"


def instant(value: str | None) -> Instant | None:
    """A time of the API for a cell."""
    return None if value is None else Instant(value)


def _relative(value: str, now: datetime) -> str:
    seconds = (datetime.fromisoformat(value) - now).total_seconds()
    return f"in {age(seconds)}" if seconds >= 0 else f"{age(-seconds)} ago"


def print_fields(fields: Mapping[str, Any], indent: str = "") -> None:
    """Name and value, one to a line, nested objects indented."""
    width = max((len(name) for name in fields), default=0)
    for name, value in fields.items():
        if isinstance(value, dict):
            click.echo(f"{indent}{name}")
            print_fields(value, indent + "  ")
        elif isinstance(value, list) and value and isinstance(value[0], dict):
            click.echo(f"{indent}{name}")
            for item in value:
                click.echo(f"{indent}  " + "  ".join(cell(part) for part in item.values()))
        else:
            click.echo(f"{indent}{name:<{width}}  {cell(value)}")


def print_figures(statement: Mapping[str, Any]) -> None:
    """Every figure of a statement that is not zero, one to a line."""
    kept = {name: value for name, value in statement.items() if value != 0 or isinstance(value, bool)}
    for name in ("intercepted", "delivered"):
        if isinstance(kept.get(name), dict):
            kept[name] = {stage: count for stage, count in kept[name].items() if count} or 0
    print_fields(kept)


def print_account(statement: Mapping[str, Any], detail: bool) -> None:
    """The statement of a rule in sentences; `detail`: then its figures. A node of another release may tell figures that
    do not fit the sentences; then they are printed alone."""
    try:
        sentences = sentences_of(msgspec.convert(statement, RuleStatement))
    except msgspec.ValidationError:
        print_figures(statement)
        return
    for sentence in sentences:
        click.echo(sentence)
    if detail:
        click.echo()
        print_figures(statement)


def selectors_of(rule: Mapping[str, Any], otherwise: str = "everything") -> str:
    """The selectors of a rule, in one cell."""
    return selectors_text(rule, otherwise)
