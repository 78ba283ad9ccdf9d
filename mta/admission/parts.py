"""A part of a call: messages that one step accepts, and whose answers come together."""

from mta.model.outcomes import Reply
from mta.ports.admission import AllDone


class Part:
    """Gathers the answers to the messages of one part; with the last of them it passes all on."""

    __slots__ = ("_done", "_left", "_replies")

    def __init__(self, count: int, done: AllDone) -> None:
        self._replies: list[Reply | None] = [None] * count
        self._left = count
        self._done = done

    def answered(self, place: int, reply: Reply | None) -> None:
        self._replies[place] = reply
        self._left -= 1
        if not self._left:
            self._done(self._replies)
