"""The bytes that a server has sent and the event loop has not read yet."""

import asyncio
import contextlib
import os
import select
from collections.abc import Iterator

_READ = 64 * 1024


def has_unread(transport: asyncio.Transport) -> bool:
    """Whether the socket of a transport has bytes to read. Under TLS, pass the lower transport."""
    handle = transport.get_extra_info("socket")
    if handle is None or handle.fileno() < 0:
        return False
    poll = select.poll()
    poll.register(handle.fileno(), select.POLLIN)
    return bool(poll.poll(0))


def left_over(transport: asyncio.Transport) -> Iterator[bytes]:
    """The bytes that wait in the socket of a failed transport; none if the socket cannot be read."""
    handle = transport.get_extra_info("socket")
    if handle is not None:
        with contextlib.suppress(OSError):
            while data := os.read(handle.fileno(), _READ):
                yield data
