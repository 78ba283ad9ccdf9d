"""Calls with an idempotency key, on a real store that fails at any part: each message is accepted once."""

import asyncio
import random
from collections.abc import Sequence
from typing import Any

import pytest

from mta.admission.calls import ClientCalls
from mta.admission.group_commit import GroupCommit
from mta.admission.keyed_calls import KeyedCalls
from mta.admission.making import MessageMaker
from mta.model.errors import StoreAway
from mta.model.idempotency import idempotency_key
from mta.model.ids import id_in_row
from mta.model.injection import Injection
from mta.model.outcomes import Reply
from mta.ports.admission import Draft, Handed, Requester
from mta.ports.idempotency import KeyRefusal, KeyTrouble
from mta.ports.queueing import AcceptanceDecision, Ambiguous, DecidedBy, DeciderKind, Rejected
from tests.support.conditions import PATIENCE
from tests.support.intake import make_settings, no_rules
from tests.support.stores import Store

KEY = idempotency_key(("test",), "k", (b"x",))
OTHER = idempotency_key(("test",), "k", (b"y",))


class Failing:
    """The accept step, which fails as told: `trouble` before or after it ran."""

    def __init__(self, queues: Any) -> None:
        self._queues = queues
        self.lanes = queues.lanes
        self.before: list[BaseException | None] = []
        self.after: list[BaseException | None] = []
        self.steps = 0

    async def accept(self, *given: Any) -> Any:
        self.steps += 1
        if self.before and (trouble := self.before.pop(0)) is not None:
            raise trouble
        answer = await self._queues.accept(*given)
        if self.after and (trouble := self.after.pop(0)) is not None:
            raise trouble
        return answer


class Process:
    """A process that takes calls, with a session of its own."""

    def __init__(self, store: Store, decide: Any = no_rules) -> None:
        self.store = store
        self.steps = Failing(store.queues)
        self.room = True
        self.admission = GroupCommit(self.steps, 0.0, decide)
        self.keyed = KeyedCalls(store.call_keys, store.lanes, 3600.0, lambda: self.room)
        self.calls = ClientCalls(MessageMaker(make_settings()), self.admission, self.keyed)

    async def call(self, to: Sequence[str], key: Any = KEY) -> list[Handed]:
        """As the door makes it."""
        async with self.calls.work_on(key) as work:
            if work.is_complete:
                return list(work.earlier)
            drafts = [Draft(b"Subject: x\r\n", b"\r\nhello\r\n", (one,)) for one in to]
            call = self.calls.begin(Requester("::1"), "from@example.org", Injection(tags=("red",)), work)
            return [*work.earlier, *await call.submit(drafts[len(work.earlier) :])]


def recipients(count: int) -> list[str]:
    return [f"r{number}@example.com" for number in range(count)]


async def counted(store: Store) -> int:
    return int((await store.books.total()).get("accepted", 0))


async def taken(process: Process, to: Sequence[str]) -> list[Handed]:
    """The answer, once the process that worked on the call has left it."""
    async with asyncio.timeout(PATIENCE):
        while True:
            try:
                return await process.call(to)
            except KeyRefusal as refused:
                if refused.trouble is not KeyTrouble.UNDER_WAY:
                    raise


async def refusal(process: Process, to: Sequence[str], key: Any = KEY) -> KeyTrouble:
    with pytest.raises(KeyRefusal) as caught:
        await process.call(to, key)
    return caught.value.trouble


async def test_a_repeat_has_the_same_answer_at_any_process(open_store):
    one, other = Process(await open_store()), Process(await open_store("n2"))
    to = recipients(250)
    first = await one.call(to)
    assert all(message.is_accepted for message in first)
    assert [message.id for message in first] == [id_in_row(first[0].id, place) for place in range(250)]
    assert await other.call(to) == first
    assert await one.call(to) == first
    assert (one.keyed.replayed, other.keyed.replayed) == (250, 250)
    assert await refusal(other, to, OTHER) is KeyTrouble.OTHER_CONTENT
    assert await counted(one.store) == 250


async def test_of_a_call_whose_first_part_fails_nothing_is_kept(open_store):
    process = Process(await open_store())
    process.steps.before = [StoreAway("away")]
    handed = await process.call(recipients(250))
    assert {message.reply.code for message in handed} == {451}
    assert await counted(process.store) == 0
    assert all(message.is_accepted for message in await process.call(recipients(250)))
    assert await counted(process.store) == 250


@pytest.mark.parametrize(("trouble", "after"), [(StoreAway(""), False), (Ambiguous(""), False), (Ambiguous(""), True)])
async def test_a_call_that_stopped_goes_on_where_it_was(open_store, trouble, after):
    one, other = Process(await open_store()), Process(await open_store("n2"))
    (one.steps.after if after else one.steps.before)[:] = [None, trouble]
    said = await refusal(one, recipients(250))
    assert said is (KeyTrouble.UNKNOWN if isinstance(trouble, Ambiguous) else KeyTrouble.STOPPED)
    handed = await taken(other, recipients(250))
    assert [message.is_accepted for message in handed] == [True] * 250
    assert await counted(one.store) == 250
    assert await one.call(recipients(250)) == handed


async def test_a_call_that_another_process_works_on_is_told_to_come_again(open_store):
    one, other = Process(await open_store()), Process(await open_store("n2"))
    gate, waits = asyncio.Event(), asyncio.Event()
    accept = one.steps.accept

    async def slow(*given: Any) -> Any:
        if one.steps.steps:
            waits.set()
            await gate.wait()
        return await accept(*given)

    one.steps.accept = slow  # type: ignore[method-assign]
    task = asyncio.create_task(one.call(recipients(150)))
    await waits.wait()
    assert await refusal(other, recipients(150)) is KeyTrouble.UNDER_WAY
    assert await refusal(one, recipients(150)) is KeyTrouble.UNDER_WAY
    assert (one.steps.steps, other.steps.steps) == (1, 0)  # nothing was put beside the contents of the first
    gate.set()
    handed = await task
    assert await other.call(recipients(150)) == handed
    assert await counted(one.store) == 150


async def test_messages_that_a_rule_refuses_stay_refused_in_the_repeat(open_store):
    def decide(messages: Any) -> AcceptanceDecision:
        no = Reply(554, "5.7.1", "no")
        refused = [one for one in messages if one.recipients[0].address in ("r1@example.com", "r149@example.com")]
        by = DecidedBy(DeciderKind.RULE, "r")
        return AcceptanceDecision(0, {}, {one.id: Rejected(by, no, ("red",), (b"e",)) for one in refused})

    one, other = Process(await open_store(), decide), Process(await open_store("n2"))
    handed = await one.call(recipients(150))
    assert [place for place, message in enumerate(handed) if not message.is_accepted] == [1, 149]
    assert await other.call(recipients(150)) == handed
    assert (await counted(one.store), (await one.store.books.total())["rejected"]) == (148, 2)


async def test_messages_that_have_no_route_stay_refused_in_the_repeat(open_store):
    one, other = Process(await open_store()), Process(await open_store("n2"))
    to = [*recipients(99), "a@[bad]", *recipients(40), "b@[bad]"]
    handed = await one.call(to)
    assert [place for place, message in enumerate(handed) if not message.is_accepted] == [99, 140]
    again = await other.call(to)
    assert [(message.id, message.reply) for message in again] == [(message.id, message.reply) for message in handed]
    assert await counted(one.store) == 139


async def test_without_room_for_keys_a_call_is_refused(open_store):
    process = Process(await open_store())
    process.room = False
    assert await refusal(process, recipients(150)) is KeyTrouble.NO_ROOM
    process.room = True
    handed = await process.call(recipients(150))
    process.room = False
    assert await process.call(recipients(150)) == handed
    assert await counted(process.store) == 150


@pytest.mark.parametrize("seed", range(4))
async def test_every_message_is_accepted_once_through_failures_deaths_and_repeats(open_store, seed):
    chance = random.Random(seed)
    stores = [await open_store(f"n{number}") for number in range(2)]
    processes = [Process(store) for store in stores]
    keys = [idempotency_key(("test",), str(number), (b"x",)) for number in range(4)]
    calls = {key: recipients(chance.choice((1, 40, 230))) for key in keys}
    answers: dict[Any, list[Handed]] = {}

    async def client(key: Any, to: list[str]) -> None:
        while key not in answers:
            process = chance.choice(processes)
            kinds = [None, None, StoreAway("away"), Ambiguous("?")]
            process.steps.before.append(chance.choice(kinds))
            process.steps.after.append(chance.choice(kinds))
            try:
                handed = await process.call(to, key)
            except (KeyRefusal, StoreAway):
                await asyncio.sleep(0.01)
                continue
            if all(message.is_accepted for message in handed):
                answers[key] = handed

    async def reaper() -> None:
        for number in range(3):
            await asyncio.sleep(0.05)
            at = chance.randrange(2)
            dead = processes[at]
            processes[at] = Process(await open_store(f"m{number}"))
            for lane in range(dead.store.lanes):
                await processes[at].store.queues.reclaim(lane, dead.store.session.id, 1000)

    async with asyncio.timeout(PATIENCE), asyncio.TaskGroup() as group:
        group.create_task(reaper())
        for key, to in calls.items():
            group.create_task(client(key, to))
    assert await counted(stores[0]) == sum(map(len, calls.values()))
    for process in processes:
        process.steps.before, process.steps.after = [], []
        for key, to in calls.items():
            assert await process.call(to, key) == answers[key]
