"""The bounds on calls that hand mail in: the size of one, and the room for those under way in this process."""

import contextlib
from collections.abc import Iterator
from typing import Final, NamedTuple

from control_api.http.problems import Problem
from mta.model.settings import Settings

_MOST_CALLS: Final = 512  # under way at a time
_MOST_BYTES: Final = 256 * 1024 * 1024  # of their bodies


class CallLimits(NamedTuple):
    """The largest call, by the settings of the node."""

    recipients: int  # of one call with a JSON body
    recipients_of_message: int
    message: int  # bytes of one message
    body: int  # bytes

    @classmethod
    def of(cls, settings: Settings) -> "CallLimits":
        """JSON may write a character of a message with as many as six octets; most take one."""
        size = settings.smtp.max_message_size
        return cls(settings.messages.max_batch, settings.smtp.max_recipients, size, 2 * size + 1024 * 1024)


class CallRoom:
    """The calls under way, and the memory that their bodies take."""

    def __init__(self) -> None:
        self.calls = 0
        self._bytes = 0

    @contextlib.contextmanager
    def one_more(self) -> Iterator["TakenRoom"]:
        """The room of one call. Raises Problem 503."""
        if self.calls >= _MOST_CALLS:
            raise _full("too many calls are under way")
        taken = TakenRoom(self)
        self.calls += 1
        try:
            yield taken
        finally:
            self.calls -= 1
            self._bytes -= taken.size

    def take(self, size: int) -> None:
        """Raises Problem 503."""
        if self._bytes and self._bytes + size > _MOST_BYTES:
            raise _full("the bodies of the calls under way take all the memory that there is for them")
        self._bytes += size


class TakenRoom:
    """The part of the memory that one call has."""

    def __init__(self, room: CallRoom) -> None:
        self._room = room
        self.size = 0

    def more(self, size: int) -> None:
        """Take so many bytes more. Raises Problem 503."""
        self._room.take(size)
        self.size += size


def _full(words: str) -> Problem:
    return Problem(503, f"{words}; try again later", headers={"Retry-After": "1"})
