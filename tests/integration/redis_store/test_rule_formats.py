"""Rules of a newer format in a real store: read whole or not at all, and not put where somebody cannot read them."""

import msgspec
import pytest

from mta.journal.decoding import Decoder
from mta.model import rules as words
from mta.model.entries import Entry, framed
from mta.model.errors import OldReaders, SessionLost, UnreadableRule
from mta.model.rules import NO_HEAD, Build, Head, Rule, Selectors
from mta.ports.journal import RULES_LANE
from mta.redis_store import codec, keys, library
from tests.support.stores import Store

NEWER = {"id": "rule-new", "selectors": {"tag": "red", "colour": "blue"}, "code": 554}


def rule(tag: str = "red", reason: str = "") -> Rule:
    return Rule(f"rule-{tag}", Selectors(tag=tag), 554, created_by="me", reason=reason)


async def put_newer(store: Store) -> None:
    """A build with one more selector."""
    step_keys = [
        keys.RULES_HEAD,
        keys.RULES_TABLE,
        keys.RULES_IDS,
        keys.RULES_CHANGES,
        keys.RULES_SESSIONS,
        keys.past_key("rule-new"),
        keys.RULES_EFFECTS,
        keys.RULES_SWEEPS,
        keys.removed_key("rule-new"),
        keys.RULES_COMPLETED,
        keys.RULES_EVENTS,
    ]
    raw = msgspec.msgpack.encode(NEWER)
    args = ["put", "c-new", "rule-new", b"", b"x", b"x", raw, "me", 1, 100, 1000, b"", b"", b""]
    await store.link.call(b"rules_change", step_keys, args)


async def test_k15_a_rule_with_an_unknown_field_is_not_read_as_a_wider_one(open_store):
    store = await open_store()
    await store.rules.put(rule("green"), "c1")
    await put_newer(store)
    for reading in (store.rules.load(), store.rules.rule("rule-new"), store.rules.remove("rule-new", "c3")):
        with pytest.raises(UnreadableRule, match=r"rule rule-new .*unknown field `colour`"):
            await reading
    head, readable, unreadable = await store.rules.load_readable()
    assert (head.generation, [one.id for one in readable], list(unreadable)) == (2, ["rule-green"], ["rule-new"])
    assert await store.rules.changes(Head(1, "c1")) == ()
    assert (await store.rules.rule("rule-green")) is not None


@pytest.mark.parametrize(
    "raw",
    [
        b"\xc1",
        msgspec.msgpack.encode(NEWER | {"kind": "limit", "selectors": {}}),
        msgspec.msgpack.encode({"id": "rule-new", "selectors": {}, "code": 554, "notify": True}),
    ],
    ids=["damaged", "unknown kind", "unknown field of the rule"],
)
async def test_k15_whatever_cannot_be_read_stops_the_reading(open_store, raw):
    store = await open_store()
    await store.link.command("HSET", keys.RULES_TABLE, "rule-new", raw)
    with pytest.raises(UnreadableRule, match="rule-new"):
        await store.rules.load()


async def test_k15_a_process_behind_such_a_change_is_told_to_reload(open_store):
    store = await open_store()
    assert (await store.rules.confirm(1, NO_HEAD, (), {})).ok
    await put_newer(store)
    behind = await store.rules.confirm(2, NO_HEAD, (), {})
    assert (behind.ok, behind.reload, behind.changes) == (False, True, ())


async def test_k15_a_process_that_cannot_read_lives_under_the_head_that_it_confirmed(open_store):
    store, other = await open_store(), await open_store("n2")
    assert (await store.rules.confirm(1, NO_HEAD, (), {})).ok
    before = (await other.rules.sessions())[store.session.id]
    await put_newer(store)
    for seq in (2, 2, 3):  # a repeat after a lost answer moves the number too
        await store.rules.cannot_read(seq, "rule-new: colour", {"claimed": 3.0})
    state = (await other.rules.sessions())[store.session.id]
    assert (state.head, state.confirmed_at, state.seq, state.dead) == (NO_HEAD, before.confirmed_at, 4, False)
    assert state.metrics == {"claimed": 3.0}
    assert (await other.rules.builds())[store.session.id] == Build(
        library.NAME, words.newest_format(), "rule-new: colour"
    )
    await store.link.command("HDEL", keys.RULES_TABLE, "rule-new")
    head, _ = await store.rules.load()
    assert (await store.rules.confirm(4, head, (), {})).ok
    assert (await other.rules.builds())[store.session.id].unreadable == ""
    await store.rules.leave()
    assert await other.rules.builds() == {}


async def test_k15_a_process_that_cannot_read_from_its_start_is_registered_below_every_head(open_store):
    store = await open_store()
    await put_newer(store)
    await store.rules.cannot_read(1, "rule-new: colour", {})
    state = (await store.rules.sessions())[store.session.id]
    assert (state.head, state.confirmed_at) == (NO_HEAD, 0)
    _, wait_set = await store.rules.put(rule("green"), "c2")
    assert wait_set == {store.session.id}


async def test_k15_one_given_up_for_dead_is_told_so_although_it_cannot_read(open_store):
    store, other = await open_store(), await open_store("n2")
    await store.rules.cannot_read(1, "why", {})
    assert await other.rules.mark_dead(store.session.id, None)
    with pytest.raises(SessionLost):
        await store.rules.cannot_read(2, "why", {})
    await other.rules.forget(store.session.id)
    with pytest.raises(SessionLost):
        await store.rules.cannot_read(3, "why", {})


async def test_k15_a_rule_that_an_older_process_cannot_read_is_refused_by_name(open_store, monkeypatch):
    new, old = await open_store("n-new"), await open_store("n-old")
    assert (await old.rules.confirm(1, NO_HEAD, (), {})).ok
    newer = dict(words.SINCE) | {"reason": words.newest_format() + 1}
    monkeypatch.setattr(words, "SINCE", newer)  # from here on this build reads one more
    assert (await new.rules.confirm(1, NO_HEAD, (), {})).ok
    with pytest.raises(OldReaders, match=rf"n-old/delivery/{old.session.pid}"):
        await new.rules.put(rule(reason="for the audit"), "c1")
    put, _ = await new.rules.put(rule(), "c1")
    with pytest.raises(OldReaders, match="n-old"):
        await new.rules.edit(put.rule.id, lambda known: msgspec.structs.replace(known, reason="more"), "c2")
    assert await new.rules.head() == put.head, "nothing was written"
    await old.rules.leave()
    assert (await new.rules.put(rule(reason="for the audit"), "c2"))[0].head.generation == 2


@pytest.mark.parametrize(
    "selectors",
    [
        {"sender": "a@b.example"},
        {"recipient": "a@b.example"},
        {"accepted_before": 1},
        {"accepted_after": 1},
        {"domains": ("a.example", "b.example")},
        {"schedule": "Mo 00:00-24:00", "timezone": "UTC"},
    ],
)
async def test_k15_a_process_of_the_first_format_is_given_no_rule_that_asks_for_the_message(
    open_store, monkeypatch, selectors
):
    new, old = await open_store("n-new"), await open_store("n-old")
    monkeypatch.setattr(words, "SINCE", {})
    assert (await old.rules.confirm(1, NO_HEAD, (), {})).ok
    monkeypatch.undo()
    assert (await new.rules.confirm(1, NO_HEAD, (), {})).ok
    asked = msgspec.structs.replace(rule(), selectors=words.Selectors(**selectors))
    with pytest.raises(OldReaders, match="n-old"):
        await new.rules.put(asked, "c1")
    await old.rules.leave()
    await new.rules.put(asked, "c2")
    _, (stored,) = await new.rules.load()
    assert stored.selectors == asked.selectors


async def test_k15_a_rule_in_a_time_zone_that_is_not_known_here_is_not_read(open_store):
    """The time zones of this host may be older than those of the host that took the order."""
    store = await open_store()
    asked = msgspec.structs.replace(rule(), selectors=words.Selectors(schedule="22:00-08:00", timezone="Mars/Olympus"))
    await store.rules.put(asked, "c1")
    with pytest.raises(UnreadableRule, match="is no IANA time zone"):
        await store.rules.load()


async def test_k15_a_build_that_says_nothing_reads_the_first_format(open_store, monkeypatch):
    new, old = await open_store("n-new"), await open_store("n-old")
    assert (await old.rules.confirm(1, NO_HEAD, (), {})).ok
    await new.link.command("DEL", keys.RULES_BUILDS)
    await new.rules.put(rule(), "c1")
    monkeypatch.setattr(words, "SINCE", {"reason": 99})
    with pytest.raises(OldReaders, match="n-old"):
        await new.rules.put(rule(reason="x"), "c2")


async def test_k15_the_event_of_a_change_is_its_writers_and_has_nothing_that_another_build_cannot_read(open_store):
    """Fields that a newer build appends to it are passed over."""
    store = await open_store()
    await store.rules.put(rule("green"), "c2")
    page = await store.outbox.read(RULES_LANE, "0-0", 1000)
    (raw,) = page.entries[0].events
    fields = msgspec.msgpack.decode(raw)
    newer = msgspec.msgpack.encode([*fields, "a field of a newer build"])
    (piece,) = Decoder().pieces([("rules.1", Entry("1-0", framed((newer,))))])
    ((name, event),) = piece.items
    assert name == "rules.1.1-0.0"
    assert msgspec.structs.asdict(event) == msgspec.structs.asdict((await store.rule_events())[0])


def test_codec_writes_rules_without_what_is_as_usual():
    """Or a rule of the first format would name fields that came later."""
    assert msgspec.msgpack.decode(codec.encode(rule("green"))).keys() == {"id", "selectors", "code", "created_by"}
