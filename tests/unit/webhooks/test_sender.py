"""The sender of one endpoint: retries, the point at which it is failing, and the point at which it is given up."""

import asyncio
import json
from collections.abc import AsyncIterator
from itertools import chain, repeat

import pytest

from mta.model.errors import HistoryAway
from mta.model.webhooks import Replay
from mta.policy.webhook_retry import MOST_FAILURES, RETRIES
from mta.ports.history import Cursor
from mta.ports.webhooks import KeptState, PostAnswer
from mta.webhooks.sender import WINDOW, Sender
from tests.unit.webhooks.rig import AT, Rig, delivered, endpoint, started

NO = PostAnswer(500, "HTTP 500")
YES = PostAnswer(200)
HOUR = 3600.0


@pytest.fixture
async def rig() -> AsyncIterator[Rig]:
    rig = await started()
    yield rig
    await rig.sender.stop(0.0)


async def test_a_failure_is_tried_again_by_the_schedule(rig: Rig) -> None:
    rig.answers(NO)
    await rig.add(delivered(1))
    for number, pause in enumerate(RETRIES[:4], 1):
        assert rig.tries == number
        await rig.pass_time(pause - 0.1)
        assert rig.tries == number
        await rig.pass_time(0.1)
    assert rig.tries == 5
    assert len({headers["webhook-id"] for _, _, headers in rig.posts.sent}) == 1
    assert len({body for _, body, _ in rig.posts.sent}) == 1


async def test_after_twenty_failures_in_a_row_the_position_stands_still_and_one_request_probes(rig: Rig) -> None:
    rig.answers(NO)
    await rig.add(*(delivered(number) for number in range(MOST_FAILURES)))
    assert rig.tries == MOST_FAILURES
    assert rig.sender.is_failing
    stands = rig.sender.live.position()
    await rig.add(delivered(100), delivered(101))
    assert rig.sender.streams_with_room() == []
    assert rig.sender.live.position() == stands
    await rig.pass_time(RETRIES[0])
    assert rig.tries == MOST_FAILURES + 1  # one, though all are due
    await rig.pass_time(RETRIES[1])
    assert rig.tries == MOST_FAILURES + 2
    rig.answers(YES)
    await rig.pass_time(RETRIES[2])
    assert not rig.sender.is_failing
    await rig.add()
    assert rig.tries == MOST_FAILURES + 2 + MOST_FAILURES + 2  # all at once, and those that came meanwhile
    assert rig.sender.live.is_empty


async def test_a_window_of_requests_that_fail_at_once_puts_the_next_one_off_as_one_failure_does(rig: Rig) -> None:
    rig.answers(NO)
    await rig.add(*(delivered(number) for number in range(200)))
    assert rig.sender.is_failing
    tries = rig.tries
    assert tries > 2 * MOST_FAILURES
    assert rig.sender.figures("n1", "", 0, 0).failures == tries
    for pause in RETRIES[:3]:
        await rig.pass_time(pause - 0.1)
        assert rig.tries == tries
        await rig.pass_time(0.1)
        tries += 1
        assert rig.tries == tries
    rig.answers(YES)
    await rig.pass_time(RETRIES[3])
    for _ in range(20):
        await rig.settle()
    assert rig.sender.live.is_empty


async def test_events_that_are_refused_for_ever_do_not_keep_the_others_away(rig: Rig) -> None:
    bad = [delivered(number) for number in range(3)]
    names = [event.recipient.encode() for event in bad]
    rig.posts.answer = lambda url: NO if any(name in rig.posts.sent[-1][1] for name in names) else YES
    await rig.add(*bad)
    for pause in RETRIES[: MOST_FAILURES // len(bad)]:
        await rig.pass_time(pause)
    assert rig.sender.is_failing
    await rig.add(delivered(100), delivered(101))
    await rig.pass_time(RETRIES[2])
    assert not rig.sender.is_failing
    assert rig.sender.live.unanswered == len(bad)


async def test_a_receiver_that_answers_one_request_and_refuses_the_rush_behind_it_loses_nothing(rig: Rig) -> None:
    rig.answers(NO)
    await rig.add(*(delivered(number) for number in range(60)))
    for _ in range(3 * len(RETRIES)):
        answers = chain((YES,), repeat(NO))
        rig.answers(lambda url, answers=answers: next(answers))  # type: ignore[misc]
        await rig.pass_time(RETRIES[0])
    figures = rig.sender.figures("n1", "", 0, 0)
    assert (figures.backlog, figures.given_up) == (60 - 3 * len(RETRIES), 0)
    found = rig.sender.changes()
    assert found is not None
    assert max(request.failures for _, request in found[0].put) < len(RETRIES)
    rig.answers(YES)
    await rig.pass_time(RETRIES[0])
    assert rig.sender.live.is_empty


async def test_an_endpoint_without_a_success_for_28_hours_is_disabled_and_says_so(
    rig: Rig, caplog: pytest.LogCaptureFixture
) -> None:
    rig.answers(NO)
    await rig.add(delivered(1))
    passed = 0.0
    while not rig.disabled and passed < 40 * HOUR:
        await rig.pass_time(HOUR)
        passed += HOUR
    ((name, reason),) = rig.disabled
    assert name == "wh_1"
    assert "no success since" in reason
    assert 28 * HOUR <= passed <= 37 * HOUR
    assert "is disabled" in caplog.text
    tries = rig.tries
    await rig.pass_time(24 * HOUR)
    assert rig.tries == tries
    rig.answers(YES)
    rig.sender.follow(endpoint(disabled_at=AT))
    rig.sender.follow(endpoint())  # enabled
    await rig.settle()
    assert rig.tries == tries + 1
    assert rig.sender.live.is_empty


async def test_an_endpoint_that_is_gone_is_disabled_at_once(rig: Rig) -> None:
    rig.answers(PostAnswer(410, "HTTP 410"))
    await rig.add(delivered(1), delivered(2))
    assert rig.disabled
    tries = rig.tries
    await rig.pass_time(10 * HOUR)
    assert rig.tries == tries
    assert rig.sender.live.unanswered == 2


async def test_retry_after_of_a_busy_endpoint_holds_all_requests(rig: Rig) -> None:
    rig.answers(PostAnswer(503, "HTTP 503", 60.0))
    await rig.add(delivered(1))
    rig.answers(YES)
    await rig.add(delivered(2))
    assert rig.tries == 1
    await rig.pass_time(59.0)
    assert rig.tries == 1
    await rig.pass_time(1.0)
    assert rig.tries == 3


async def test_an_event_that_alone_is_refused_is_given_up_after_its_last_retry(rig: Rig) -> None:
    first = delivered(1)
    bad = first.recipient.encode()
    rig.posts.answer = lambda url: NO if bad in rig.posts.sent[-1][1] else YES
    await rig.add(first)
    for number, pause in enumerate(RETRIES, 2):
        await rig.add(delivered(number))  # another one succeeds
        await rig.pass_time(pause)
    figures = rig.sender.figures("n1", "", 0, 0)
    assert (figures.given_up, figures.backlog) == (1, 0)
    assert not rig.disabled


async def test_at_most_a_window_of_requests_is_under_way(rig: Rig) -> None:
    gate, most = asyncio.Event(), 0

    class Slow:
        under_way = 0

        async def post(self, url: str, body: bytes, headers: object) -> PostAnswer:
            nonlocal most
            self.under_way += 1
            most = max(most, self.under_way)
            await gate.wait()
            self.under_way -= 1
            return YES

    rig.sender._parts.poster = Slow()  # type: ignore[assignment]
    await rig.add(*(delivered(number) for number in range(200)))
    assert most == WINDOW
    gate.set()
    for _ in range(20):
        await rig.settle()
    assert rig.sender.live.is_empty


async def test_without_its_lease_it_sends_nothing(rig: Rig) -> None:
    rig.sender.lease_until = 0.0
    await rig.add(delivered(1))
    assert rig.tries == 0
    rig.sender.lease_until = float("inf")
    await rig.pass_time(1.0)
    assert rig.tries == 1


async def test_events_that_history_has_dropped_are_counted(rig: Rig) -> None:
    rig.answers(NO)
    await rig.add(delivered(1))
    rig.history.kept.clear()
    rig.answers(YES)
    await rig.pass_time(RETRIES[0])
    assert rig.tries == 1
    figures = rig.sender.figures("n1", "", 0, 0)
    assert (figures.lost, figures.backlog) == (1, 0)


async def test_a_history_that_is_away_is_waited_for(rig: Rig) -> None:
    rig.answers(NO)
    await rig.add(delivered(1))
    rig.answers(YES)

    def away() -> None:
        raise HistoryAway("down")

    rig.history.reach = away
    await rig.pass_time(RETRIES[0])
    assert rig.tries == 1
    rig.history.reach = lambda: None
    await rig.pass_time(1.0)
    assert rig.tries == 2
    assert rig.sender.live.is_empty


async def test_a_secret_that_does_not_open_is_a_failure_that_names_it(rig: Rig) -> None:
    rig.seal.broken.add("webhook:wh_1")
    await rig.add(delivered(1))
    figures = rig.sender.figures("n1", "", 0, 0)
    assert (rig.tries, figures.failures) == (0, 1)
    assert "does not open" in figures.last_failure_text


async def test_a_process_that_goes_on_sends_what_was_not_answered(rig: Rig) -> None:
    rig.answers(NO)
    await rig.add(delivered(1), delivered(2))
    found = rig.sender.changes()
    assert found is not None
    change, written = found
    written(True)
    assert rig.sender.changes() is None
    streams = {of: stream for of, stream in change.streams.items() if stream is not None}
    requests = {False: [request for _, request in change.put], True: []}
    await rig.sender.stop(0.0)
    rig.answers(YES)
    rig.sender = Sender(endpoint(), 2, KeptState(streams, requests, change.figures), rig.sender._parts)
    rig.sender.lease_until = float("inf")
    rig.sender.start()
    await rig.pass_time(RETRIES[0])
    bodies = [json.loads(body)["data"]["recipient"] for _, body, _ in rig.posts.sent]
    assert sorted(bodies[-2:]) == ["u1@a.test", "u2@a.test"]
    assert rig.sender.live.is_empty


async def test_a_replay_sends_only_events_of_its_time_and_ends(rig: Rig) -> None:
    events = [delivered(number) for number in range(6)]
    await rig.add(*events)
    assert rig.tries == 6
    order = Replay(1, AT + 2, AT + 4)
    rig.sender.follow(endpoint(replay=order))
    rig.sender.live.number = 1
    rig.sender.begin_replay(order, Cursor(1, 0), Cursor(1, 6))
    await rig.add()
    sent = [json.loads(body)["data"]["recipient"] for _, body, _ in rig.posts.sent[6:]]
    assert sent == ["u2@a.test", "u3@a.test"]
    assert rig.sender.replay is None
    found = rig.sender.changes()
    assert found is not None
    assert found[0].streams[True] is None


async def test_a_batch_has_the_id_of_its_events() -> None:
    rig = await started(batch=10)
    rig.answers(NO)
    await rig.add(delivered(1), delivered(2))
    rig.answers(YES)
    await rig.pass_time(RETRIES[0])
    (_, body, headers), (_, again, headers_again) = rig.posts.sent
    assert headers["webhook-id"] == headers_again["webhook-id"]
    assert headers["webhook-id"].startswith("batch_")
    assert len(json.loads(body)["data"]) == 2
    assert json.loads(body)["data"] == json.loads(again)["data"]
    await rig.sender.stop(0.0)
