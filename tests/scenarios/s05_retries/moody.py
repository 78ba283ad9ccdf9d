"""A destination that changes its mind about an address from one attempt to the next."""

import pathlib
import time
from collections import defaultdict
from itertools import pairwise
from typing import Any

from tests.support.node import Node
from tests.support.sink_thread import SinkThread

LATER, NEVER, FULL, CLOSING = "451 4.2.1 come later", "550 5.1.1 no such user", "552 no more", "421 4.3.2 closing"
FOREVER: list[str | None] = ["451 4.9.9 never today"]
_SAME_ATTEMPT = 0.8  # seconds; a retry comes 0.9 s after the reply at the soonest


class Moody:
    """A sink that gives each address its answers in turn, at RCPT and at the dot, and then takes its mail."""

    def __init__(self) -> None:
        self.at_rcpt: dict[str, list[str | None]] = {}  # None: the usual one
        self.at_dot: dict[str, list[str | None]] = {}
        self.asked: defaultdict[str, list[float]] = defaultdict(list)  # address -> Unix seconds of each RCPT
        self._last: dict[str, str | None] = {}  # address -> the last answer to its RCPT
        self.thread = SinkThread()
        self.start, self.stop = self.thread.start, self.thread.stop
        self.thread.script("RCPT", self._rcpt)
        self.thread.script(".", lambda _, address: _next(self.at_dot, address))

    def node(self, folder: pathlib.Path, **sets: Any) -> Node:
        """A node that sends everything here; ask for it when the sink has been started."""
        return Node(folder, **{"delivery.route": self.thread.address}, **sets)

    def _rcpt(self, _: int, argument: str) -> str | None:
        """A refusal on a connection that has carried other mail is asked for again at once on a new one: that is the
        same attempt, and has the same answer."""
        address = argument.partition("<")[2].partition(">")[0]
        now, asked = time.time(), self.asked[address]
        if asked and now - asked[-1] < _SAME_ATTEMPT:
            return self._last.get(address)
        asked.append(now)
        self._last[address] = found = _next(self.at_rcpt, address)
        return found

    def receipts(self, address: str) -> int:
        """How often the sink has read the whole of a message to the address, whatever it answered."""
        return sum(address in message.recipients for message in self.thread.sink.received)

    def gaps(self, address: str) -> list[float]:
        return [after - before for before, after in pairwise(self.asked[address])]


def _next(answers: dict[str, list[str | None]], address: str) -> str | None:
    left = answers.get(address)
    if not left:
        return None
    return left[0] if left == FOREVER else left.pop(0)
