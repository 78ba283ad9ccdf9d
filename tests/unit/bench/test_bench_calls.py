"""The source of mail over HTTP: bodies that name each recipient once, and answers counted by delivery."""

import asyncio
import json
from typing import Any

import pytest

from bench.calls import SHAPES, Bodies, Calls, Client


@pytest.mark.parametrize("shape", SHAPES)
def test_each_recipient_is_in_one_call_and_a_body_is_as_large_as_it_should_be(shape: str) -> None:
    bodies = Bodies(shape, 4096, 10, 3)
    calls = [json.loads(bodies.body(number)) for number in range(4)]
    to = [one if isinstance(one, str) else one["email"] for call in calls for one in call["to"]]
    assert to == [f"u{number:08d}@d{number % 3}.bench.test" for number in range(40)]
    assert all(call["tags"][0] == "campaign_a" for call in calls)
    text = calls[0].get("mime") or calls[0]["text"]
    assert 3600 < len(text) <= 4200


class Transport:
    """A connection whose other side accepts the first call and refuses the second."""

    def __init__(self, client: Client) -> None:
        self.client = client
        self.written: list[bytes] = []

    def write(self, data: bytes) -> None:
        self.written.append(data)

    def close(self) -> None:
        self.client.connection_lost(None)


def _answer(status: bytes, body: bytes) -> bytes:
    return b"HTTP/1.1 %b\r\nContent-Length: %d\r\n\r\n%b" % (status, len(body), body)


async def test_accepted_deliveries_and_refusals_are_counted_however_the_answers_are_cut() -> None:
    calls = Calls(2, Bodies("same", 512, 2, 1), 1, "t")
    client: Any = Client(calls)
    transport = Transport(client)
    client.connection_made(transport)
    taken = _answer(b"202 Accepted", b'{"id":"A","recipients":[{"id":"A.1","message_id":"A"},{"id":"A.2"}]}')
    for at in range(len(taken)):
        client.data_received(taken[at : at + 1])
    client.data_received(_answer(b"503 Service Unavailable", b"full"))
    await asyncio.wait_for(calls.done.wait(), 30.0)
    assert len(transport.written) == 2
    result = calls.result()
    assert (result["calls"], result["accepted"], result["refused"]) == (2, 2, {"full": 1})
