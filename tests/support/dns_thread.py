"""The DNS stub on a thread of its own, for tests that wait on real processes."""

import asyncio
import threading

from tests.support.dns_stub import DnsStub


class DnsThread:
    """A `DnsStub` that answers from `start` to `stop`; its records may be changed from any thread."""

    def __init__(self) -> None:
        self.stub = DnsStub()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)

    def start(self) -> "DnsThread":
        self._thread.start()
        asyncio.run_coroutine_threadsafe(self.stub.__aenter__(), self._loop).result(60)
        return self

    def stop(self) -> None:
        if not self._thread.is_alive():
            return
        asyncio.run_coroutine_threadsafe(self.stub.__aexit__(), self._loop).result(60)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(60)
        self._loop.close()
