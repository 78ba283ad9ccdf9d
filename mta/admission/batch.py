"""A batch of messages of one lane on its way into the store."""

import asyncio
from collections.abc import Mapping

from mta.admission.known_calls import part_to_keep
from mta.model.mail import NewMessage
from mta.ports.admission import MOST_IN_A_PART, Done
from mta.ports.idempotency import CallPart, KeptCall, OncePart
from mta.ports.queueing import AcceptanceDecision

BATCH_RECIPIENTS = 500  # nobody waits long behind one step of the store
BATCH_MESSAGES = MOST_IN_A_PART
BATCH_BYTES = 4 * 1024 * 1024
OVERHEAD = 1024  # bytes that a waiting message takes besides its content, roughly


class Batch:
    """The messages, and the callbacks for their replies."""

    __slots__ = ("delay_passed", "done", "lane", "messages", "once", "recipients", "size", "timer")

    def __init__(self, lane: int) -> None:
        self.lane = lane
        self.messages: list[NewMessage] = []
        self.done: list[Done] = []
        self.once: list[tuple[int, int, OncePart]] = []  # begin and end of its messages, idempotent part; in order
        self.size = 0
        self.recipients = 0
        self.delay_passed = False  # the batch waits only for the batch in flight of its lane
        self.timer: asyncio.TimerHandle | None = None  # ends commit_delay

    def add(self, message: NewMessage, done: Done, size: int) -> bool:
        """Whether the batch is full now. `size` is in bytes."""
        self.messages.append(message)
        self.done.append(done)
        self.size += size
        self.recipients += len(message.recipients)
        return len(self.messages) >= BATCH_MESSAGES or self.size >= BATCH_BYTES or self.recipients >= BATCH_RECIPIENTS

    def add_once(self, once: OncePart, count: int) -> None:
        """The next `count` messages that are added are those of an idempotent part."""
        begin = len(self.messages)
        self.once.append((begin, begin + count, once))

    def parts_to_keep(self, decision: AcceptanceDecision) -> list[CallPart]:
        return [part_to_keep(once.part, self.messages[begin:end], decision) for begin, end, once in self.once]

    def take_out(
        self, known: Mapping[int, KeptCall | None]
    ) -> tuple[list[NewMessage], list[tuple[OncePart, KeptCall | None]]]:
        """Takes parts out, which are named by their places among the idempotent ones: their messages, and the parts."""
        kept, calls, shift = [], [], 0
        messages: list[NewMessage] = []
        for place, (begin, end, once) in enumerate(self.once):
            begin, end = begin - shift, end - shift
            if place not in known:
                kept.append((begin, end, once))
                continue
            calls.append((once, known[place]))
            for message in self.messages[begin:end]:
                self.size -= len(message.content) + OVERHEAD
                self.recipients -= len(message.recipients)
                messages.append(message)
            del self.messages[begin:end], self.done[begin:end]
            shift += end - begin
        self.once = kept
        return messages, calls
