"""The contract of every database of history: the same stories on files and on PostgreSQL."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import msgspec
import pytest

from mta.history import candidates, rows
from mta.model.actor import NOBODY
from mta.model.audit import Deed, deed_event
from mta.model.events import EventType
from mta.model.ids import MessageId, delivery_text, message_of
from mta.model.outcomes import Forced, Stage
from mta.model.status import Reason, Standing, Status
from mta.ports.audit import NotedEvent
from mta.ports.history import BEGINNING, Cursor, History, RowFilter
from mta.ports.history_writer import DAY_MS, HOUR_MS, HistoryWriter, PositionMoved
from mta.ports.sites import SiteArchive
from mta.ports.tag_counters import TagArchive, TagCounters
from tests.support.history_rounds import NOW, Book, Lane, a_delivery, accepted, later

_T = TypeVar("_T")


def ask(reader: History, call: Callable[[History], Awaitable[_T]]) -> _T:
    async def asked() -> _T:
        return await call(reader)

    return asyncio.run(asked())


def recipients(reader: History, limit: int = 100, **wanted: Any) -> list[str]:
    """Over all pages, newest first."""
    found: list[str] = []
    cursor = ""
    while True:
        page = ask(reader, lambda history, at=cursor: history.rows(RowFilter(**wanted), limit, at))  # type: ignore[misc]
        found += [row.last.recipient for row in page.rows]
        cursor = page.cursor
        if not cursor:
            return found


def lists_by_every_filter(writer: HistoryWriter, reader: History) -> None:
    book, lane = Book(writer), Lane()
    first = accepted(a_delivery(), "Anna@a.test", tags=("red", "both"), sender="Shop@x.test")
    second = accepted(a_delivery(), "ben@b.test", tags=("both",), pool="q", tenant="acme")
    third = accepted(a_delivery(NOW + 5000), "cleo@b.test", tags=("both",))
    book.write(lane.entry(first, second), lane.entry(later(first, EventType.DELIVERY, route="mx", code=250)))
    forced = Forced("r1", 3, Stage.QUEUED)
    book.write(lane.entry(third), lane.entry(later(third, EventType.INTERCEPTED, forced=forced, code=554)))
    assert recipients(reader) == ["cleo@b.test", "ben@b.test", "Anna@a.test"]
    assert recipients(reader, limit=1) == recipients(reader)
    for wanted, found in (
        ({"tag": "red"}, ["Anna@a.test"]),
        ({"tag": "both"}, ["cleo@b.test", "ben@b.test", "Anna@a.test"]),
        ({"tag": "both", "domain": "b.test"}, ["cleo@b.test", "ben@b.test"]),
        ({"tag": "red", "domain": "b.test"}, []),
        ({"recipient": "ANNA@A.test"}, ["Anna@a.test"]),
        ({"recipient": "anna@a.test", "tag": "none"}, []),
        ({"sender": "shop@X.test"}, ["Anna@a.test"]),
        ({"pool": "q"}, ["ben@b.test"]),
        ({"tenant": "acme"}, ["ben@b.test"]),
        ({"statuses": frozenset({Status.DELIVERED})}, ["Anna@a.test"]),
        ({"statuses": frozenset({Status.ENQUEUED})}, ["ben@b.test"]),
        ({"statuses": frozenset({Status.UNDELIVERABLE}), "domain": "b.test"}, ["cleo@b.test"]),
        ({"statuses": frozenset({Status.UNDELIVERABLE}), "domain": "a.test"}, []),
        ({"rule": "r1"}, ["cleo@b.test"]),
        ({"rule": "r2"}, []),
        ({"accepted_from": NOW + 5000}, ["cleo@b.test"]),
        ({"accepted_until": NOW + 5000}, ["ben@b.test", "Anna@a.test"]),
        ({"accepted_from": NOW + DAY_MS}, []),
        ({"uncertain": True}, []),
    ):
        assert recipients(reader, **wanted) == found, wanted


def facts_of_events_are_found_wherever_the_newest_event_is(writer: HistoryWriter, reader: History) -> None:
    """Rule, category and `uncertain` are those of the newest event: rare and frequent ones are found in other ways."""
    book, lane = Book(writer), Lane()
    came = [accepted(a_delivery(), f"{number}@a.test", tags=(f"t{number % 2}",)) for number in range(8)]
    book.write(lane.entry(*came))
    forced = Forced("r1", 3, Stage.ATTEMPT)
    deferred = [later(event, EventType.TRANSIENT_FAILURE, code=451, forced=forced) for event in came[:6]]
    book.write(lane.entry(*deferred))
    book.write(
        lane.entry(
            *[later(event, EventType.BOUNCE, code=550, forced=None, category="quota") for event in deferred[:2]]
        ),
        lane.entry(later(deferred[2], EventType.DELIVERY, code=250, forced=None)),
        lane.entry(later(deferred[3], EventType.EXPIRATION, uncertain=True)),
    )
    for frequent_from in (0, 2000):
        with pytest.MonkeyPatch.context() as patched:
            patched.setattr(candidates, "_SAMPLE", frequent_from)
            assert recipients(reader, rule="r1") == ["5@a.test", "4@a.test", "3@a.test"]
            assert recipients(reader, limit=1, rule="r1") == ["5@a.test", "4@a.test", "3@a.test"]
            assert recipients(reader, rule="r1", tag="t1") == ["5@a.test", "3@a.test"]
            assert recipients(reader, rule="r1", recipient="4@a.test") == ["4@a.test"]
            assert recipients(reader, rule="r1", statuses=frozenset({Status.ENQUEUED})) == ["5@a.test", "4@a.test"]
            assert recipients(reader, category="quota") == ["1@a.test", "0@a.test"]
            assert recipients(reader, category="quota", rule="r1") == []
            assert recipients(reader, uncertain=True) == ["3@a.test"]
            assert recipients(reader, rule="r2") == []


def pages_that_end_early_lose_nothing(writer: HistoryWriter, reader: History) -> None:
    """A page ends after some time, although it has found less than it may."""
    book, lane = Book(writer), Lane()
    for number in range(4):
        came = [accepted(a_delivery(NOW + number % 2 * DAY_MS), f"{number}.{at}@a.test") for at in range(120)]
        ended = [
            later(event, (EventType.BOUNCE, EventType.EXPIRATION, EventType.HOLD)[at % 3], code=550)
            for at, event in enumerate(came[number:])
        ]
        book.write(lane.entry(*came), lane.entry(*ended))
    filters: tuple[dict[str, Any], ...] = (
        {},
        {"tag": "t"},
        {"domain": "a.test", "tag": "t"},
        {"statuses": frozenset({Status.UNDELIVERABLE, Status.HELD})},
        {"statuses": frozenset({Status.UNDELIVERABLE}), "tag": "t"},
        {"accepted_until": NOW + DAY_MS},
    )
    whole = [recipients(reader, limit=1000, **wanted) for wanted in filters]
    assert list(map(len, whole)) == [480, 480, 480, 474, 317, 240]
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(rows, "LONGEST_LOOK", -1.0)
        assert [recipients(reader, limit=1000, **wanted) for wanted in filters] == whole


def a_delivery_is_told_over_rounds_and_days(writer: HistoryWriter, reader: History) -> None:
    """It is accepted on one day and ends on the next; in between it is deferred, and events change nothing."""
    book, lane, next_lane = Book(writer), Lane(), Lane(at=NOW + DAY_MS)
    delivery = a_delivery()
    came = accepted(delivery, "a@a.test")
    deferred = later(came, EventType.TRANSIENT_FAILURE, code=451)
    escaped, again = (msgspec.structs.replace(one, type=EventType.ESCAPED, code=0) for one in (came, deferred))
    bounced = later(deferred, EventType.BOUNCE, DAY_MS, code=550)
    for event in (came, escaped, deferred, again):
        book.write(lane.entry(event))
    row = ask(reader, lambda history: history.row(delivery))
    assert row is not None
    assert (row.standing.status, row.last.code) == (Status.ENQUEUED, 451), "an event that changes nothing came last"
    assert recipients(reader, statuses=frozenset({Status.ENQUEUED})) == ["a@a.test"]
    book.write(next_lane.entry(bounced))
    message = MessageId(message_of(delivery))
    kept = ask(reader, lambda history: history.events_of(message))
    assert [one.event.type for one in kept] == [
        EventType.RECEPTION, EventType.ESCAPED, EventType.TRANSIENT_FAILURE, EventType.ESCAPED, EventType.BOUNCE,
    ]  # fmt: skip
    assert [one.at for one in kept] == [Cursor(n, 0) for n in (1, 2, 3, 4, 5)]
    assert kept[0].event_id == f"0.1.{NOW}-1.0"
    row = ask(reader, lambda history: history.row(delivery))
    assert row is not None
    assert (row.standing, row.last.code) == (Standing(Status.UNDELIVERABLE, Reason.BOUNCED), 550)
    assert row.accepted_at == NOW
    assert [one.id for one in ask(reader, lambda history: history.message(message))] == [delivery]
    assert recipients(reader, statuses=frozenset({Status.UNDELIVERABLE})) == ["a@a.test"]
    assert ask(reader, lambda history: history.row(a_delivery())) is None


def the_first_visits_stand_in_the_row(writer: HistoryWriter, reader: History) -> None:
    """The order in which they are told does not matter, nor the round; those of machines do not count."""
    book, lane, next_lane = Book(writer), Lane(), Lane(at=NOW + DAY_MS)
    first, second, third = (accepted(a_delivery(), f"{name}@a.test") for name in ("ann", "ben", "cleo"))
    ends = [later(one, EventType.DELIVERY, route="mx", code=250) for one in (first, second, third)]
    book.write(lane.entry(first, second, third), lane.entry(*ends), lane.entry(later(first, EventType.OPEN, 50)))
    assert visits(reader) == {"ann@a.test": (50, 0), "ben@a.test": (0, 0), "cleo@a.test": (0, 0)}
    book.write(
        lane.entry(
            later(first, EventType.OPEN, 40), later(first, EventType.CLICK, 70), later(first, EventType.OPEN, 60)
        ),
        lane.entry(later(second, EventType.OPEN, 5, reason="prefetch"), later(second, EventType.CLICK, DAY_MS + 9)),
    )
    book.write(next_lane.entry(later(second, EventType.CLICK, DAY_MS + 8), later(second, EventType.OPEN, DAY_MS + 7)))
    told = {"ann@a.test": (40, 70), "ben@a.test": (DAY_MS + 7, DAY_MS + 8), "cleo@a.test": (0, 0)}
    assert visits(reader) == visits(reader, limit=1) == told
    assert first.id is not None
    row = ask(reader, lambda history: history.row(first.id))
    assert row is not None
    assert (row.opened_at, row.clicked_at) == (NOW + 40, NOW + 70)


def visits(reader: History, limit: int = 100) -> dict[str, tuple[int, int]]:
    """Recipient -> ms after NOW of the first open and the first click, 0 = none, as lists have them."""
    found: dict[str, tuple[int, int]] = {}
    cursor, more = "", True
    while more:
        page = ask(reader, lambda history, at=cursor: history.rows(RowFilter(), limit, at))  # type: ignore[misc]
        for row in page.rows:
            found[row.last.recipient] = (max(0, row.opened_at - NOW), max(0, row.clicked_at - NOW))
        cursor = page.cursor
        more = bool(cursor)
    return found


def events_are_read_in_order_from_any_place(writer: HistoryWriter, reader: History) -> None:
    book, lane = Book(writer), Lane()
    for number in range(3):
        book.write(
            *[lane.entry(*[accepted(a_delivery(), f"{number}.{e}.{i}@a.test") for i in range(60)]) for e in range(5)]
        )
    expected = [f"{n}.{e}.{i}@a.test" for n in range(3) for e in range(5) for i in range(60)]
    for most in (1000, 7, 300):
        at, found, places = BEGINNING, [], []
        while True:
            page = ask(reader, lambda history, at=at, most=most: history.events(at, most))  # type: ignore[misc]
            found += [one.event.recipient for one in page.events]
            places += [one.at for one in page.events]
            at = page.next
            if page.at_end:
                break
        assert found == expected
        assert places == sorted(set(places))
        assert at == ask(reader, lambda history: history.newest())
    (one,) = ask(reader, lambda history: history.events(Cursor(2, 299), 1)).events
    assert one.event.recipient == "1.4.59@a.test"
    wanted = [Cursor(2, 299), Cursor(1, 0), Cursor(2, 300), Cursor(9, 0)]
    some = ask(reader, lambda history: history.events_at(wanted))
    assert {at: one.event.recipient for at, one in some.items()} == {
        Cursor(2, 299): "1.4.59@a.test", Cursor(1, 0): "0.0.0@a.test",
    }  # fmt: skip
    assert some[Cursor(2, 299)].event_id == one.event_id
    page = ask(reader, lambda history: history.events(BEGINNING, 1000, (EventType.RECEPTION,)))
    assert (page.events, page.next, page.at_end) == ([], Cursor(4, 0), True)
    page = ask(reader, lambda history: history.events(BEGINNING, 7, (EventType.BOUNCE,)))
    assert (len(page.events), page.next) == (7, Cursor(1, 7))
    assert [ask(reader, lambda history, at=at: history.behind(at)).events  # type: ignore[misc]
            for at in (BEGINNING, Cursor(2, 10), Cursor(4, 0))] == [900, 590, 0]  # fmt: skip
    assert ask(reader, lambda history: history.behind(Cursor(2, 0))).oldest > 0
    assert ask(reader, lambda history: history.behind(Cursor(4, 0))).oldest == 0


def entries_count_once_whoever_writes_them(writer: HistoryWriter, reader: History) -> None:
    """Two journals have the same entries in their spools; the second learns it by the position."""
    lane = Lane()
    entries = [lane.entry(accepted(a_delivery(), f"{n}@a.test")) for n in range(4)]
    book, other = Book(writer), Book(writer, "s2")
    book.write(*entries[:3])
    with pytest.raises(PositionMoved):
        other.write(*entries[:2])
    other = Book(writer, "s2")
    other.write(*entries)
    assert recipients(reader) == ["3@a.test", "2@a.test", "1@a.test", "0@a.test"]
    assert ask(reader, lambda history: history.coverage()).head == 2
    assert other.writer.place("s1") is not None


def hours_are_counted_and_the_known_time_is_that_of_the_slowest_lane(writer: HistoryWriter, reader: History) -> None:
    book, lane, other = Book(writer), Lane(), Lane("1.1")
    first, second = accepted(a_delivery(), "a@a.test"), accepted(a_delivery(), "b@b.test", tenant="acme")
    book.write(lane.entry(first, second), other.entry(later(first, EventType.BOUNCE, HOUR_MS)), known=NOW + 5)
    assert ask(reader, lambda history: history.coverage()).as_of == NOW + 5
    counts = ask(reader, lambda history: history.counts(("domain",), HOUR_MS, NOW, NOW + 2 * HOUR_MS))
    assert [(one.begins - NOW, one.domain, one.tenant, one.kind, one.many) for one in counts] == [
        (0, "a.test", "", "Reception", 1), (0, "b.test", "", "Reception", 1), (HOUR_MS, "a.test", "", "Bounce", 1),
    ]  # fmt: skip
    counts = ask(reader, lambda history: history.counts((), 0, NOW, NOW + 2 * HOUR_MS, "acme"))
    assert [(one.kind, one.many) for one in counts] == [("Reception", 1)]
    book.write(lane.entry(later(second, EventType.DELIVERY)), known=NOW + 7)
    assert ask(reader, lambda history: history.coverage()).as_of == NOW + 7


def mail_to_many_domains_is_counted_and_listed_by_domain_and_by_tag(writer: HistoryWriter, reader: History) -> None:
    book, lane = Book(writer), Lane()
    names = [f"d{number}.test" for number in range(450)] + ["odd\0.test"]
    for tags in (("red", "both"), ("both",)):
        book.write(lane.entry(*(accepted(a_delivery(), f"{tags[0]}@{name}", tags=tags) for name in names)))
    counts = ask(reader, lambda history: history.counts(("domain",), 0, NOW, NOW + HOUR_MS))
    assert {one.domain: one.many for one in counts} == {name.replace("\0", "\\0"): 2 for name in names}
    assert recipients(reader, domain="d7.test") == ["both@d7.test", "red@d7.test"]
    assert recipients(reader, limit=200, tag="red") == [f"red@{name}" for name in reversed(names)]
    assert len(recipients(reader, limit=500, tag="both")) == 2 * len(names)


def sites_of_domains_are_asked_for_in_lists_and_counts(writer: Any, reader: History) -> None:
    archive: SiteArchive = writer
    book, lane = Book(writer), Lane()
    archive.keep_sites({"a.test": "small", "b.test": "big"})
    archive.keep_sites({"a.test": "big"})
    mail = [accepted(a_delivery(), f"{name}@{name}.test", pool="gold" if name == "b" else "p") for name in "abc"]
    book.write(lane.entry(*mail), lane.entry(later(mail[0], EventType.DELIVERY)))
    assert recipients(reader, site="big") == ["b@b.test", "a@a.test"]
    assert recipients(reader, site="big", pool="gold") == ["b@b.test"]
    assert recipients(reader, site="small") == []
    counts = ask(reader, lambda history: history.counts(("site",), HOUR_MS, NOW, NOW + HOUR_MS))
    assert [(one.site, one.domain, one.kind, one.many) for one in counts] == [
        ("big", "", "Delivery", 1), ("", "", "Reception", 1), ("big", "", "Reception", 2),
    ]  # fmt: skip
    both = ask(reader, lambda history: history.counts(("site", "pool"), 0, NOW, NOW + HOUR_MS))
    assert sorted((one.site, one.pool, one.many) for one in both if one.kind == "Reception") == [
        ("", "p", 1), ("big", "gold", 1), ("big", "p", 1),
    ]  # fmt: skip
    sites = ask(reader, lambda history: history.sites([f"{name}.test" for name in "abc"]))
    assert sites == {"a.test": "big", "b.test": "big"}


def an_old_day_is_dropped_unless_mail_of_it_lives(writer: HistoryWriter, reader: History, now: list[int]) -> None:
    """`now` is the writer's clock; its retention is two days."""
    book, lane, next_lane = Book(writer), Lane(), Lane(at=NOW + DAY_MS)
    now[0] = NOW
    ended, held = accepted(a_delivery(), "a@a.test"), accepted(a_delivery(NOW + DAY_MS), "b@b.test", NOW + DAY_MS)
    book.write(lane.entry(ended), lane.entry(later(ended, EventType.DELIVERY)))
    now[0] = NOW + DAY_MS
    book.write(next_lane.entry(held), next_lane.entry(later(held, EventType.HOLD)))
    writer.drop_old_days(NOW + 2 * DAY_MS)
    assert recipients(reader) == ["b@b.test", "a@a.test"]
    for _ in range(3):
        writer.drop_old_days(NOW + 9 * DAY_MS)
    assert recipients(reader) == ["b@b.test"]
    assert ask(reader, lambda history: history.message(MessageId(message_of(ended.id)))) == []
    assert ask(reader, lambda history: history.counts((), 0, 0, NOW + 9 * DAY_MS))[0].many == 1
    again = Lane(at=NOW + 9 * DAY_MS)
    now[0] = NOW + 9 * DAY_MS
    book.write(again.entry(later(later(held, EventType.HOLD), EventType.DELIVERY, 8 * DAY_MS)))
    writer.drop_old_days(NOW + 20 * DAY_MS)
    assert delivery_text(held.id) not in recipients(reader)


def counters_of_a_tag_are_kept_by_epoch(writer: Any, reader: History) -> None:
    archive: TagArchive = writer
    writer.open()
    archive.keep([TagCounters("t", "", 0, "e1", {"accepted": 3, "queued": 0})])
    archive.keep(
        [TagCounters("t", "", 0, "e1", {"accepted": 3, "queued": 0}), TagCounters("t", "", 2, "e2", {"accepted": -1})]
    )
    archive.keep([TagCounters("t", "acme", 0, "e3", {"accepted": 2})])
    found = ask(reader, lambda history: history.tag_counters("t"))
    assert sorted((one.lane, one.epoch, one.counts["accepted"]) for one in found) == [(0, "e1", 3), (2, "e2", -1)]
    assert [one.epoch for one in ask(reader, lambda history: history.tag_counters("t", "acme"))] == ["e3"]


def orders_are_read_from_the_newest_on(writer: HistoryWriter, reader: History) -> None:
    """Whole entries, over several days; other lanes and changes of accounts do not stand among them."""
    book, mail = Book(writer), Lane()
    for day in range(3):
        lane = Lane(f"rules.{day + 1}", NOW + day * DAY_MS)
        entries = [
            lane.entry(*[deed_event(NOBODY, Deed("made", f"{day}.{entry}.{at}"), NOW) for at in range(2)])
            for entry in range(2)
        ]
        book.write(*entries, mail.entry(accepted(a_delivery(), "a@a.test")))
    expected = [f"{day}.{entry}.{at}" for day in (2, 1, 0) for entry in (1, 0) for at in (1, 0)]
    for most in (1, 4, 100):
        found: list[NotedEvent] = []
        below = ""
        while page := ask(reader, lambda history, at=below, most=most: history.orders(at, most)):  # type: ignore[misc]
            found += page
            below = page[-1].entry
        assert [(one.event.properties or {})["of"] for one in found] == expected
        assert found[0].event_id == f"rules.3.{NOW + 2 * DAY_MS}-2.1"


STORIES = (
    orders_are_read_from_the_newest_on,
    lists_by_every_filter,
    facts_of_events_are_found_wherever_the_newest_event_is,
    pages_that_end_early_lose_nothing,
    a_delivery_is_told_over_rounds_and_days,
    the_first_visits_stand_in_the_row,
    events_are_read_in_order_from_any_place,
    entries_count_once_whoever_writes_them,
    hours_are_counted_and_the_known_time_is_that_of_the_slowest_lane,
    mail_to_many_domains_is_counted_and_listed_by_domain_and_by_tag,
    counters_of_a_tag_are_kept_by_epoch,
    sites_of_domains_are_asked_for_in_lists_and_counts,
)
