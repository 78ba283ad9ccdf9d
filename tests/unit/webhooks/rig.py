"""A sender of one endpoint whose time a test moves, and whose receiver it plays."""

import asyncio
from collections.abc import Callable
from typing import Any

from mta.model.events import Event, EventType
from mta.model.ids import delivery_id, new_message_id
from mta.model.webhooks import Endpoint, WebhookEvent
from mta.ports.history import Cursor
from mta.ports.webhooks import KeptFigures, KeptState, KeptStream, PostAnswer
from mta.webhooks.parts import Parts
from mta.webhooks.reader import EventReader
from mta.webhooks.sender import Sender
from tests.support.dkim_keys import OpenSeal
from tests.support.memory_history import MemoryHistory
from tests.support.webhooks import Posts

AT = 1_700_000_000_000  # Unix ms


def delivered(number: int, **more: Any) -> Event:
    """The delivery of a message of its own."""
    id_ = delivery_id(new_message_id(0, AT + number), 1)
    return Event(EventType.DELIVERY, AT + number, id_, recipient=f"u{number}@a.test", route="mx", seq=2, **more)


def endpoint(**more: Any) -> Endpoint:
    given: dict[str, Any] = {
        "id": "wh_1",
        "url": "https://hooks.test/",
        "secret": b"s" * 24,
        "events": (WebhookEvent.MESSAGE_UPDATED,),
    }
    return Endpoint(**(given | more))


class Rig:
    def __init__(self, **more: Any) -> None:
        self.history = MemoryHistory()
        self.posts = Posts()
        self.seal = OpenSeal()
        self.disabled: list[tuple[str, str]] = []
        self.wall = AT
        parts = Parts(
            self.history,
            self.posts,
            self.seal,
            lambda name, reason: self.disabled.append((name, reason)),
            clock=lambda: self.wall / 1000,
            wall=lambda: self.wall,
            chance=lambda: 0.0,
        )
        self.state = KeptState({False: KeptStream(Cursor(1, 0))}, {False: (), True: ()}, KeptFigures())
        self.sender = Sender(endpoint(**more), 1, self.state, parts)
        self.sender.lease_until = float("inf")
        self.reader = EventReader(self.history, lambda: [self.sender])

    def answers(self, answer: PostAnswer | Callable[[str], PostAnswer]) -> None:
        self.posts.answer = answer if callable(answer) else lambda url: answer

    async def add(self, *events: Event) -> None:
        """History gets them, and the sender reads them."""
        for event in events:
            self.history.add(event)
        while await self.reader.look():
            pass
        await self.settle()

    async def pass_time(self, seconds: float) -> None:
        self.wall += int(seconds * 1000)
        self.sender.ring()
        await self.settle()

    async def settle(self) -> None:
        """Everything that can be done now is done."""
        for _ in range(60):
            await asyncio.sleep(0)

    @property
    def tries(self) -> int:
        return len(self.posts.sent)


async def started(**more: Any) -> Rig:
    """A rig whose sender runs."""
    rig = Rig(**more)
    rig.sender.start()
    await rig.settle()
    return rig
