"""The answers of the process that takes mail, by what becomes of the messages of a call."""

import asyncio
import json
import pathlib
from collections.abc import AsyncIterator, Sequence
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from control_api.access.actor import ACTOR
from control_api.http.middleware import answer_problems
from control_api.injection import limits
from control_api.injection.aids import CallAids
from control_api.injection.app import forwarded_app
from control_api.injection.door import Door
from control_api.injection.forward import FORWARDER, Forwarder, forward
from control_api.injection.limits import CallLimits, CallRoom
from control_api.injection.plan import Planner
from control_api.injection.ready_mime import ReadyMime
from mta.model.actor import Actor, ActorKind
from mta.model.ids import first_message_id, id_in_row, message_text
from mta.model.injection import Injection
from mta.model.outcomes import Class, Reply
from mta.model.settings import NodeSettings, Settings, SmtpSettings
from mta.policy.tenant_terms import SUSPENDED
from mta.ports.admission import Draft, Handed, Requester, SomeEnded
from tests.support.engagement import TrackingKeys
from tests.support.scheduling import until
from tests.support.templates import Templates

FIRST = first_message_id(3, 1_900_000_000_000)
ACTOR_OF_CALL = Actor(ActorKind.TOKEN, "crm", "192.0.2.9", "t1")
BODY: dict[str, Any] = {"from": "shop@example.com", "to": "ann@example.net", "subject": "s", "text": "t"}
SEPARATE = BODY | {"to": ["a@x.test", "b@x.test", "c@x.test"], "separate": True}


class Calls:
    """Answers each message with the next of `replies`, or accepts it."""

    def __init__(self) -> None:
        self.replies: list[Reply | None] = []
        self.refused: Reply | None = None
        self.submitted: list[Draft] = []
        self.begun: list[tuple[Requester, str, Injection]] = []
        self.hold = asyncio.Event()
        self.hold.set()

    def refusal(self) -> Reply | None:
        return self.refused

    def begin(self, requester: Requester, sender: str, asked: Injection) -> "Calls":
        self.begun.append((requester, sender, asked))
        return self

    async def submit(self, drafts: Sequence[Draft]) -> list[Handed]:
        found = []
        await self.hold.wait()
        for draft in drafts:
            reply = self.replies.pop(0) if self.replies else Reply(250, "2.0.0", "queued")
            found.append(Handed(id_in_row(FIRST, len(self.submitted)), reply))
            self.submitted.append(draft)
        return found


@pytest.fixture
def calls() -> Calls:
    return Calls()


@pytest.fixture
async def socket(calls: Calls, tmp_path: pathlib.Path) -> AsyncIterator[str]:
    """The path of a socket where the process that takes mail answers."""
    settings = Settings(node=NodeSettings(name="n1"), smtp=SmtpSettings(max_message_size=2048))
    bounds = CallLimits.of(settings)
    planner: Any = Planner(bounds, ReadyMime(settings.smtp))
    aids = CallAids(Templates(), TrackingKeys(), "")
    door = Door(calls, planner, aids, bounds, CallRoom(), str(tmp_path))
    runner = web.AppRunner(forwarded_app(door))
    await runner.setup()
    path = str(tmp_path / "inject.sock")
    await web.UnixSite(runner, path).start()
    yield path
    calls.hold.set()
    await runner.cleanup()


@pytest.fixture
async def api(socket: str) -> AsyncIterator[TestClient]:
    """The API, which passes calls on."""

    @web.middleware
    async def known(request: web.Request, handler: Any) -> web.StreamResponse:
        request[ACTOR] = ACTOR_OF_CALL
        return await handler(request)

    app = web.Application(middlewares=[answer_problems, known])
    app[FORWARDER] = forwarder = Forwarder(socket)
    app.on_cleanup.append(forwarder.close)
    app.add_routes([web.post("/v1/messages", forward)])
    async with TestClient(TestServer(app)) as client:
        yield client


async def ask(api: TestClient, body: Any, **more: Any) -> tuple[int, Any, Any]:
    answer = await api.post("/v1/messages", json=body, **more)
    return answer.status, await answer.json(), answer.headers


async def test_an_accepted_call_names_each_delivery_and_the_client_is_that_of_the_api(
    api: TestClient, calls: Calls
) -> None:
    status, body, headers = await ask(api, SEPARATE)
    ids = [message_text(id_in_row(FIRST, place)) for place in range(3)]
    assert status == 202
    assert body == {
        "id": ids[0],
        "recipients": [
            {"id": f"{one}.1", "message_id": one, "recipient": address}
            for one, address in zip(ids, SEPARATE["to"], strict=True)
        ],
    }
    assert headers["Location"] == f"/v1/messages/{ids[0]}"
    (requester, sender, _) = calls.begun[0]
    assert (requester.address, requester.protocol, sender) == ("192.0.2.9", "HTTP", "shop@example.com")


async def test_a_call_is_accepted_while_one_of_its_messages_is(api: TestClient, calls: Calls) -> None:
    calls.replies = [Reply(452, "4.3.1", "full"), SomeEnded(250, "2.0.0", "", ((1, Class.FILTERED),)), None]
    status, body, _ = await ask(api, SEPARATE)
    assert status == 202
    refused, filtered, unknown = body["recipients"]
    assert body["id"] == filtered["message_id"]
    assert refused == {"recipient": "a@x.test", "error": {"code": 452, "enhanced": "4.3.1", "text": "full"}}
    assert filtered["status"] == "FILTERED"
    assert (unknown["error"]["code"], "not known" in unknown["error"]["text"]) == (451, True)


@pytest.mark.parametrize(
    ("reply", "status", "again"),
    [
        (Reply(452, "4.3.1", "full"), 503, True),
        (Reply(451, "4.3.0", "trouble"), 503, True),
        (Reply(421, "4.3.2", "shutting down"), 503, True),
        (Reply(452, "4.7.28", "the quota is used up"), 429, True),
        (SUSPENDED, 403, False),
        (Reply(554, "5.7.1", "withdrawn"), 422, False),
    ],
)
async def test_a_call_without_an_accepted_message_is_refused_as_a_whole(
    api: TestClient, calls: Calls, reply: Reply, status: int, again: bool
) -> None:
    calls.replies = [reply] * 3
    found, body, headers = await ask(api, SEPARATE)
    assert (found, body["error"]["message"], "Retry-After" in headers) == (status, reply.text, again)


async def test_nothing_is_read_while_no_message_may_come(api: TestClient, calls: Calls) -> None:
    calls.refused = Reply(451, "4.3.0", "the store is away")
    status, body, headers = await ask(api, BODY)
    assert (status, body["error"]["message"], headers["Retry-After"]) == (503, "the store is away", "1")
    assert calls.begun == []


async def test_no_answer_is_given_where_nothing_is_known(api: TestClient, calls: Calls) -> None:
    calls.replies = [None]
    with pytest.raises(aiohttp.ClientConnectionError):
        await ask(api, BODY)
    calls.replies = [Reply(452, "4.3.1", "full"), None, None]
    with pytest.raises(aiohttp.ClientConnectionError):
        await ask(api, SEPARATE)


async def test_a_client_of_a_process_that_ends_gets_no_answer(
    api: TestClient, calls: Calls, tmp_path: pathlib.Path
) -> None:
    async def hang_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.close()

    (tmp_path / "inject.sock").unlink()
    async with await asyncio.start_unix_server(hang_up, tmp_path / "inject.sock"):
        with pytest.raises(aiohttp.ClientConnectionError):
            await ask(api, BODY)


async def test_more_calls_than_there_is_room_for_are_asked_to_come_again(
    api: TestClient, calls: Calls, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "_MOST_CALLS", 2)
    calls.hold.clear()
    first = [asyncio.create_task(ask(api, BODY)) for _ in range(2)]
    await until(lambda: len(calls.begun) == 2)
    status, body, headers = await ask(api, BODY)
    assert (status, headers["Retry-After"]) == (503, "1")
    assert "too many calls" in body["error"]["message"]
    calls.hold.set()
    assert [status for status, _, _ in await asyncio.gather(*first)] == [202, 202]
    assert (await ask(api, BODY))[0] == 202


async def test_two_keys_of_a_call_are_refused(api: TestClient) -> None:
    status, body, _ = await ask(api, BODY, headers=[("Idempotency-Key", "a"), ("Idempotency-Key", "b")])
    assert (status, body["error"]["field"]) == (400, "Idempotency-Key")


async def test_bodies_are_bounded_and_of_one_type(api: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    status, body, _ = await ask(api, BODY | {"text": "x" * 3000})
    assert (status, body["error"]["field"]) == (413, "body")
    answer = await api.post("/v1/messages", data=b"x" * 2_000_000, headers={"Content-Type": "application/json"})
    assert answer.status == 413
    answer = await api.post("/v1/messages", data=b"a=b", headers={"Content-Type": "application/x-www-form-urlencoded"})
    assert answer.status == 415
    for raw in (b"{", b"[]", b'{"to": 1, "to": 2}', b"\xff"):
        answer = await api.post("/v1/messages", data=raw, headers={"Content-Type": "application/json"})
        assert answer.status == 400, raw
    monkeypatch.setattr(limits, "_MOST_BYTES", 1)
    assert (await ask(api, BODY))[0] == 202, "one body of any size is taken"


def as_lines(*lines: Any) -> dict[str, Any]:
    raw = b"".join(line if isinstance(line, bytes) else json.dumps(line).encode() + b"\n" for line in lines)
    return {"data": raw, "headers": {"Content-Type": "application/x-ndjson"}}


HEAD = {name: value for name, value in BODY.items() if name != "to"}


async def test_each_line_of_a_stream_is_answered_and_what_is_no_recipient_too(api: TestClient, calls: Calls) -> None:
    lines = ["a@x.test", b"{\n", {"recipient": "b@x.test", "status": "SENT", "tags": ["t"]}, {"recipient": 7}, b"\n"]
    answer = await api.post("/v1/messages", **as_lines(HEAD, *lines, {"recipient": "c@x.test", "colour": "blue"}))
    assert (answer.status, answer.content_type) == (202, "application/x-ndjson")
    found = [json.loads(line) for line in (await answer.text()).splitlines()]
    assert [one.get("error", {}).get("text", "")[:8] for one in found] == ["", "line 3: ", "", "line 5.r", "line 7.c"]
    assert [draft.recipients for draft in calls.submitted] == [("a@x.test",), ("b@x.test",)]
    assert len(calls.begun) == 1


async def test_a_stream_whose_first_part_is_refused_goes_on(api: TestClient, calls: Calls) -> None:
    calls.replies = [Reply(452, "4.3.1", "full")] * 100
    answer = await api.post("/v1/messages", **as_lines(HEAD, *[f"u{n}@x.test" for n in range(150)]))
    found = [json.loads(line) for line in (await answer.text()).splitlines()]
    assert answer.status == 202
    assert ["error" in one for one in found] == [True] * 100 + [False] * 50
    assert answer.headers["Location"].endswith(found[100]["message_id"])
    calls.replies = [Reply(452, "4.3.1", "full")] * 2
    answer = await api.post("/v1/messages", **as_lines(HEAD, "a@x.test", "b@x.test"))
    assert (answer.status, (await answer.json())["error"]["message"]) == (503, "full")


async def test_a_stream_that_breaks_off_tells_what_was_accepted(api: TestClient, calls: Calls) -> None:
    answer = await api.post("/v1/messages", **as_lines(HEAD, "a@x.test", b'"' + b"x" * 100_000 + b'"\n', "b@x.test"))
    found = [json.loads(line) for line in (await answer.text()).splitlines()]
    assert (answer.status, len(calls.submitted)) == (202, 1)
    assert found[0]["recipient"] == "a@x.test"
    assert "line 3 is longer" in found[1]["error"]["text"]
