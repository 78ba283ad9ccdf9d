"""The supervisor: `floodgate node` as its processes see it; it starts them, restarts what dies, and drains them all."""

import asyncio
import json
import logging
import os
import secrets
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Final, NamedTuple

from mta.ingress.crew import Crew, Seat, seats
from mta.model.errors import SettingsError, StoreError
from mta.model.settings import Address, Settings
from mta.redis_store.cluster_settings import ClusterSettings
from mta.redis_store.foundation import Foundation
from mta.redis_store.link import Link
from mta.redis_store.outbox import StoredOutbox
from mta.redis_store.rule_store import StoredRules
from mta.redis_store.session import Session
from mta.runtime.child import boot_line
from mta.runtime.compaction import Compaction
from mta.runtime.embedded import EmbeddedServer
from mta.runtime.embedded_watch import keep_running
from mta.runtime.notify import notify_systemd
from mta.runtime.room import Room
from mta.runtime.store_identity import StoreIdentity
from mta.runtime.store_watch import StoreWatch
from mta.runtime.wiring import journal_name, open_link, patiently

log = logging.getLogger(__name__)

_BACKLOG: Final = 1024  # connections that wait to be accepted
_REPLACE_TIMEOUT: Final = 120.0  # seconds
_BACKOFF_MAX: Final = 10.0  # seconds between restarts of a process that keeps dying


class Role(NamedTuple):
    """A kind of process: its command, how many, which listening sockets it inherits, and where each has its seat."""

    module: str
    processes: int
    sockets: tuple[int, ...] = ()
    seats: tuple[Seat, ...] = ()


class Process:
    """One child: restarted with backoff when it dies, replaced when settings change, drained when its pipe closes."""

    def __init__(self, name: str, role: Role, boot: Callable[[], bytes], reaped: Callable[[int], None]) -> None:
        self._name = name
        self._role = role
        self._boot = boot
        self._reaped = reaped
        self._process: asyncio.subprocess.Process | None = None
        self._replacing = False
        self._stopping = False
        self._task: asyncio.Task[None] | None = None
        self.ready = asyncio.Event()

    @property
    def pid(self) -> int | None:
        return self._process.pid if self._process else None

    def start(self) -> None:
        self._task = asyncio.get_running_loop().create_task(self._live(), name=self._name)

    async def _live(self) -> None:
        backoff = 0.1
        while not self._stopping:
            started = asyncio.get_running_loop().time()
            process = await self._spawn()
            if self._stopping and process.stdin is not None:
                process.stdin.close()  # told to drain while it was being started
            if process.stdout is not None and await process.stdout.readline() == b"ready\n":
                self.ready.set()
            status = await process.wait()
            self._reaped(process.pid)
            if self._stopping or self._replacing:
                self._replacing = False
                continue
            if asyncio.get_running_loop().time() - started > 30.0:
                backoff = 0.1
            log.error(
                "%s (pid %d) ended with status %d; started again in %.1f s", self._name, process.pid, status, backoff
            )
            await asyncio.sleep(backoff)
            backoff = min(backoff * 2, _BACKOFF_MAX)

    async def _spawn(self) -> asyncio.subprocess.Process:
        self._process = process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            self._role.module,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            pass_fds=self._role.sockets + tuple({seat.memory for seat in self._role.seats}),
        )
        assert process.stdin is not None
        process.stdin.write(self._boot())
        return process

    def drain(self) -> None:
        """Close its pipe: it finishes what it holds and ends."""
        self._stopping = True
        if self._process is not None and self._process.stdin is not None:
            self._process.stdin.close()

    async def replace(self) -> None:
        """Drain it and start it anew, with the settings of now."""
        self._replacing = True
        self.ready.clear()
        if self._process is not None and self._process.stdin is not None:
            self._process.stdin.close()
        try:
            await asyncio.wait_for(self.ready.wait(), _REPLACE_TIMEOUT)
        except TimeoutError:
            log.error("%s was not replaced within %.0f s; it is killed", self._name, _REPLACE_TIMEOUT)
            if self._process is not None and self._process.returncode is None:
                self._process.kill()

    def hang_up(self) -> None:
        if self._process is not None and self._process.returncode is None:
            self._process.send_signal(signal.SIGHUP)

    async def gone(self, seconds: float) -> None:
        """Wait until it has drained; past `seconds` it is killed."""
        if self._task is None:
            return
        try:
            await asyncio.wait_for(asyncio.shield(self._task), seconds)
        except TimeoutError:
            log.error("%s did not drain within %.0f s; it is killed", self._name, seconds)
            if self._process is not None and self._process.returncode is None:
                self._process.kill()
            await self._task


class Supervisor:
    """One node."""

    def __init__(self, settings: Settings, reload: Callable[[], Settings]) -> None:
        self._settings = settings
        self._reload = reload
        self._embedded = EmbeddedServer(_folder(settings)) if settings.redis.url == "embedded" else None
        self._redis_url = self._embedded.url if self._embedded else settings.redis.url
        self._smtp: list[socket.socket] = []
        self._api: list[socket.socket] = []
        self._processes: list[tuple[str, Process]] = []
        self._link: Link | None = None
        self._rules: StoredRules | None = None
        self._outbox: StoredOutbox | None = None
        self._store_watch: StoreWatch | None = None
        self._room = Room(settings)
        self._stop = asyncio.Event()
        self._reaping: set[asyncio.Task[None]] = set()

    async def run(self) -> None:
        """Until SIGTERM or SIGINT. Raises SettingsError, StoreUnsafe, OSError (an address in use) at the start."""
        loop = asyncio.get_running_loop()
        for name in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(name, self._stop.set)
        self._bind()
        self._warn()
        watches: list[asyncio.Task[None]] = []
        try:
            if self._embedded is not None:
                await self._embedded.start()
                watches.append(loop.create_task(keep_running(self._embedded, self._room)))
            await self._prepare_store()
            assert self._store_watch is not None
            watches.append(loop.create_task(self._store_watch.run()))
            self._start_processes()
            loop.add_signal_handler(signal.SIGHUP, lambda: loop.create_task(self._hang_up()))
            await self._wait_ready()
            if not self._stop.is_set():
                self._say_ready()
            await self._stop.wait()
        finally:
            notify_systemd("STOPPING=1")
            await self._drain()
            for watch in watches:
                watch.cancel()
            await asyncio.gather(*watches, return_exceptions=True)
            if self._link is not None:
                await self._link.close()
            if self._embedded is not None:
                await self._embedded.stop()

    def _bind(self) -> None:
        """Sockets outlive the processes that use them: a restarted one finds its connections waiting."""
        roles = self._settings.node.roles
        if "smtp" in roles:
            self._smtp = [_listen(address) for address in self._settings.smtp.listen]
        if "api" in roles:
            self._api = [_listen(self._settings.api.listen)]

    def _warn(self) -> None:
        """What is allowed, and yet hardly meant."""
        default = self._settings.smtp.default_pool
        if "smtp" in self._settings.node.roles and default not in self._settings.pools:
            log.warning(
                "mail that names no pool goes to %r, which [pools] does not have: it waits for a node that serves it",
                default,
            )

    async def _prepare_store(self) -> None:
        self._link = await open_link(self._settings, self._redis_url, self._stop)
        cluster = ClusterSettings(self._link)

        async def prepare() -> None:
            await cluster.open(self._settings.rules.max_staleness)
            await cluster.put_token(f"admin:{self._settings.node.name}", admin_token(self._settings))

        await patiently(prepare, self._stop)
        file, node = _folder(self._settings) / "store.id", self._settings.node.name
        identity = StoreIdentity(Foundation(self._link), file, node, prepare)
        await patiently(identity.begin, self._stop)
        compaction = Compaction(self._link, self._room) if self._embedded is not None else None
        self._store_watch = StoreWatch(self._link, self._redis_url, self._room, identity, compaction)
        session = Session(self._settings.node.name, "supervisor", ())
        self._outbox = StoredOutbox(self._link, cluster.lanes)
        self._rules = StoredRules(
            self._link, session, cluster.lanes, cluster.max_staleness, self._settings.rules.max_rules
        )
        if self._redis_url.startswith("unix://"):
            await patiently(lambda: self._bury_the_dead(lambda pid: not _alive(pid)), self._stop)

    async def _bury_the_dead(self, is_dead: Callable[[int], bool]) -> None:
        """Sessions of this node whose process is no more are given up now, not when their lease runs out."""
        assert self._rules is not None
        for name, state in (await self._rules.sessions()).items():
            if state.node == self._settings.node.name and not state.dead and is_dead(state.pid):
                await self._rules.mark_dead(name, None)

    async def _free_lanes(self, pid: int) -> None:
        """A dead journal's lanes are its successor's now, not when their lease runs out."""
        assert self._outbox is not None
        for lane in range(self._outbox.lanes):
            await self._outbox.release(lane, journal_name(self._settings.node.name, pid))

    def _reaped(self, seat: Seat | None, pid: int) -> None:
        if seat is not None:
            Crew.at(seat).leave()

        async def bury() -> None:
            for attempt in range(60):
                try:
                    await self._bury_the_dead(lambda of: of == pid)
                    await self._free_lanes(pid)
                    return
                except StoreError:
                    await asyncio.sleep(min(5.0, 0.1 * 2**attempt))

        task = asyncio.get_running_loop().create_task(bury())
        self._reaping.add(task)
        task.add_done_callback(self._reaping.discard)

    def _roles(self) -> dict[str, Role]:
        node = self._settings.node
        workers = node.workers or os.cpu_count() or 1
        table: dict[str, Role] = {}
        if "smtp" in node.roles or "delivery" in node.roles:
            sockets = tuple(sock.fileno() for sock in self._smtp)
            table["worker"] = Role("mta.runtime.worker", workers, sockets, seats(workers) if sockets else ())
        if "delivery" in node.roles:
            table["sweeper"] = Role("mta.runtime.sweeper", 1)
        if "journal" in node.roles:
            table["journal"] = Role("mta.runtime.journal", 1)
        if "api" in node.roles:
            table["api"] = Role("control_api", 1, tuple(sock.fileno() for sock in self._api))
        return table

    def _start_processes(self) -> None:
        for name, role in self._roles().items():
            for number in range(role.processes):
                seat = role.seats[number] if role.seats else None
                boot = lambda role=role, seat=seat: boot_line(self._settings, self._redis_url, role.sockets, seat)  # noqa: E731
                label = f"{name}-{number + 1}" if role.processes > 1 else name
                process = Process(label, role, boot, partial(self._reaped, seat))
                process.start()
                self._processes.append((name, process))

    async def _wait_ready(self) -> None:
        async def all_ready() -> None:
            for _, process in self._processes:
                await process.ready.wait()

        waits = {asyncio.ensure_future(all_ready()), asyncio.ensure_future(self._stop.wait())}
        await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        for wait in waits:
            wait.cancel()
        await asyncio.gather(*waits, return_exceptions=True)

    def _say_ready(self) -> None:
        line = {
            "event": "ready",
            "node": self._settings.node.name,
            "smtp": [_name(sock) for sock in self._smtp],
            "api": f"http://{_name(self._api[0])}" if self._api else None,
            "redis": self._redis_url,
            "pid": os.getpid(),
        }
        print(json.dumps({key: value for key, value in line.items() if value is not None}), flush=True)
        notify_systemd("READY=1")

    async def _hang_up(self) -> None:
        """SIGHUP: the log is reopened, and each process is replaced by one with the settings of now."""
        for name, process in self._processes:
            if name == "journal":
                process.hang_up()
        try:
            settings = self._reload()
        except SettingsError as error:
            log.error("settings are kept as they are: %s", error)
            return
        if settings == self._settings:
            log.info("the delivery log was reopened; settings are unchanged")
            return
        self._settings = settings
        for _, process in self._processes:
            await process.replace()
        log.info("the delivery log was reopened, settings are reloaded; listen addresses change with a restart only")

    async def _drain(self) -> None:
        """Intake and delivery first; the journal last, so that it writes what they still settled."""
        for sock in self._smtp:  # with the workers' copies: new clients go elsewhere now
            sock.close()
        timeout = self._settings.node.drain_timeout + 5.0
        for group in (("worker", "sweeper"), ("api",), ("journal",)):
            members = [process for name, process in self._processes if name in group]
            for process in members:
                process.drain()
            await asyncio.gather(*(process.gone(timeout) for process in members))
        if self._reaping:
            await asyncio.wait(self._reaping, timeout=5.0)
        for sock in self._api:
            sock.close()


def admin_token(settings: Settings) -> str:
    """From FLOODGATE_ADMIN_TOKEN, else <data_dir>/admin.token, which is made at the first start (0600)."""
    given = os.environ.get("FLOODGATE_ADMIN_TOKEN", "").strip()
    if given:
        return given
    path = _folder(settings) / "admin.token"
    if path.exists():
        return path.read_text().strip()
    token = secrets.token_urlsafe(32)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(token + "\n")
    return token


def _folder(settings: Settings) -> Path:
    return Path(settings.node.data_dir)


def _listen(address: Address) -> socket.socket:
    family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_STREAM)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        sock.bind((address.host, address.port))
    except OSError as error:
        sock.close()
        raise SettingsError(f"cannot listen on {address}: {error.strerror}") from error
    sock.listen(_BACKLOG)
    sock.setblocking(False)
    return sock


def _name(sock: socket.socket) -> str:
    host, port = sock.getsockname()[:2]
    return str(Address(host, port))


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
