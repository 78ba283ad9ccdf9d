"""docs/statuses.md has each status with each of its reasons, as the code gives them."""

import re

from mta.model.events import Event, EventType
from mta.model.outcomes import Class
from mta.model.status import RANKS, SUPPRESSED, Reason, Status, rank_of, standing_of
from tests.support.sources import ROOT

TEXT = ROOT / "docs" / "statuses.md"


def rows() -> list[list[str]]:
    """The cells of each row of the tables."""
    lines = TEXT.read_text("utf-8").splitlines()
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if line.startswith("|")]


def words(cell: str) -> set[str]:
    return set(re.findall(r"`([A-Za-z_]+)`", cell))


def test_the_page_ranks_each_status_as_the_code_does() -> None:
    shown = {status: int(row[0]) for row in rows() if row[0].isdigit() for status in words(row[1])}
    assert shown == {status.value: rank for status, rank in RANKS.items()}


def test_the_page_maps_each_status_and_reason() -> None:
    table = [row for row in rows() if len(row) == 7]
    mapped = set[str]().union(*(words(row[0]) for row in table))
    assert {*Status, *Reason, *SUPPRESSED} <= mapped
    assert set(Class) <= set[str]().union(*(words(row[2]) for row in table))


def test_the_page_names_the_events_of_each_status() -> None:
    shown: dict[str, set[str]] = {}
    for row in rows():
        if len(row) == 7 and (found := words(row[0]) & set(Status)):
            shown.setdefault(found.pop(), set()).update(words(row[1]) & set(EventType))
    events = [Event(kind, 0, seq=2, code=250, route=route) for kind in EventType for route in ("mx", "relay:hub")]
    for event in events:
        if rank_of(event):
            assert event.type in shown[standing_of(event).status], event.type
