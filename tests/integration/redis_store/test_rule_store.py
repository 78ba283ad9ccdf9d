import asyncio
import json

import msgspec
import pytest

from mta.model.errors import BadValue, OutcomeUnknown, SessionLost, StoreAway, StoreRefuses, StoreUnreached
from mta.model.ids import delivery_id, delivery_text
from mta.model.mail import QueueShare
from mta.model.quotas import Quota
from mta.model.rule_events import completed_event
from mta.model.rules import (
    NO_HEAD,
    AtTheDoor,
    Bound,
    ChangeOp,
    Effective,
    Head,
    InFlight,
    Kind,
    PastDot,
    Rule,
    Selectors,
)
from mta.model.settings import RedisSettings
from mta.model.sweeps import SweepPhase, SweepState
from mta.orders.statement import rule_statement
from mta.ports.journal import RULES_LANE
from mta.ports.orders import Effect
from mta.ports.rule_store import Exists
from mta.ports.sweeps import MoveAnswer, PlannedMove, SweepMove
from mta.redis_store import keys, outbox
from mta.redis_store.link import Link
from tests.support.actors import ME
from tests.support.stores import DOMAIN, QUEUE, message, queued

AN_ACCOUNT = rule_statement(
    Effect(Rule("r", Selectors(tag="red"), 554), False, True, 100, 100, (), 100, (), ()), {}, {}, None, 500
)


def rule(tag: str, code: int = 554, id_: str = "") -> Rule:
    return Rule(id=id_ or f"rule-{tag}", selectors=Selectors(tag=tag), code=code, created_by="me", created_at=5)


async def test_a_put_moves_the_head_and_returns_who_must_confirm(open_store):
    one, two = await open_store("n1"), await open_store("n2")
    for store in (one, two):
        assert (await store.rules.confirm(1, NO_HEAD, (), {"delivered": 1.0})).ok
    put, wait_set = await one.rules.put(rule("red"), "c1")
    assert (put.head, put.created, put.rule.generation) == (Head(1, "c1"), True, 1)
    assert wait_set == {one.session.id, two.session.id}
    behind = await two.rules.confirm(2, NO_HEAD, (), {})
    assert (behind.ok, behind.reload) == (False, False)
    assert [(c.op, c.rule.id, c.head) for c in behind.changes] == [(ChangeOp.PUT, "rule-red", Head(1, "c1"))]
    assert (await two.rules.sessions())[two.session.id].seq == 1, "a process that is behind has confirmed nothing"
    assert (await two.rules.confirm(2, put.head, (), {})).ok
    state = (await one.rules.sessions())[two.session.id]
    assert (state.head, state.seq, state.node) == (Head(1, "c1"), 2, "n2")


async def test_the_same_selectors_are_the_same_rule(open_store):
    store = await open_store()
    first, _ = await store.rules.put(rule("red"), "c1", ME)
    second, _ = await store.rules.put(rule("red", 421, "another"), "c2", ME)
    assert (second.created, second.rule.id, second.rule.code, second.rule.generation) == (False, "rule-red", 421, 2)
    assert (await store.rules.load()) == (Head(2, "c2"), (second.rule,))
    removed, _ = await store.rules.remove(first.rule.id, "c3", ME)
    assert removed.head == Head(3, "c3")
    assert await store.rules.remove(first.rule.id, "c4") is None
    assert (await store.rules.load())[1] == ()
    events = await store.rule_events()
    assert [(e.reason, e.forced.rule, e.forced.generation, e.actor) for e in events] == [
        ("put by me", "rule-red", 1, "me"),
        ("put by me", "rule-red", 2, "me"),
        ("remove by me", "rule-red", 3, "me"),
    ]
    assert [(e.properties["change"], e.properties["generation"], e.code) for e in events] == [
        ("made", "1", 554),
        ("edited", "2", 421),
        ("removed", "3", 421),
    ]


async def test_a_head_that_is_no_ancestor_must_reload(open_store):
    store = await open_store()
    await store.rules.put(rule("red"), "c1")
    await store.rules.put(rule("blue"), "c2")
    for head in (Head(1, "other"), Head(2, "other"), Head(3, "c3")):
        answer = await store.rules.confirm(1, head, (), {})
        assert (answer.ok, answer.reload, answer.head) == (False, True, Head(2, "c2"))


async def test_a_dead_session_is_told_so_and_one_that_moved_on_is_not_given_up(open_store):
    one, two = await open_store("n1"), await open_store("n2")
    await one.rules.confirm(1, NO_HEAD, (), {})
    await one.rules.confirm(2, NO_HEAD, (), {})
    assert not await two.rules.mark_dead(one.session.id, 1)
    assert await two.rules.mark_dead(one.session.id, 2)
    _, wait_set = await two.rules.put(rule("red"), "c1")
    assert one.session.id not in wait_set
    with pytest.raises(SessionLost):
        await one.rules.confirm(3, NO_HEAD, (), {})
    await two.rules.forget(one.session.id)
    with pytest.raises(SessionLost):
        await one.rules.confirm(3, NO_HEAD, (), {})
    one.rules.renew()
    assert (await one.rules.confirm(1, Head(1, "c1"), (), {})).ok


async def test_a_question_asked_again_moves_the_number_too(open_store):
    one, two = await open_store("n1"), await open_store("n2")
    await one.rules.confirm(1, NO_HEAD, (), {})
    await one.rules.confirm(1, NO_HEAD, (), {})  # its answer was lost
    assert not await two.rules.mark_dead(one.session.id, 1), "it has just got a permit"
    assert (await two.rules.sessions())[one.session.id].seq == 2


async def test_what_too_few_replicas_have_is_told_to_nobody(open_store):
    one, two = await open_store("n1"), await open_store("n2")
    one.link._replicas = 1  # as the server's min-replicas-to-write would have it; there is none
    one.link._settings = msgspec.structs.replace(one.link._settings, timeout=2.0)
    one.link.timeout = 2.0
    with pytest.raises(StoreAway, match="0 replicas have it"):
        await one.rules.confirm(1, NO_HEAD, (), {})
    with pytest.raises(StoreAway, match="0 replicas have it"):
        await one.rules.put(rule("red"), "c1")
    assert (await two.rules.load())[0] == Head(1, "c1"), "it has run, and may be forgotten by a failover"


async def test_who_registers_while_a_rule_is_put_is_waited_for_or_has_it(open_store):
    """The wait set is of the step that moves the head, not of a moment before."""
    one, two = await open_store("n1"), await open_store("n2")
    call = one.link.call_kept

    async def registered_meanwhile(function, *args):
        if function == b"rules_change":
            assert (await two.rules.confirm(1, NO_HEAD, (), {})).ok
        return await call(function, *args)

    one.link.call_kept = registered_meanwhile
    _, wait_set = await one.rules.put(rule("red"), "c1")
    assert wait_set == {two.session.id}
    one.link.call_kept = call


async def test_only_processes_that_deliver_are_waited_for(open_store):
    """The barrier of each lane fences the others."""
    one, accepting, sweeping, both = [await open_store(name) for name in ("n1", "n2", "n3", "n4")]
    accepting.session.roles, sweeping.session.roles, both.session.roles = ("smtp",), ("sweeper",), ("smtp", "delivery")
    for store in (one, accepting, sweeping, both):
        assert (await store.rules.confirm(1, NO_HEAD, (), {})).ok
    _, wait_set = await one.rules.put(rule("red"), "c1")
    assert wait_set == {one.session.id, both.session.id}
    assert [state.delivers for state in (await one.rules.sessions()).values()].count(True) == 2


async def test_what_was_past_its_dot_is_listed_once_and_settled_once(open_store):
    store = await open_store()
    put, _ = await store.rules.put(rule("red"), "c1")
    entry = PastDot("rule-red", "01HF7YAT00W9ER8WKT6ETPT703.1", "a@example.com", 77)
    await store.rules.confirm(1, put.head, [entry], {})
    await store.rules.confirm(2, put.head, [msgspec.structs.replace(entry, dot_at=99)], {})
    [found] = await store.rules.past_dot("rule-red")
    assert (found.dot_at, found.session, found.settled_at) == (77, store.session.id, 0)
    await store.queues._past_dot_settled("rule-red", [entry.id])
    [found] = await store.rules.past_dot("rule-red")
    assert found.settled_at > 0
    await store.rules.put(rule("red", 553), "c2")
    assert await store.rules.past_dot("rule-red") == [], "an edited rule has a list of its own"


async def test_what_an_order_does_is_told_in_the_steps_that_do_it(open_store):
    store = await open_store()

    async def told():
        return [
            (e.properties["op"], e.properties.get("change", ""), e.forced.generation) for e in await store.rule_events()
        ]

    await store.rules.put(rule("red", id_="r"), "c1")
    await store.rules.save_effect(Effective("r", 1, 100, ("D.1",), ("s1",), ("s2",)), rule("red", id_="r"))
    await store.rules.save_effect(Effective("r", 1, 200), rule("red", id_="r"))
    state = SweepState("r", 1, SweepPhase.DONE, 0, 0, 1, 1, 0, "a")
    swept = msgspec.structs.replace(rule("red", id_="r"), generation=1)
    event = msgspec.msgpack.encode(completed_event(swept, 1, AN_ACCOUNT, 7))
    assert await store.sweeps.save_sweep(state, 5.0, event)
    assert await store.sweeps.save_sweep(state._replace(phase=SweepPhase.RUNNING), 5.0)
    assert await store.sweeps.save_sweep(state, 5.0, event)
    for change in ({"enabled": False}, {"enabled": True}, {"code": 421}):
        await store.rules.edit("r", lambda known, change=change: msgspec.structs.replace(known, **change), "c", ME)
    await store.rules.remove("r", "c5", ME)
    for at in (300, 400):
        await store.rules.save_effect(Effective("r", 5, at), rule("red", id_="r"), removed=True)
    assert not await store.sweeps.save_sweep(state, 5.0, event), "no such rule any more"
    assert await told() == [
        ("put", "made", 1),
        ("effective", "put", 1),
        ("completed", "", 1),
        ("put", "disabled", 2),
        ("put", "enabled", 3),
        ("put", "edited", 4),
        ("remove", "removed", 5),
        ("effective", "removed", 5),
    ]
    effective, completed = (await store.rule_events())[1:3]
    assert (effective.reason, effective.time, effective.tags) == ("effective", 100, ("red",))
    assert effective.properties["past_dot"] == effective.properties["confirmed"] == "1"
    assert effective.properties["unconfirmed"] == "s2"
    assert json.loads(completed.properties["statement"]) == msgspec.to_builtins(AN_ACCOUNT)
    assert (await store.rules.effects(["r"])) == {}


async def test_what_others_have_still_to_copy_of_the_rule_tables_lane_stays(open_store, monkeypatch):
    monkeypatch.setattr(outbox, "_RULE_EVENTS", 100)
    store = await open_store()

    async def length():
        return await store.link.command("XLEN", keys.RULES_EVENTS)

    for number in range(300):
        await store.rules.put(rule("red"), f"c{number}")
    entries = (await store.outbox.read(RULES_LANE, "0-0", 1 << 30)).entries
    assert await store.outbox.lease(RULES_LANE, "a", 5)
    assert not await store.outbox.lease(RULES_LANE, "b", 5)
    assert await store.outbox.done(RULES_LANE, "a", entries[-2].id)
    assert await length() == 300, "one is not counted yet"
    assert await store.outbox.done(RULES_LANE, "a", entries[-1].id)
    assert 100 <= await length() < 300
    assert await store.outbox.position(RULES_LANE) == entries[-1].id
    assert await store.outbox.copied("n1") == "0-0"
    await store.outbox.note_copied("n1", entries[5].id)
    assert (await store.outbox.copied("n1"), await store.outbox.copied("n2")) == (entries[5].id, "0-0")


async def test_effects_never_go_back(open_store):
    store = await open_store()
    await store.rules.save_effect(Effective("r", 2, 200), rule("red"))
    await store.rules.save_effect(Effective("r", 1, 100), rule("red"))
    await store.rules.save_effect(Effective("r", 2, 300), rule("red"))
    assert (await store.rules.effects(["r", "s"]))["r"].effective_at == 200


async def test_a_sweep_sees_the_queue_and_ends_what_is_still_there(open_store):
    store = await open_store()
    batch = [message(tags=("red",)) for _ in range(60)] + [message(tags=("blue",)) for _ in range(5)]
    await store.queues.accept(0, batch)
    assert await store.sweeps.pools() == [QUEUE.pool]
    assert await store.sweeps.queues(0, QUEUE.pool) == [QueueShare(QUEUE)]
    seen, cursor = [], 0
    while True:
        cursor, page = await store.sweeps.scan(0, QUEUE, cursor, 20)
        seen += page
        if not cursor:
            break
    assert {q.id for q in seen} == {delivery_id(m.id, 1) for m in batch}
    claimed = {c.id for c in await store.claim(0, most=10)}
    matches = [
        PlannedMove(q.id, QUEUE, "r1", q.record.tags, b"event", False, raw=q.raw)
        for q in seen
        if "red" in q.record.tags
    ]
    answer, count = await store.sweeps.move(0, "", SweepMove.INTERCEPT, 1, matches)
    assert (answer, count) == (MoveAnswer.OK, sum(m.id not in claimed for m in matches))
    assert (await store.books.tag("red"))["intercepted:queued"] == count
    assert (await store.books.rule("r1"))["met"] == count
    await store.rules.raise_barrier(2)
    assert (await store.sweeps.move(0, "", SweepMove.INTERCEPT, 1, matches))[0] is MoveAnswer.OLD_RULES


async def test_a_sweep_sees_what_is_due_scheduled_and_deferred(open_store):
    store = await open_store()
    due, later, tried = message(), message(due_at=message().due_at + 60_000), message()
    await store.queues.accept(0, [tried])
    [claimed] = await store.claim(0)
    record = msgspec.structs.replace(claimed.record, attempts=1)
    await store.queues.settle(0, [queued(claimed, tried.due_at + 60_000, record)])
    await store.queues.accept(0, [due, later])
    _, page = await store.sweeps.scan(0, QUEUE, 0, 100)
    assert {q.id for q in page} == {delivery_id(m.id, 1) for m in (due, later, tried)}
    assert sorted(q.record.attempts for q in page) == [0, 0, 1]


async def test_two_sweepers_do_not_own_one_sweep(open_store):
    store = await open_store()
    assert not await store.sweeps.save_sweep(SweepState("r1", 1, SweepPhase.STOPPED, 0, 0, 1, 1, 0, "a"), 5.0), (
        "no such rule"
    )
    await store.rules.put(rule("red", id_="r1"), "c1")
    state = SweepState("r1", 1, SweepPhase.RUNNING, 0, 0, 1, 1, 0, "a")
    assert await store.sweeps.save_sweep(state, 5.0)
    assert not await store.sweeps.save_sweep(state._replace(owner="b"), 5.0)
    assert await store.sweeps.save_sweep(state._replace(seen=5), 5.0)
    assert (await store.sweeps.sweeps())["r1"].seen == 5


async def test_queues_are_counted_by_state(open_store):
    store = await open_store()
    await store.rules.confirm(1, NO_HEAD, (), {})
    await store.queues.accept(0, [message() for _ in range(5)])
    await store.queues.accept(1, [message(1, due_at=message().due_at + 60_000) for _ in range(3)])
    await store.claim(0, most=2)
    [counts] = await store.books.queues()
    assert (counts.queue.domain, counts.due, counts.scheduled, counts.claimed) == (DOMAIN, 3, 3, 2)
    assert counts.oldest > 0
    tags, cursor = await store.books.tags(10, "")
    assert (set(tags), cursor) == ({"red"}, "")
    assert delivery_text(delivery_id(message().id, 1)).endswith(".1")


async def test_the_whole_selector_set_is_the_identity(open_store):
    store = await open_store()
    sets = [
        Selectors(tag="a"),
        Selectors(tags_all=("a",)),
        Selectors(tag="a", tags_all=()),
        Selectors(tag="a", except_tags=("b",)),
        Selectors(tag="a", ip="192.0.2.1"),
        Selectors(tag="a", mx="*.example"),
        Selectors(tag="a", cluster=False, node="n1"),
    ]
    for number, chosen in enumerate(sets):
        put, _ = await store.rules.put(Rule(f"r{number}", chosen, 554, expires_at=9, enabled=False), f"c{number}")
        assert put.created
    for number, chosen in enumerate(sets):
        put, _ = await store.rules.put(Rule("other", chosen, 450), f"d{number}")
        assert (put.created, put.rule.id, put.rule.enabled, put.rule.expires_at) == (False, f"r{number}", True, 0)
    assert {rule.selectors for rule in (await store.rules.load())[1]} == set(sets)


async def test_an_edit_is_made_of_the_rule_as_it_stands(open_store):
    one, two = await open_store("n1"), await open_store("n2")
    put, _ = await one.rules.put(rule("red"), "c1")
    await one.rules.confirm(1, put.head, (), {})
    seen = []

    def edit(known):
        seen.append(known.code)
        return msgspec.structs.replace(known, id="x", selectors=Selectors(), enabled=False, code=known.code + 1)

    async def race():
        found = await two.rules.edit("rule-red", edit, "c2", ME)
        assert found is not None
        return found

    (first, wait_set), (second, _) = await asyncio.gather(race(), one.rules.edit("rule-red", edit, "c3"))
    assert wait_set == {one.session.id}
    assert {first.rule.code, second.rule.code} == {555, 556}, "no edit is lost"
    (known,) = (await one.rules.load())[1]
    assert (known.id, known.selectors, known.code, known.enabled) == ("rule-red", Selectors(tag="red"), 556, False)
    assert (known.created_by, known.created_at, known.generation) == ("me", 5, 3)
    assert await one.rules.edit("none", edit, "c4") is None

    def refuse(known):
        raise BadValue("code", "no")

    with pytest.raises(BadValue):
        await one.rules.edit("rule-red", refuse, "c5")
    assert [event.properties["op"] for event in await one.rule_events()] == ["put", "put", "put"]


async def test_a_pause_and_a_forced_error_of_the_same_selectors_are_two_rules(open_store):
    store = await open_store()
    chosen = Selectors(tag="a")
    pause, _ = await store.rules.put(Rule("p1", chosen, kind=Kind.PAUSE), "c1")
    error, _ = await store.rules.put(Rule("e1", chosen, 554), "c2")
    again, _ = await store.rules.put(Rule("p2", chosen, kind=Kind.PAUSE), "c3")
    assert (pause.created, error.created, again.created, again.rule.id) == (True, True, False, "p1")


async def test_a_pause_becomes_a_forced_error_in_one_change(open_store):
    store = await open_store()
    chosen = Selectors(tag="a")
    await store.rules.put(Rule("p1", chosen, kind=Kind.PAUSE), "c1")
    await store.rules.put(Rule("e1", chosen, 554), "c2")

    def convert(known):
        return msgspec.structs.replace(known, kind=Kind.ERROR, code=550)

    with pytest.raises(Exists, match="e1"):
        await store.rules.edit("p1", convert, "c3")
    await store.rules.remove("e1", "c4")
    put, _ = await store.rules.edit("p1", convert, "c5")
    assert (put.rule.id, put.rule.kind, put.head.generation) == ("p1", Kind.ERROR, 4)
    again, _ = await store.rules.put(Rule("e2", chosen, 551), "c6")
    assert (again.created, again.rule.id, again.rule.code) == (False, "p1", 551)
    fresh, _ = await store.rules.put(Rule("p2", chosen, kind=Kind.PAUSE), "c7")
    assert (fresh.created, fresh.rule.id) == (True, "p2")


async def test_many_writers_never_fail_and_each_change_has_a_generation_of_its_own(open_store):
    stores = [await open_store(f"n{number}") for number in range(4)]
    puts = await asyncio.gather(
        *(
            store.rules.put(rule(f"{at}-{number}"), f"c{at}.{number}")
            for at, store in enumerate(stores)
            for number in range(25)
        )
    )
    assert sorted(put.head.generation for put, _ in puts) == list(range(1, 101))
    assert {put.rule.generation for put, _ in puts} == set(range(1, 101))
    head, rules = await stores[0].rules.load()
    assert (head.generation, len(rules)) == (100, 100)
    assert {r.id: r.generation for r in rules} == {put.rule.id: put.rule.generation for put, _ in puts}
    same = await asyncio.gather(*(store.rules.put(rule("same", 500 + at), f"s{at}") for at, store in enumerate(stores)))
    assert sorted(put.created for put, _ in same) == [False, False, False, True]
    last = max(same, key=lambda answer: answer[0].head.generation)[0].rule
    assert await stores[0].rules.rule("rule-same") == last


async def test_edits_of_one_rule_at_once_are_all_made(open_store):
    stores = [await open_store(f"n{number}") for number in range(3)]
    await stores[0].rules.put(rule("red"), "c")

    def one_more(known: Rule) -> Rule:
        return msgspec.structs.replace(known, reason=known.reason + "x")

    await asyncio.gather(*(store.rules.edit("rule-red", one_more, f"e{at}") for at, store in enumerate(stores)))
    found = await stores[0].rules.rule("rule-red")
    assert found is not None
    assert (found.reason, found.generation) == ("xxx", 4)


async def test_a_rule_with_every_field_is_read_as_it_was_written(open_store):
    store = await open_store()
    full = Rule(
        "full", Selectors(tag="full"), 451, "4.7.1", "later", 5, "me", "why", 0, False, 9, Kind.PAUSE, AtTheDoor.REJECT,
        InFlight.FINISH, False, Bound(1), "a-set", "you", 2, "gold", ("a.example",), "acme", "b.example",
        (("shop", "x"),), Quota(5),
    )  # fmt: skip
    assert all(getattr(full, f.name) != f.default for f in msgspec.structs.fields(Rule) if f.name != "generation")
    put, _ = await store.rules.put(full, "c1")
    assert await store.rules.rule("full") == put.rule == msgspec.structs.replace(full, generation=1)


@pytest.mark.parametrize("more", [14, 15, 16, 17, 300])
async def test_the_store_adds_the_generation_however_many_fields_a_later_release_writes(open_store, more):
    store = await open_store()
    await store.rules.confirm(1, NO_HEAD, (), {})
    fields = {"id": "r", "selectors": {"tag": "t"}} | {f"later{number}": number for number in range(more - 2)}
    step_keys = [keys.RULES_HEAD, keys.RULES_TABLE, keys.RULES_IDS, keys.RULES_CHANGES, keys.RULES_SESSIONS]
    step_keys += [keys.past_key("r"), keys.RULES_EFFECTS, keys.RULES_SWEEPS, keys.removed_key("r")]
    step_keys += [keys.RULES_COMPLETED, keys.RULES_EVENTS]
    args = ["put", "c1", "r", "", "i", "i", msgspec.msgpack.encode(fields), "me", 5, 10, 1000, "", "", ""]
    answer = await store.link.call(b"rules_change", step_keys, args)
    assert answer == [1, [store.session.id.encode()]]
    raw = await store.link.command("HGET", keys.RULES_TABLE, "r")
    assert msgspec.msgpack.decode(raw) == fields | {"generation": 1}


async def test_changes_lead_from_a_known_head_only(open_store):
    store = await open_store()
    for number in range(1, 4):
        await store.rules.put(rule(f"t{number}"), f"c{number}")
    assert [change.head for change in await store.rules.changes(Head(1, "c1"))] == [Head(2, "c2"), Head(3, "c3")]
    for unknown in (NO_HEAD, Head(1, "other"), Head(4, "c4")):
        assert await store.rules.changes(unknown) == ()
    assert await store.rules.knows(Head(2, "c2"))
    assert not await store.rules.knows(Head(2, "other"))
    assert not await store.rules.knows(Head(9, "c9"))


async def test_what_is_put_again_is_put_by_its_id_once_and_its_numbers_are_not_used_again(open_store):
    store = await open_store()
    await store.rules.put(rule("red"), "c1")
    known = {r.id: r for r in (await store.rules.load())[1]}
    lost = [msgspec.structs.replace(known["rule-red"], code=421, generation=7), rule("blue")]
    assert not await store.rules.regain(Head(8, "lost"), lost, {}, last=True), "it is not as it was seen"
    assert await store.rules.regain(Head(8, "lost"), lost, known, last=False)
    head, rules = await store.rules.load()
    assert head.generation == 10
    assert {r.id: (r.code, r.generation) for r in rules} == {"rule-red": (421, 9), "rule-blue": (554, 10)}
    assert await store.rules.regain(Head(8, "lost"), [], {}, last=True)
    assert await store.rules.regain(Head(8, "lost"), [], {}, last=True), "another process was faster"
    trail = await store.rules.trail(9)
    assert [(step.head.generation, step.was) for step in trail.steps] == [(1, 0), (9, 7), (10, 0), (11, 0)]
    assert (trail.regained, (await store.rules.head()).generation) == (8, 11)
    assert (await store.rules.put(rule("red"), "c2"))[0].rule.id == "rule-red"
    assert not await store.rules.regain(Head(20, "lost"), [rule("red", id_="another")], {}, last=True), "it is taken"


async def test_counters_of_many_rules_are_read_together(open_store):
    store = await open_store()
    for lane in range(store.lanes):
        counts = ("met", 1 + lane, "last_hit_at", 100 - lane, "intercepted:door", 2)
        await store.link.command("HSET", keys.lane_key(lane, b"rule:r1"), *counts)
    await store.link.command("HSET", keys.lane_key(1, b"rule:r3"), "met", 7)
    r1, r2, r3 = await store.books.rules(["r1", "r2", "r3"])
    assert r1 == await store.books.rule("r1")
    assert r1 == {"met": sum(range(1, store.lanes + 1)), "last_hit_at": 100, "intercepted:door": 2 * store.lanes}
    assert (r2, r3) == ({}, {"met": 7})
    assert await store.books.rules([]) == []
    for lane in range(store.lanes):
        await store.link.command("DEL", keys.lane_key(lane, b"rule:r1"), keys.lane_key(lane, b"rule:r3"))


async def test_a_crowd_of_calls_waits_for_a_connection(server):
    link = Link(server.url, RedisSettings(timeout=5.0), crowded=True)
    try:
        await link.open()
        assert set(await asyncio.gather(*(link.command("HGET", keys.RULES_HEAD, "x") for _ in range(300)))) == {None}
    finally:
        await link.close()


async def test_k2_a_change_whose_answer_is_lost_is_made_once(open_store, monkeypatch):
    store = await open_store()
    call, lost = store.link.call_kept, []

    async def lossy(function, step_keys, args):
        answer = await call(function, step_keys, args)
        if len(lost) < 2:
            lost.append(function)
            raise StoreAway("the answer was lost")
        return answer

    monkeypatch.setattr(store.link, "call_kept", lossy)
    put, wait_set = await store.rules.put(rule("red"), "c1")
    assert lost == [b"rules_change", b"rules_change_once"]
    assert (put.head, put.created, put.rule.generation, wait_set) == (Head(1, "c1"), True, 1, set())
    lost.clear()
    edited, _ = await store.rules.edit("rule-red", lambda known: msgspec.structs.replace(known, code=421), "c2")
    assert (edited.head, edited.rule.code) == (Head(2, "c2"), 421)
    lost.clear()
    removed, _ = await store.rules.remove("rule-red", "c3")
    assert (removed.head, await store.rules.load()) == (Head(3, "c3"), (Head(3, "c3"), ()))
    assert len(await store.rule_events()) == 3, "a change that is asked for again has one event"


async def test_k2_who_registers_before_the_answer_comes_is_waited_for(open_store, monkeypatch):
    store, late = await open_store(), await open_store("n2")
    call, asked = store.link.call_kept, []

    async def lossy(function, step_keys, args):
        answer = await call(function, step_keys, args)
        asked.append(function)
        if function == b"rules_change":
            await call_confirm()
            raise StoreAway("the answer was lost")
        return answer

    async def call_confirm():
        head, _ = await late.rules.load()
        assert (await late.rules.confirm(1, head, (), {})).ok

    monkeypatch.setattr(store.link, "call_kept", lossy)
    _, wait_set = await store.rules.put(rule("red"), "c1")
    assert wait_set == {late.session.id}


async def test_k2_a_change_that_did_not_arrive_is_made_by_the_next_question(open_store, monkeypatch):
    store = await open_store()
    for number in range(250):  # the audit is read in pieces
        await store.rules.put(rule("red", 400 + number % 50), f"before-{number}")
    call, lost = store.link.call_kept, []

    async def lossy(function, step_keys, args):
        if not lost:
            lost.append(function)
            raise StoreAway("it did not arrive")
        return await call(function, step_keys, args)

    monkeypatch.setattr(store.link, "call_kept", lossy)
    put, _ = await store.rules.put(rule("blue"), "c1")
    assert (put.head, await store.rules.head()) == (Head(251, "c1"), Head(251, "c1"))


@pytest.mark.parametrize("error", [StoreUnreached, StoreRefuses])
async def test_k2_what_has_surely_not_run_is_refused_at_once(open_store, monkeypatch, error):
    store, asked = await open_store(), []

    async def away(function, step_keys, args):
        asked.append(function)
        raise error("no")

    monkeypatch.setattr(store.link, "call_kept", away)
    with pytest.raises(error):
        await store.rules.put(rule("red"), "c1")
    assert asked == [b"rules_change"]


async def test_k2_a_change_that_nobody_can_tell_about_is_unknown(open_store, monkeypatch):
    store = await open_store()

    async def away(function, step_keys, args):
        raise (StoreAway if function == b"rules_change" else StoreRefuses)("no answer")

    monkeypatch.setattr(store.link, "call_kept", away)
    monkeypatch.setattr(store.link, "timeout", 0.2)
    with pytest.raises(OutcomeUnknown, match="no answer"):
        await store.rules.put(rule("red"), "c1")
