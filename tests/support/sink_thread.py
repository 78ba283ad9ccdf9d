"""The scriptable destination on a thread of its own, for tests that wait on real processes."""

import asyncio
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

from tests.support.sink import Answer, Received, Sink

_LOOK = 0.02  # seconds


class SinkThread:
    """A `Sink` that listens from `start` to `stop`; reading its lists from another thread is safe."""

    def __init__(self, **options: Any) -> None:
        self.sink = Sink(**options)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._watch: Future[None] | None = None
        self.lag = 0.0  # seconds: the longest time for which `watch_lag` saw the sink do nothing

    def start(self) -> "SinkThread":
        self._thread.start()
        self._run(self.sink.__aenter__())
        return self

    def stop(self) -> None:
        if not self._thread.is_alive():
            return
        if self._watch is not None:
            self._watch.cancel()
        self._run(self.sink.stop())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(60)
        self._loop.close()

    def _run(self, work: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(60)

    def watch_lag(self) -> None:
        """Note from now on how late the sink is: it may read several messages together that came one by one."""

        async def watch() -> None:
            while True:
                before = time.monotonic()
                await asyncio.sleep(_LOOK)
                self.lag = max(self.lag, time.monotonic() - before - _LOOK)

        self._watch = asyncio.run_coroutine_threadsafe(watch(), self._loop)

    @property
    def address(self) -> str:
        return f"{self.sink.host}:{self.sink.port}"

    def script(self, verb: str, answer: Answer | Callable[[int, str], Answer | None] | None) -> None:
        """Set the answer to the verb; None: the usual one."""
        if answer is None:
            self.sink.script.pop(verb, None)
        else:
            self.sink.script[verb] = answer

    def release(self, answer: Answer) -> int:
        async def work() -> int:
            return self.sink.release(answer)

        return int(self._run(work()))

    def cut(self) -> None:
        """Drop every connection that is open now."""

        async def work() -> None:
            for session in list(self.sink._sessions):
                session.cut()

        self._run(work())

    def to(self, domain: str) -> list[Received]:
        """The messages for recipients at the domain, in order, taken or refused at the dot."""
        return [r for r in list(self.sink.received) if any(a.endswith("@" + domain) for a in r.recipients)]

    def begun_to(self, domain: str) -> list[Received]:
        """Every MAIL whose recipients are at the domain."""
        return [r for r in list(self.sink.begun) if any(a.endswith("@" + domain) for a in r.recipients)]
