"""A pace: at most so many begin in one turn of the event loop, in the order in which they came."""

import asyncio
from collections import deque


class Pace:
    """Keeps a crowd of tasks that begin at the same time from holding up everything else in the loop."""

    def __init__(self, most: int) -> None:
        """`most` in one turn of the loop."""
        self._most = most
        self._left = most
        self._line: deque[asyncio.Future[None]] = deque()

    async def turn(self) -> None:
        """Return at once while the turn of the loop has room; else in a later one."""
        loop = asyncio.get_running_loop()
        if self._left == self._most:
            loop.call_soon(self._next_turn, loop)
        if self._left > 0:
            self._left -= 1
            return
        waiting = loop.create_future()
        self._line.append(waiting)
        await waiting

    def _next_turn(self, loop: asyncio.AbstractEventLoop) -> None:
        self._left = self._most
        while self._line and self._left > 0:
            waiting = self._line.popleft()
            if not waiting.done():  # else its task was cancelled
                waiting.set_result(None)
                self._left -= 1
        if self._left < self._most:
            loop.call_soon(self._next_turn, loop)
