"""The lines of the session that failed attempts carry, and delivered mail does not."""

import pytest

from mta.model.outcomes import Outcome, Reply
from mta.smtp.spoken import MOST_CHARACTERS, bounded, said, said_in_lines
from tests.support.egress_rig import Rig
from tests.support.sink import DROP, Sink

ALL = ("PIPELINING", "SIZE 10485760", "8BITMIME", "ENHANCEDSTATUSCODES")


@pytest.fixture(params=[ALL, ALL[1:]], ids=["pipelined", "one by one"])
async def sink(request: pytest.FixtureRequest):
    async with Sink(extensions=request.param) as sink:
        yield sink


async def outcomes_of(sink: Sink, *recipients: str) -> dict[str, Outcome]:
    async with Rig(route=f"{sink.host}:{sink.port}") as rig:
        rig.send(*recipients, content=b"Subject: secret\r\n\r\nsecret\r\n")
        await rig.settle.until(len(recipients))
        return rig.settle.by_recipient()


async def test_a_refused_recipient_has_the_session_without_the_other_recipients(sink: Sink) -> None:
    sink.recipients = {"bad@example.com": "550 5.1.1 unknown"}
    found = await outcomes_of(sink, "good@example.com", "bad@example.com")
    assert found["good@example.com"].dialogue == ()
    lines = list(found["bad@example.com"].dialogue)
    assert lines[0].startswith("S: 220 ")
    assert lines[1].startswith("C: EHLO ")
    assert "S: 250 ENHANCEDSTATUSCODES" in lines
    at = lines.index("C: RCPT TO:<bad@example.com>")
    assert lines[at - 2].startswith("C: MAIL FROM:<from@sender.test> SIZE=")
    assert lines[at + 1] == "S: 550 5.1.1 unknown"
    assert not any("good@" in line or "secret" in line for line in lines)


async def test_a_refusal_of_the_content_shows_that_it_was_sent(sink: Sink) -> None:
    sink.script["."] = lambda number, argument: "554 5.7.1 spam"
    found = await outcomes_of(sink, "a@example.com")
    assert found["a@example.com"].dialogue[-2:] == ("C: (content and final dot)", "S: 554 5.7.1 spam")


async def test_a_host_that_goes_away_leaves_the_lines_until_then(sink: Sink) -> None:
    sink.script["MAIL"] = lambda number, argument: DROP
    found = await outcomes_of(sink, "a@example.com")
    lines = found["a@example.com"].dialogue
    assert any(line.startswith("C: MAIL FROM:<from@sender.test>") for line in lines)
    assert not any(line.startswith("C: (") for line in lines)


async def test_a_greeting_that_refuses_is_all_that_was_said() -> None:
    async with Sink(extensions=ALL) as sink:
        sink.script["GREETING"] = lambda number, argument: "554 5.7.1 not you"
        found = await outcomes_of(sink, "a@example.com")
    assert found["a@example.com"].dialogue == ("S: 554 5.7.1 not you",)


def test_lines_are_bounded_and_the_end_is_kept() -> None:
    lines = [said(Reply(250, "2.0.0", "x" * 2000)) for _ in range(100)]
    kept = bounded([*lines, "S: 550 last"])
    assert kept[-1] == "S: 550 last"
    assert sum(map(len, kept)) <= MOST_CHARACTERS
    assert max(map(len, kept)) <= 512
    assert said_in_lines(250, [b"a", b"b\xff"]) == ["S: 250-a", "S: 250 b\\xff"]
