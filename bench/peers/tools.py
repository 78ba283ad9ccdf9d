"""The tools at both ends of a comparison: Postfix's `smtp-source` and `smtp-sink`, or the harness's own."""

import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple, Protocol

from bench.flow import result_of
from bench.peers.case import Case, message
from bench.peers.daemon import Daemon, free_port
from bench.peers.programs import Postfix
from bench.processes import RunVoid, Sink
from bench.rig import stopping

_TAIL = 128
_SENT_WITHIN = 300.0
_UNPRIVILEGED = "nobody"


class Sent(NamedTuple):
    """A source's account; times are Unix times."""

    accepted: int
    first: float
    last: float  # of the last 250


class Receipts(NamedTuple):
    """A destination's account since `begin`; `wrong` says what no correct run has, and is empty otherwise."""

    arrived: int
    last: float
    wrong: str = ""


class Destination(Protocol):
    """Where all mail goes."""

    address: str

    def begin(self) -> None:
        """Count from nothing."""

    def receipts(self) -> Receipts:
        """The receipts so far; cheap."""


class Tools(Protocol):
    """A source and a destination."""

    name: str
    about: str

    def destination(self, place: Path) -> contextlib.AbstractContextManager[Destination]: ...

    def send(self, case: Case, count: int, target: str, sessions: int, place: Path) -> Sent:
        """Sends and waits. Raises RunVoid unless every message was accepted."""


class _CountedSink:
    """`smtp-sink -c`: it writes the count of its messages to a file after each of them."""

    def __init__(self, address: str, counter: Path) -> None:
        self.address = address
        self._counter = counter
        self._before = 0

    def begin(self) -> None:
        self._before = self._count()

    def receipts(self) -> Receipts:
        return Receipts(self._count() - self._before, self._counter.stat().st_mtime)

    def _count(self) -> int:
        """The last whole `mesg=` of the file; each is ended by a carriage return."""
        with self._counter.open("rb") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - _TAIL))
            lines = file.read().split(b"\r")[:-1]
        return int(lines[-1].rpartition(b"mesg=")[2]) if lines else 0


class PostfixTools:
    """`smtp-source` to `smtp-sink`: neither pipelined nor numbered, and no work of ours."""

    name = "postfix"
    about = (
        "load by `smtp-source` (not pipelined, one domain), destination `smtp-sink`; receipts are checked by count, "
        "and the time of the last is when the sink noted it"
    )

    def __init__(self, programs: Postfix) -> None:
        self._programs = programs

    @contextlib.contextmanager
    def destination(self, place: Path) -> Iterator[Destination]:
        port = free_port()
        counter = place / "receipts"
        user = ["-u", _UNPRIVILEGED] if os.geteuid() == 0 else []
        command = [str(self._programs.commands / "smtp-sink"), "-c", "-m", "1000", *user, f"127.0.0.1:{port}", "1000"]
        with Daemon(command, port, place / "sink.log", self._programs.environment(), counter) as daemon:
            yield _CountedSink(daemon.smtp, counter)

    def send(self, case: Case, count: int, target: str, sessions: int, place: Path) -> Sent:
        content = place / "message"
        content.write_text(message(case))
        keep = [] if case.reconnect else ["-d"]
        command = [str(self._programs.commands / "smtp-source"), *keep, "-N", "-s", str(min(sessions, count))]
        command += [
            "-m",
            str(count),
            "-f",
            "bounce@source.test",
            "-t",
            "user@d0.bench.test",
            "-F",
            str(content),
            target,
        ]
        first = time.time()
        environment = os.environ | self._programs.environment()
        try:
            said = subprocess.run(
                command, capture_output=True, text=True, env=environment, timeout=_SENT_WITHIN, check=False
            )
        except subprocess.TimeoutExpired:
            raise RunVoid(f"smtp-source was not done within {_SENT_WITHIN:.0f} s") from None
        if said.returncode:
            raise RunVoid(f"smtp-source ended with status {said.returncode}: {said.stderr.strip()[-300:]}")
        return Sent(count, first, time.time())


class _NumberedSink:
    """`python -m bench.sink`: it knows each message by its number."""

    def __init__(self, sink: Sink) -> None:
        self._sink = sink
        self.address = sink.address

    def begin(self) -> None:
        self._sink.account()

    def receipts(self) -> Receipts:
        stats = self._sink.stats()
        wrong = [f"{stats[name]} {name}" for name in ("duplicates", "unnumbered") if stats[name]]
        return Receipts(stats["unique"], stats["last"], ", ".join(wrong))


class OwnTools:
    """The harness's source and sink: pipelined, to five domains, each receipt checked by its number."""

    name = "own"
    about = (
        "load by `bench.source` (pipelined, five domains), destination `bench.sink`; "
        "each message is checked by its number"
    )

    @contextlib.contextmanager
    def destination(self, place: Path) -> Iterator[Destination]:
        with stopping(Sink(place / "sink.log")) as sink:
            yield _NumberedSink(sink)

    def send(self, case: Case, count: int, target: str, sessions: int, place: Path) -> Sent:
        command = [sys.executable, "-m", "bench.source", "--target", target, "--messages", str(count)]
        command += ["--size", str(case.size), "--sessions", str(min(sessions, count))]
        command += ["--reconnect"] if case.reconnect else []
        command += ["--waiting", "1"] if case.held else []
        with (place / "source.log").open("ab") as errors:
            source = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors)
        try:
            source.wait(_SENT_WITHIN)
        except subprocess.TimeoutExpired:
            raise RunVoid(f"bench.source was not done within {_SENT_WITHIN:.0f} s") from None
        finally:
            source.kill()
        sent = result_of(source)
        return Sent(sent["accepted"], sent["first_mail"], sent["last_accepted"])
