"""A process that signs digests beside the event loop of a worker: RSA takes a quarter of a millisecond, and the library
keeps the interpreter's lock meanwhile, so that a thread would help nobody.

It is started by its first job. While it cannot be used, its jobs are answered with None, and the worker signs.
"""

import asyncio
import logging
import sys
import time
from collections.abc import Callable
from typing import Any, Final

import msgspec

from mta.runtime.signer import Frames, framed

log = logging.getLogger(__name__)

_PATIENCE: Final = 10.0  # seconds for one job; then the process stands still, and is killed
_LEAST_PAUSE: Final = 10.0  # seconds between two starts

_decode: Final = msgspec.msgpack.Decoder(list[tuple[int, bytes | None]]).decode

Signed = Callable[[bytes | None], None]


class SigningProcess:
    """Fulfils ports.dkim.SignBeside."""

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._starting: asyncio.Task[None] | None = None
        self._started_at = float("-inf")
        self._transport: asyncio.SubprocessTransport | None = None
        self._number = 0  # of the last job
        self._jobs: list[tuple[int, int, bytes]] = []  # not written yet
        self._waiting: dict[int, Signed] = {}
        self._keys: dict[bytes, int] = {}  # private -> number, of those that the process has
        self._flushes = False  # a flush is due in this turn of the loop
        self._watch: asyncio.TimerHandle | None = None
        self._closed = False

    def __repr__(self) -> str:
        state = "closed" if self._closed else "running" if self._transport is not None else "not running"
        return f"<SigningProcess {state}: {len(self._waiting)} jobs>"

    @property
    def is_usable(self) -> bool:
        """Whether a job would be signed there, or wait for its start."""
        if self._closed:
            return False
        return self._transport is not None or self._starting is not None or self._may_start()

    def sign(self, private: bytes, digest: bytes, done: Signed) -> None:
        if not self.is_usable:
            done(None)
            return
        key = self._keys.get(private)
        if key is None:
            key = self._keys[private] = len(self._keys) + 1
            self._jobs.append((0, key, private))
        self._number += 1
        self._jobs.append((self._number, key, digest))
        self._waiting[self._number] = done
        loop = asyncio.get_running_loop()
        if not self._flushes:
            self._flushes = True
            loop.call_soon(self._flush)
        if self._watch is None:
            self._watch = loop.call_later(_PATIENCE, self._look, self._number)

    def close(self) -> None:
        self._closed = True
        self._lost("was closed")

    def _may_start(self) -> bool:
        return self._clock() - self._started_at >= _LEAST_PAUSE

    def _flush(self) -> None:
        self._flushes = False
        if self._transport is not None:
            self._write()
        elif self._starting is None and self._jobs:
            self._started_at = self._clock()
            self._starting = asyncio.get_running_loop().create_task(self._start(), name="signing process")

    async def _start(self) -> None:
        loop = asyncio.get_running_loop()
        words = (sys.executable, "-P", "-m", "mta.runtime.signer")
        try:
            transport, _ = await loop.subprocess_exec(lambda: _Talk(self._answered, self._lost), *words, stderr=None)
        except OSError as error:
            self._lost(f"cannot be started: {error.strerror}")
            return
        finally:
            self._starting = None
        self._transport = transport
        if self._closed:
            self._lost("was closed")
        else:
            self._write()

    def _write(self) -> None:
        assert self._transport is not None
        pipe: Any = self._transport.get_pipe_transport(0)
        if self._jobs and pipe is not None:
            jobs, self._jobs = self._jobs, []
            pipe.write(framed(jobs))

    def _answered(self, body: bytes) -> None:
        for number, signature in _decode(body):
            done = self._waiting.pop(number, None)
            if done is not None:
                self._say(done, signature)

    def _look(self, newest: int) -> None:
        """The jobs up to `newest` were given `_PATIENCE` ago."""
        self._watch = None
        oldest = next(iter(self._waiting), None)
        if oldest is not None and oldest <= newest:
            self._lost("stands still")
        elif oldest is not None:
            self._watch = asyncio.get_running_loop().call_later(_PATIENCE, self._look, self._number)

    def _lost(self, why: str) -> None:
        """Everything is as before the start; the jobs that wait are given back."""
        transport, self._transport = self._transport, None
        if transport is not None:
            if not self._closed:
                log.error("the signing process (pid %s) %s; this process signs meanwhile", transport.get_pid(), why)
            if transport.get_returncode() is None:
                transport.kill()
            transport.close()
        elif not self._closed:
            log.error("the signing process %s; this process signs meanwhile", why)
        if self._watch is not None:
            self._watch.cancel()
            self._watch = None
        self._jobs.clear()
        self._keys.clear()
        waiting, self._waiting = self._waiting, {}
        for done in waiting.values():
            self._say(done, None)

    def _say(self, done: Signed, signature: bytes | None) -> None:
        try:
            done(signature)
        except Exception:  # the messages of other clients must be signed all the same
            log.exception("a session failed when it got the signature of its message")


class _Talk(asyncio.SubprocessProtocol):
    """The pipes of the process."""

    def __init__(self, answered: Callable[[bytes], None], lost: Callable[[str], None]) -> None:
        self._answered = answered
        self._lost: Callable[[str], None] | None = lost
        self._frames = Frames()

    def pipe_data_received(self, fd: int, data: bytes) -> None:
        for body in self._frames.feed(data):
            self._answered(body)

    def pipe_connection_lost(self, fd: int, error: Exception | None) -> None:
        self._end()

    def process_exited(self) -> None:
        self._end()

    def _end(self) -> None:
        """Only the first sign of its end counts: another process may run by then."""
        lost, self._lost = self._lost, None
        if lost is not None:
            lost("has ended")
