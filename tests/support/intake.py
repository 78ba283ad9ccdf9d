"""A store that only records, settings, and a listener on loopback: what tests of the intake share."""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Mapping, Sequence

from mta.admission.group_commit import GroupCommit
from mta.admission.once import OncePerKey
from mta.admission.submission import TrustedSubmissions
from mta.ingress.listener import Listener
from mta.ingress.worker_loads import WorkerLoads
from mta.model.mail import Claimed, NewMessage, QueueShare
from mta.model.settings import NodeSettings, Settings, SmtpSettings
from mta.ports.idempotency import CallPart, KeptCall, KnownCalls
from mta.ports.queueing import UNDECIDED, AcceptanceDecision


class RecordingStore:
    """Accepts everything, raises `trouble`, or calls the rules old; while `hold` is cleared it does not answer."""

    def __init__(self, lanes: int = 4) -> None:
        self.lanes = lanes
        self.batches: list[tuple[int, list[NewMessage]]] = []
        self.trouble: BaseException | None = None
        self.hold = asyncio.Event()
        self.hold.set()
        self.busy: set[int] = set()
        self.called = asyncio.Event()
        self.decisions: list[AcceptanceDecision] = []
        self.outdated: set[int] = set()  # generations below the barrier
        self.reserved: list[Mapping[QueueShare, int]] = []
        self.calls: list[CallPart] = []  # that were accepted
        self.known: dict[bytes, KeptCall | None] = {}  # by the names of their keys
        self.claimed: dict[QueueShare, list[Claimed]] = {}  # the answer to each accept

    @property
    def messages(self) -> list[NewMessage]:
        return [message for _, batch in self.batches for message in batch]

    async def accept(
        self,
        lane: int,
        messages: Sequence[NewMessage],
        decision: AcceptanceDecision = UNDECIDED,
        reserved: Mapping[QueueShare, int] = {},
        calls: Sequence[CallPart] = (),
    ) -> dict[QueueShare, list[Claimed]] | KnownCalls | None:
        assert lane not in self.busy, "one call per lane at a time"
        assert len(messages) <= 100
        self.busy.add(lane)
        self.called.set()
        try:
            await self.hold.wait()
            if self.trouble is not None:
                raise self.trouble
            if decision.generation in self.outdated:
                return None
            if known := {at: self.known[call.key.name] for at, call in enumerate(calls) if call.key.name in self.known}:
                return KnownCalls(known)
            self.calls += calls
            self.batches.append((lane, list(messages)))
            self.decisions.append(decision)
            self.reserved.append(reserved)
            return self.claimed
        finally:
            self.busy.remove(lane)


def no_rules(messages: Sequence[NewMessage]) -> AcceptanceDecision:
    return UNDECIDED


def make_settings(**smtp: object) -> Settings:
    return Settings(
        node=NodeSettings(name="node1", data_dir="/nonexistent"),
        smtp=SmtpSettings(**{"hostname": "mx.example.org", **smtp}),  # type: ignore[arg-type]
    )


class Intake:
    """A running listener with its parts and its port."""

    def __init__(self, settings: Settings, loads: WorkerLoads, listening: socket.socket) -> None:
        self.store = RecordingStore()
        self.admission = GroupCommit(
            self.store, settings.smtp.commit_delay, no_rules, clients=lambda: self.listener.connections_open
        )
        self.socket = listening
        self.port: int = self.socket.getsockname()[1]
        once = OncePerKey(self.admission, self.store.lanes, 86400.0, lambda: True)
        submissions = TrustedSubmissions(settings, self.admission, once=once)
        self.listener = Listener([self.socket], settings, submissions, self.admission, loads)

    async def connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """A connection that has read its greeting."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        assert (await reader.readline()).startswith(b"220 ")
        return reader, writer


@contextlib.asynccontextmanager
async def intake(
    loads: WorkerLoads | None = None, listening: socket.socket | None = None, **smtp: object
) -> AsyncIterator[Intake]:
    listening = listening or socket.create_server(("127.0.0.1", 0))
    running = Intake(make_settings(**smtp), loads or WorkerLoads.alone(), listening)
    running.listener.start()
    try:
        yield running
    finally:
        running.listener.abort()
        running.socket.close()
