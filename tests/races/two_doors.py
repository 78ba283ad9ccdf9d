"""The source of a race whose mail comes in by both doors: some messages over SMTP, some over HTTP."""

import asyncio
import random
from collections.abc import Callable, Iterable
from typing import Any

import aiohttp

from tests.races.plan import Mail
from tests.races.source import Source, Told, content
from tests.support.node import TOKEN

_PAUSE = 0.05  # seconds before a message that was refused for now is tried again
_AGAIN = 0.2  # of the calls are made again
_LATER = 3.0  # seconds, at most
_FIELDS = {"pool": "pool", "tenant": "tenant", "delayed": "send_at", "priority": "priority"}


class TwoDoors(Source):
    """Every second message that HTTP can say goes over HTTP, between those of the SMTP session."""

    def __init__(
        self,
        servers: Iterable[tuple[str, int]],
        mails: Iterable[Mail],
        http: aiohttp.ClientSession,
        sessions: int = 4,
        heard: Callable[[Told], None] = lambda _: None,
    ) -> None:
        super().__init__(servers, mails, sessions, heard)
        self._http = http
        self._repeats = asyncio.TaskGroup()
        self._rng = random.Random(0)
        self._turn = 0
        self.over_http = 0

    async def run(self) -> None:
        async with self._repeats:
            await super().run()

    async def _one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, mail: Mail) -> None:
        body = as_body(mail)
        self._turn += 1
        if body is None or self._turn % 2:
            await super()._one(reader, writer, mail)
            return
        message = await self._call(mail, body)
        self.over_http += 1
        self._tell(mail, message)
        if self._rng.random() < _AGAIN:
            self._repeats.create_task(self._repeat(mail, body, message))

    async def _call(self, mail: Mail, body: dict[str, Any]) -> str:
        """The id of its message; the first recipient is the idempotency key."""
        while True:
            key = {"Idempotency-Key": mail.recipients[0]}
            async with self._http.post("/v1/messages", json=body, headers=key) as answer:
                found = await answer.json()
            if answer.status == 202:
                assert [one["recipient"] for one in found["recipients"]] == list(mail.recipients), found
                return str(found["id"])
            assert answer.status in (429, 503), found
            self.refused += 1
            await asyncio.sleep(_PAUSE)

    async def _repeat(self, mail: Mail, body: dict[str, Any], message: str) -> None:
        """As a client that had no answer: also of mail that was canceled meanwhile."""
        await asyncio.sleep(self._rng.uniform(0.0, _LATER))
        again = await self._call(mail, body)
        assert again == message, f"the repeat of {message} was answered with {again}"


def as_body(mail: Mail) -> dict[str, Any] | None:
    """The call that says the same as the injection headers; None: no call can."""
    body: dict[str, Any] = {"envelope_from": "from@example.org", "to": list(mail.recipients), "tags": []}
    for header in mail.headers:
        name, _, value = header.removeprefix("X-MQ-").partition(": ")
        if name == "Tag":
            body["tags"].append(value)
        elif (field := _FIELDS.get(name.lower())) is not None:
            body[field] = int(value) if field == "priority" else value
        else:
            return None
    return body | {"mime": content(mail._replace(headers=())).decode().removesuffix(".\r\n")}


def headers() -> dict[str, str]:
    return {"Authorization": f"Bearer {TOKEN}"}
