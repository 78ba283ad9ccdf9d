"""Tables for people: a table that does not fit a terminal is stacked, never cut."""

import functools
import re
from datetime import UTC, datetime, timedelta

import pytest
from rich.console import Console

from mta.cli import tables
from mta.cli.tables import age, instant, print_table

RULE_ID = "019af3c2d4e5f60718293a4b"


def on_a_terminal(monkeypatch: pytest.MonkeyPatch, width: int) -> None:
    monkeypatch.setattr(
        tables, "Console", functools.partial(Console, force_terminal=True, width=width, color_system=None)
    )


@pytest.mark.parametrize("width", range(40, 130, 3))
def test_o9_nothing_is_cut_however_narrow_the_terminal_is(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], width: int
) -> None:
    on_a_terminal(monkeypatch, width)
    reply = "450 4.7.1 <ann@example.com>: Recipient address rejected: Greylisted"
    rows = [(RULE_ID, "tag=may-news domain=*.example.com", reply, None), (RULE_ID[::-1], "x", "日本", 7)]
    print_table(("id", "applies to", "reply", "hits"), rows)
    lines = capsys.readouterr().out.splitlines()
    for value in (RULE_ID, RULE_ID[::-1], "tag=may-news domain=*.example.com", reply, "日本"):
        assert any(value in line for line in lines), (width, lines)
    assert any(re.fullmatch(rf"id +{RULE_ID}", line) for line in lines), "stacked"


def test_o9_times_are_relative_for_a_person_and_exact_for_a_script(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    now = datetime.now(UTC)
    times = [instant((now + timedelta(seconds=seconds)).isoformat()) for seconds in (-10_830, 7230)]
    print_table(("last hit", "next due"), [times])
    assert capsys.readouterr().out.splitlines()[1].split() == times
    on_a_terminal(monkeypatch, 80)
    print_table(("last hit", "next due"), [times])
    shown = capsys.readouterr().out
    assert "3h00m ago" in shown
    assert "in 2h00m" in shown


def test_a_table_that_fits_is_a_table(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    on_a_terminal(monkeypatch, 80)
    print_table(("id", "hits"), [(RULE_ID, 1), (RULE_ID, 2)])
    assert [line.split() for line in capsys.readouterr().out.splitlines() if RULE_ID in line] == [
        [RULE_ID, "1"],
        [RULE_ID, "2"],
    ]


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(None, None), (0.4, "0s"), (59.9, "59s"), (60, "1m00s"), (3599, "59m59s"), (3600, "1h00m"), (86399, "23h59m"),
     (86400, "1d00h"), (1_000_000, "11d13h")],
)  # fmt: skip
def test_an_age_has_two_units(seconds: float | None, words: str | None) -> None:
    assert age(seconds) == words
