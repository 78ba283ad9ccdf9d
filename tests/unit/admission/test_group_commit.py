"""Group commit: batches, lanes, and what each outcome of the store is answered with."""

import asyncio
import logging
from functools import partial

import pytest

from mta.admission import group_commit as module
from mta.admission.group_commit import GroupCommit
from mta.admission.known_calls import replies_of
from mta.model.errors import BacklogFull, SessionLost, StoreAway, StoreFull, StoreUnsafe
from mta.model.idempotency import idempotency_key
from mta.model.ids import first_message_id, id_in_row, lane_of, message_text
from mta.model.mail import NewMessage, QueueKey, QueueShare, Recipient
from mta.model.outcomes import Class, Reply
from mta.ports.idempotency import CallPart, KeepMode, KeptCall, OncePart
from mta.ports.queueing import AcceptanceDecision, Ambiguous, DecidedBy, DeciderKind, EndedAtAcceptance, Rejected
from tests.support.intake import RecordingStore, no_rules


def a_message(message_id, now, content=b"x"):
    return NewMessage(
        message_id, "a@b", (Recipient("c@d", "d"),), "default", (), content, False, now, now, now + 1, 0, (), "::1"
    )


def submit(admission, done, content=b"x", lane=None):
    """The message that was made, and the answer to it if there is one already."""
    made = []

    def prepare(message_id, now):
        made.append(a_message(message_id, now, content))
        return made[0]

    refusal = admission.admit(prepare, done, lane)
    return made[0], refusal


async def answer_of(admission):
    future = asyncio.get_running_loop().create_future()
    message, refusal = submit(admission, future.set_result)
    assert refusal is None
    return message, await asyncio.wait_for(future, 30.0)


async def test_messages_of_a_few_milliseconds_are_one_batch_of_one_lane():
    store = RecordingStore()
    admission = GroupCommit(store, 0.002, no_rules)
    answers = await asyncio.gather(*(answer_of(admission) for _ in range(50)))
    assert len(store.batches) == 1
    lane, batch = store.batches[0]
    assert {lane_of(message.id) for message in batch} == {lane}
    for message, reply in answers:
        assert (reply.code, reply.text) == (250, f"queued as {message_text(message.id)}")
    assert (admission.accepted, admission.accepted_recipients, admission.waiting_bytes) == (50, 50, 0)


async def test_a_batch_waits_for_nobody_where_all_clients_wait():
    store = RecordingStore()
    clients = 3
    admission = GroupCommit(store, 60.0, no_rules, clients=lambda: clients)
    await asyncio.gather(*(answer_of(admission) for _ in range(3)))
    assert [len(batch) for _, batch in store.batches] == [3]
    store.hold.clear()
    clients = 1
    submit(admission, lambda reply: None)
    await asyncio.wait_for(store.called.wait(), 30.0)
    clients = 2
    submit(admission, lambda reply: None)  # the other's reply is on its way, and may bring another message
    assert admission.batches == 2
    store.hold.set()
    await admission.close()


async def test_no_more_batches_are_in_flight_the_more_lanes_there_are_and_messages_gather_meanwhile():
    store = RecordingStore(lanes=64)
    store.hold.clear()
    admission = GroupCommit(store, 0.0, no_rules)
    for _ in range(module.IN_FLIGHT):
        submit(admission, lambda reply: None)
        await asyncio.sleep(0.001)
    assert len(store.busy) == module.IN_FLIGHT
    for _ in range(250):
        submit(admission, lambda reply: None)
    await asyncio.sleep(0.005)
    assert len(store.busy) == module.IN_FLIGHT
    store.hold.set()
    await admission.close()
    assert sorted(len(batch) for _, batch in store.batches) == [1, 1, 1, 1, 50, 100, 100]
    assert len({lane for lane, _ in store.batches}) == 7


async def test_a_batch_that_waits_for_others_goes_as_soon_as_one_of_them_ends():
    store = RecordingStore(lanes=64)
    store.hold.clear()
    admission = GroupCommit(store, 0.0, no_rules)
    for _ in range(module.IN_FLIGHT):
        submit(admission, lambda reply: None)
        await asyncio.sleep(0.001)
    waiting = asyncio.create_task(answer_of(admission))
    await asyncio.sleep(0.005)
    store.hold.set()
    assert (await waiting)[1].code == 250
    await admission.close()


async def test_a_batch_ends_at_100_messages_and_the_next_takes_another_lane():
    store = RecordingStore()
    admission = GroupCommit(store, 60.0, no_rules)
    for _ in range(400):
        submit(admission, lambda reply: None)
    await admission.close()
    assert sorted(lane for lane, _ in store.batches) == [0, 1, 2, 3]
    assert [len(batch) for _, batch in store.batches] == [100] * 4


async def test_a_batch_ends_at_4_mib():
    store = RecordingStore()
    admission = GroupCommit(store, 60.0, no_rules)
    for _ in range(5):
        submit(admission, lambda reply: None, b"x" * (1 << 20))
    await asyncio.wait_for(store.called.wait(), 30.0)
    assert admission.batches == 1
    await admission.close()
    assert len(store.messages) == 5


async def test_one_batch_a_lane_in_flight_and_messages_gather_while_all_are_busy():
    store = RecordingStore(lanes=2)
    store.hold.clear()
    admission = GroupCommit(store, 0.0, no_rules)
    answers = []
    for _ in range(650):
        submit(admission, answers.append)
    await asyncio.sleep(0.02)
    assert admission.batches == 2
    assert not answers
    store.hold.set()
    await asyncio.wait_for(admission.close(), 30.0)
    assert len(answers) == len(store.messages) == 650
    assert {reply.code for reply in answers} == {250}


@pytest.mark.parametrize(
    ("trouble", "code", "enhanced"),
    [(StoreFull("x"), 452, "4.3.1"), (BacklogFull("x"), 452, "4.3.1"), (StoreUnsafe("x"), 451, "4.3.0"),
     (StoreAway("x"), 451, "4.3.0"), (SessionLost("x"), 451, "4.3.0")],
)  # fmt: skip
async def test_what_the_store_says_becomes_a_reply(trouble, code, enhanced):
    store = RecordingStore()
    store.trouble = trouble
    admission = GroupCommit(store, 0.0, no_rules)
    _, reply = await answer_of(admission)
    assert (reply.code, reply.enhanced) == (code, enhanced)
    assert admission.deferred == 1


@pytest.mark.parametrize("trouble", [Ambiguous("x"), RuntimeError("the handler is closed")])
async def test_k2_where_nobody_knows_whether_the_step_ran_there_is_no_answer(trouble):
    store = RecordingStore()
    store.trouble = trouble
    admission = GroupCommit(store, 0.0, no_rules)
    assert (await answer_of(admission))[1] is None
    assert admission.unanswered == 1


async def test_a_bug_is_logged_once_with_its_traceback(caplog):
    store = RecordingStore()
    store.trouble = KeyError("oops")
    admission = GroupCommit(store, 0.0, no_rules)
    with caplog.at_level(logging.ERROR):
        await answer_of(admission)
        await answer_of(admission)
    bugs = [record for record in caplog.records if record.name == module.__name__]
    assert len(bugs) == 1
    assert bugs[0].exc_info


async def test_an_unsafe_store_is_named_to_the_client_and_once_in_the_log(caplog):
    store = RecordingStore()
    store.trouble = StoreUnsafe("appendfsync is everysec")
    admission = GroupCommit(store, 0.0, no_rules)
    assert (await answer_of(admission))[1] == Reply(451, "4.3.0", "the store is unsafe: appendfsync is everysec")
    with caplog.at_level(logging.DEBUG, module.__name__):
        for _ in range(3):
            admission.refuse("the store is unsafe: appendfsync is everysec")
        assert admission.refusal() == Reply(451, "4.3.0", "the store is unsafe: appendfsync is everysec")
        for _ in range(3):
            admission.allow()
        assert admission.refusal() is None
    said = [record.getMessage() for record in caplog.records if record.name == module.__name__]
    assert said == [
        "this worker refuses mail: the store is unsafe: appendfsync is everysec",
        "this worker accepts mail again",
    ]


async def test_too_much_waiting_is_452(monkeypatch):
    monkeypatch.setattr(module, "WAITING_BYTES", 10_000)
    monkeypatch.setattr(module, "BATCH_BYTES", 10_000)
    store = RecordingStore()
    store.hold.clear()
    admission = GroupCommit(store, 0.0, no_rules)
    submit(admission, lambda reply: None, b"x" * 12_000)
    assert admission.refusal() == module.FULL
    assert submit(admission, lambda reply: None, b"x" * 12_000)[1] == module.FULL
    store.hold.set()
    await asyncio.wait_for(admission.close(), 30.0)
    assert len(store.messages) == 1


async def test_refuse_allow_close():
    admission = GroupCommit(RecordingStore(), 0.0, no_rules)
    admission.refuse("redis: appendfsync is everysec")
    assert (admission.refusal().code, admission.refusal().text) == (451, "redis: appendfsync is everysec")
    assert "appendfsync" in repr(admission)
    admission.allow()
    assert admission.refusal() is None
    await admission.close()
    assert admission.refusal().code == 421


def rejecting(generations, *numbers):
    """Answers as by tables of these generations, one after the other: messages with these places in the batch are
    refused."""
    left = list(generations)

    def decide(messages):
        refused = [messages[number] for number in numbers]
        one = Rejected(DecidedBy(DeciderKind.RULE, "r1"), Reply(554, "5.7.1", "no"), (), (b"e",))
        return AcceptanceDecision(
            left.pop(0) if len(left) > 1 else left[0], {}, {message.id: one for message in refused}
        )

    return decide


async def test_refused_messages_get_the_reply_of_the_rule_and_are_not_stored():
    store = RecordingStore()
    admission = GroupCommit(store, 0.002, rejecting([5], 1))
    answers = await asyncio.gather(*(answer_of(admission) for _ in range(3)))
    assert [reply.code for _, reply in answers] == [250, 554, 250]
    assert answers[1][1] == Reply(554, "5.7.1", "no")
    assert [message.id for message in store.messages] == [answers[n][0].id for n in (0, 2)]
    assert set(store.decisions[0].rejected) == {answers[1][0].id}
    assert (admission.accepted, admission.rejected, admission.deferred) == (2, 1, 0)
    assert admission.waiting_messages == 0


async def test_a_batch_of_refused_messages_only_is_told_to_the_store():
    store = RecordingStore()
    admission = GroupCommit(store, 0.0, rejecting([5], 0))
    assert (await answer_of(admission))[1].code == 554
    assert [batch for _, batch in store.batches] == [[]]
    store.trouble = StoreAway("x")
    assert (await answer_of(admission))[1].code == 451, "a message that the store did not note has no 250"
    assert (admission.accepted, admission.rejected, admission.deferred) == (0, 1, 1)


async def test_old_rules_are_asked_again_and_a_table_that_stays_old_decides_nothing():
    store = RecordingStore()
    store.outdated = {5, 6}
    admission = GroupCommit(store, 0.0, rejecting([5, 6, 7], 0))
    assert (await answer_of(admission))[1].code == 554
    assert [decision.generation for decision in store.decisions] == [7]
    admission = GroupCommit(store, 0.0, rejecting([5, 6], 0))
    assert (await answer_of(admission))[1].code == 250
    assert [decision.generation for decision in store.decisions] == [7, -1]


async def test_a_decision_that_fails_defers_the_batch(caplog):
    admission = GroupCommit(RecordingStore(), 0.0, lambda messages: {}[1])
    assert (await answer_of(admission))[1].code == 451


async def test_r4_a_disk_without_room_for_a_batch_is_452_and_nothing_is_stored():
    store, asked = RecordingStore(), []

    def has_room(size):
        asked.append(size)
        return False

    admission = GroupCommit(store, 0.0, no_rules, has_room=has_room)
    reply = (await answer_of(admission))[1]
    assert (reply.code, reply.enhanced) == (452, "4.3.1")
    assert not store.messages
    assert asked[0] > 0


async def test_a_message_with_a_lane_of_its_own_gets_an_id_and_a_batch_of_that_lane():
    store = RecordingStore()
    admission = GroupCommit(store, 0.002, no_rules)
    told = []
    gathered = [submit(admission, told.append)[0] for _ in range(3)]
    own = [submit(admission, told.append, lane=lane)[0] for lane in (2, 3, 2)]
    gathered += [submit(admission, told.append)[0] for _ in range(2)]
    await admission.close()
    assert [lane_of(message.id) for message in own] == [2, 3, 2]
    assert len({lane_of(message.id) for message in gathered}) == 1
    assert sorted((lane, len(batch)) for lane, batch in store.batches) == [(0, 5), (2, 2), (3, 1)]
    assert [reply.code for reply in told] == [250] * 8


async def test_a_message_of_the_lane_that_is_gathered_joins_its_batch():
    store = RecordingStore()
    admission = GroupCommit(store, 0.002, no_rules)
    first, _ = submit(admission, lambda reply: None)
    submit(admission, lambda reply: None, lane=lane_of(first.id))
    await admission.close()
    assert [len(batch) for _, batch in store.batches] == [2]
    submitted = GroupCommit(RecordingStore(lanes=1), 60.0, no_rules)
    submit(submitted, lambda reply: None, lane=0)
    submit(submitted, lambda reply: None)  # whose lane can only be that one
    await submitted.close()
    assert submitted.batches == 1


async def test_batches_of_several_lanes_each_wait_their_own_delay():
    store = RecordingStore()
    admission = GroupCommit(store, 0.01, no_rules)
    answers = [asyncio.get_running_loop().create_future() for _ in range(3)]
    for lane, answer in enumerate(answers):
        submit(admission, answer.set_result, lane=lane)
    assert [reply.code for reply in await asyncio.wait_for(asyncio.gather(*answers), 30.0)] == [250] * 3
    assert sorted(lane for lane, _ in store.batches) == [0, 1, 2]


async def test_a_message_that_cannot_be_prepared_is_answered_at_once_and_takes_no_place():
    store = RecordingStore()
    admission = GroupCommit(store, 0.0, no_rules)
    bad = Reply(550, "5.6.0", "bad")
    assert admission.admit(lambda message_id, now: bad, pytest.fail) == bad
    assert (admission.refused, admission.deferred, admission.waiting_messages) == (1, 0, 0)
    with pytest.raises(ZeroDivisionError):
        admission.admit(lambda message_id, now: 1 // 0, pytest.fail)
    assert (await answer_of(admission))[1].code == 250
    await admission.close()
    assert len(store.messages) == 1


class Delivery:
    """Has room for `room` deliveries of any queue, and remembers the reservations."""

    def __init__(self, room=100, bug=None):
        self.room, self.bug = room, bug
        self.asked, self.open, self.taken = [], [], []

    def reserve(self, queue, count):
        self.asked.append((queue, count))
        most = min(count, self.room)
        if most:
            self.open.append((queue, most))
        return most

    def take(self, queue, reserved, claimed):
        self.open.remove((queue, reserved))
        self.taken += claimed
        if self.bug is not None:
            raise self.bug


QUEUE = QueueKey("default", "d")


async def test_the_claims_of_an_accept_go_to_delivery_before_any_client_is_told():
    store, delivery, told = RecordingStore(), Delivery(room=2), []
    store.claimed = {QueueShare(QUEUE): ["one", "two"]}
    admission = GroupCommit(store, 0.0, no_rules, delivery=delivery)
    for _ in range(3):
        submit(admission, lambda reply: told.append(list(delivery.taken)))
    await admission.close()
    assert store.reserved == [{QueueShare(QUEUE): 2}]
    assert (delivery.asked, delivery.open, delivery.taken) == ([(QUEUE, 3)], [], ["one", "two"])
    assert told == [["one", "two"]] * 3


@pytest.mark.parametrize("trouble", [StoreAway("x"), Ambiguous("x"), KeyError("x")])
async def test_each_reservation_ends_whatever_the_store_says(trouble):
    store, delivery = RecordingStore(), Delivery()
    store.trouble = trouble
    await answer_of(GroupCommit(store, 0.0, no_rules, delivery=delivery))
    assert (len(delivery.asked), delivery.open, delivery.taken) == (1, [], [])


async def test_a_decision_that_is_too_old_reserves_anew():
    store, delivery = RecordingStore(), Delivery()
    store.outdated = {5}
    assert (await answer_of(GroupCommit(store, 0.0, rejecting([5, 6]), delivery=delivery)))[1].code == 250
    assert (delivery.asked, delivery.open) == ([(QUEUE, 1)] * 2, [])


async def test_a_bug_of_delivery_leaves_the_client_without_a_reply_since_the_step_has_run():
    store, delivery = RecordingStore(), Delivery(bug=KeyError("oops"))
    assert (await answer_of(GroupCommit(store, 0.0, no_rules, delivery=delivery)))[1] is None
    assert len(store.messages) == 1


def a_part(admission, count, lane=None):
    """Messages of one call, which are not admitted yet."""
    first = admission.begin_call(lane)
    return [a_message(id_in_row(first, place), 1) for place in range(count)]


async def test_the_messages_of_a_call_have_ids_in_a_row_and_are_stored_in_one_step():
    store = RecordingStore()
    admission = GroupCommit(store, 0.002, no_rules)
    for _ in range(60):
        submit(admission, lambda reply: None)
    messages = a_part(admission, 100)
    future = asyncio.get_running_loop().create_future()
    assert admission.admit_part(messages, future.set_result) is None
    replies = await asyncio.wait_for(future, 30.0)
    assert [reply.text for reply in replies] == [f"queued as {message_text(one.id)}" for one in messages]
    assert len({lane_of(one.id) for one in messages}) == 1
    numbers = [int.from_bytes(one.id, "big") >> 10 for one in messages]
    assert numbers == list(range(numbers[0], numbers[0] + 100))
    await admission.close()
    assert sorted(len(batch) for _, batch in store.batches) == [60, 100]
    assert (admission.accepted, admission.waiting_messages, admission.waiting_bytes) == (160, 0, 0)


async def test_a_part_joins_the_batch_that_is_gathered():
    store = RecordingStore()
    admission = GroupCommit(store, 60.0, no_rules)
    submit(admission, lambda reply: None)
    assert admission.admit_part(a_part(admission, 10), lambda replies: None) is None
    await admission.close()
    assert [len(batch) for _, batch in store.batches] == [11]


async def test_each_message_of_a_part_has_its_own_answer():
    no = Reply(550, "5.7.1", "no")

    def decide(messages):
        return AcceptanceDecision(
            1, {}, {messages[1].id: Rejected(DecidedBy(DeciderKind.RULE, "r"), no, ("t",), (b"e",))}
        )

    admission = GroupCommit(RecordingStore(), 0.0, decide)
    future = asyncio.get_running_loop().create_future()
    assert admission.admit_part(a_part(admission, 3, lane=2), future.set_result) is None
    assert [reply.code for reply in await asyncio.wait_for(future, 30.0)] == [250, 550, 250]
    assert (admission.accepted, admission.rejected) == (2, 1)


async def test_a_part_is_refused_as_a_whole_where_there_is_no_room():
    store = RecordingStore()
    store.hold.clear()
    admission = GroupCommit(store, 0.0, no_rules)
    submit(admission, lambda reply: None, content=b"x" * (module.WAITING_BYTES + module.BATCH_BYTES))
    assert admission.admit_part(a_part(admission, 3), pytest.fail) == module.FULL
    assert admission.deferred == 3
    store.hold.set()
    await admission.close()
    assert admission.admit_part(a_part(admission, 3), pytest.fail).code == 421


def a_call(text="k", content=b"x"):
    return CallPart(idempotency_key(("test",), text, (content,)), FIRST, 0, 1, 1, 1000)


def kept(content=b"x"):
    return KeptCall(idempotency_key((), "", (content,)).content, FIRST, 1, 1, "", False, b"", b"")


FIRST = first_message_id(1, 1)


async def test_parts_whose_calls_are_known_are_answered_and_the_rest_of_the_batch_is_stored():
    store = RecordingStore()
    admission = GroupCommit(store, 60.0, no_rules)
    calls = [a_call(text) for text in "abcd"]
    store.known = {calls[0].key.name: kept(), calls[2].key.name: None}
    answers = {}
    for place, call in enumerate(calls):
        submit(admission, partial(answers.__setitem__, f"before {place}"), lane=1)
        once = OncePart(call, partial(answers.__setitem__, f"known {place}"))
        done = partial(answers.__setitem__, f"done {place}")
        assert admission.admit_part(a_part(admission, place + 1, lane=1), done, once) is None
    await admission.close()
    assert {name for name in answers if not name.startswith("before")} == {"known 0", "done 1", "known 2", "done 3"}
    assert (answers["known 0"], answers["known 2"]) == (kept(), None)
    assert [reply.code for reply in answers["done 3"]] == [250] * 4
    assert {answers[f"before {place}"].code for place in range(4)} == {250}
    assert [len(batch) for _, batch in store.batches] == [4 + 2 + 4]
    assert [call.key for call in store.calls] == [calls[1].key, calls[3].key]
    assert (admission.accepted, admission.accepted_recipients) == (10, 10)
    assert (admission.waiting_messages, admission.waiting_bytes) == (0, 0)


async def test_a_batch_of_known_calls_alone_stores_nothing():
    store = RecordingStore()
    admission = GroupCommit(store, 0.0, no_rules)
    call = a_call()
    store.known = {call.key.name: kept()}
    future = asyncio.get_running_loop().create_future()
    assert admission.admit_part(a_part(admission, 1), pytest.fail, OncePart(call, future.set_result)) is None
    assert await asyncio.wait_for(future, 30.0) == kept()
    await admission.close()
    assert (store.batches, admission.accepted, admission.deferred, admission.unanswered) == ([], 0, 0, 0)


async def test_of_a_part_the_answers_that_are_not_plain_are_kept():
    no = Reply(550, "5.7.1", "no")

    def decide(messages):
        refused = {one.id: Rejected(DecidedBy(DeciderKind.RULE, "r"), no, ("t",), (b"e",)) for one in messages[1:2]}
        filtered = EndedAtAcceptance(1, Class.FILTERED, DecidedBy(DeciderKind.RULE, "r"), b"e", b"f", 0)
        return AcceptanceDecision(1, {messages[2].id: [filtered]}, refused)

    store = RecordingStore()
    admission = GroupCommit(store, 0.0, decide)
    messages = a_part(admission, 4, lane=1)
    call = a_call()._replace(first=messages[0].id, messages=4, total=4)
    future = asyncio.get_running_loop().create_future()
    assert admission.admit_part(messages, future.set_result, OncePart(call, pytest.fail)) is None
    replies = await asyncio.wait_for(future, 30.0)
    [part] = store.calls
    assert part.keep is KeepMode.KEEP
    again = KeptCall(b"", messages[0].id, 4, 4, "", False, b"", part.differences)
    assert replies_of(again) == replies
    assert [reply.code for reply in replies] == [250, 550, 250, 250]
    assert replies[2].ended == ((1, Class.FILTERED),)


async def test_of_a_call_that_a_rule_refuses_no_key_is_kept():
    def decide(messages):
        no = Reply(550, "5.7.1", "no")
        return AcceptanceDecision(1, {}, {messages[0].id: Rejected(DecidedBy(DeciderKind.RULE, "r"), no, (), (b"e",))})

    store = RecordingStore()
    admission = GroupCommit(store, 0.0, decide)
    [message] = a_part(admission, 1, lane=1)
    call = a_call()._replace(first=message.id)
    future = asyncio.get_running_loop().create_future()
    assert admission.admit_part([message], future.set_result, OncePart(call, pytest.fail)) is None
    assert [reply.code for reply in await asyncio.wait_for(future, 30.0)] == [550]
    assert [part.keep for part in store.calls] == [KeepMode.LOOK]
