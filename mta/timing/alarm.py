"""A sleep that can be cut short."""

import asyncio


class Alarm:
    """For one sleeper. A ring while nobody sleeps ends the next sleep at once."""

    __slots__ = ("_rung", "_sleeper")

    def __init__(self) -> None:
        self._rung = False
        self._sleeper: asyncio.Future[None] | None = None

    def ring(self) -> None:
        self._rung = True
        self._wake()

    async def sleep(self, seconds: float) -> bool:
        """Whether it was rung before the time was over."""
        rung = True
        if not self._rung:
            loop = asyncio.get_running_loop()
            self._sleeper = loop.create_future()
            timer = loop.call_later(seconds, self._wake)
            try:
                await self._sleeper
            finally:
                timer.cancel()
                self._sleeper = None
            rung = self._rung
        self._rung = False
        return rung

    def _wake(self) -> None:
        if self._sleeper is not None and not self._sleeper.done():
            self._sleeper.set_result(None)
