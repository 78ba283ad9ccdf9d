"""The supervisor of a node: it starts its processes, starts again those that die, and drains them all."""

import asyncio
import json
import logging
import os
import signal
import socket
from collections.abc import Callable
from functools import partial
from typing import Final

from mta.ingress.turn_away import TurnAway
from mta.ingress.worker_loads import LoadSlot, WorkerLoads, load_slots
from mta.model.errors import SettingsError
from mta.model.secret_urls import hide_password
from mta.model.settings import Settings
from mta.runtime.child import boot_line
from mta.runtime.data_dir import DataDir, check_log
from mta.runtime.descriptors import raise_descriptor_limit, warn_of_few_descriptors
from mta.runtime.embedded import EmbeddedServer
from mta.runtime.embedded_watch import keep_running
from mta.runtime.fork_client import ForkClient
from mta.runtime.host_clock import watch_host_clock
from mta.runtime.node_store import NodeStore
from mta.runtime.notify import notify_systemd
from mta.runtime.processes import Process, Role, start_when_asked
from mta.runtime.room import Room
from mta.runtime.secret_files import faults_of_files
from mta.runtime.sockets import api_url, inject_socket, listen, listen_inside, local_url, name_of
from mta.runtime.webhook_watch import until_endpoints
from mta.runtime.wiring.node import open_node
from mta.runtime.wiring.shared_memory import worker_memory

log = logging.getLogger(__name__)

_CLOSES: Final = 5.0  # seconds beyond the drain timeout that a worker has to end
_ENDS: Final = 15.0  # seconds that each of the others has to end: no delivery in flight waits there
_OTHERS: Final = ("api", "inject", "tracking", "sweeper", "webhooks", "journal")  # in the order in which they end
_PROGRAMS: Final = {
    "worker": "mta.runtime.worker",
    "sweeper": "mta.runtime.sweeper",
    "journal": "mta.runtime.journal",
    "api": "control_api",
    "inject": "control_api.injection",
    "tracking": "control_api.tracking",
    "webhooks": "mta.runtime.webhooks",
}
_LAST_LOOKS: Final = 5.0  # seconds that the watches have to end


def _parts(settings: Settings) -> list[str]:
    """The kinds of processes of the node that its roles ask for, in the order in which they start."""
    roles = settings.node.roles
    has = {
        "worker": "smtp" in roles or "delivery" in roles,
        "sweeper": "delivery" in roles,
        "journal": "journal" in roles,
        "api": "api" in roles,
        "inject": "api" in roles,
        "tracking": settings.tracks,
    }
    return [part for part, is_there in has.items() if is_there]


def _starts_when_asked(part: str, settings: Settings) -> bool:
    """Whether it starts with the first client only."""
    return part == "inject" and not settings.api.inject_listen


def first_programs(settings: Settings) -> list[str]:
    """The modules of the processes that the node starts at once."""
    return [_PROGRAMS[part] for part in _parts(settings) if not _starts_when_asked(part, settings)]


class Supervisor:
    """The supervisor of one node, whose data folder this process holds."""

    def __init__(self, settings: Settings, folder: DataDir, reload: Callable[[], Settings], forks: ForkClient) -> None:
        self._settings = settings
        self._forks = forks
        self._folder = folder
        self._reload = reload
        self._embedded = EmbeddedServer(folder.path) if settings.redis.url == "embedded" else None
        self._redis_url = self._embedded.url if self._embedded else settings.redis.url
        self._smtp: list[socket.socket] = []
        self._api: list[socket.socket] = []
        self._inject: list[socket.socket] = []  # the first is for the API of this node, the others for clients
        self._tracking: list[socket.socket] = []
        self._processes: list[tuple[str, Process]] = []
        self._store: NodeStore | None = None
        self._lost = ""  # why another node has this one's name
        self._room = Room(settings)
        self._stop = asyncio.Event()

    async def run(self) -> None:
        """Run the node until SIGTERM or SIGINT. Raises SettingsError, StoreUnsafe: the node cannot start; SettingsError
        also when another node takes its name."""
        loop = asyncio.get_running_loop()
        for name in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(name, self._stop.set)
        _check_files(self._settings)
        warn_of_few_descriptors(self._settings, raise_descriptor_limit())
        self._bind()
        self._turn_away = TurnAway(self._smtp, WorkerLoads.alone())
        self._turn_away.start()
        watches: list[asyncio.Task[None]] = []
        try:
            if self._embedded is not None:
                await self._embedded.start()
                watches.append(loop.create_task(keep_running(self._embedded, self._room)))
            store = await self._open_store()
            watches.append(loop.create_task(store.watch()))
            watches += (loop.create_task(self._hold_name(store)), loop.create_task(watch_host_clock()))
            self._turn_away.stop()  # each worker has one of its own, until it takes mail
            self._start_processes(store)
            watches.append(loop.create_task(self._serve_webhooks(store)))
            loop.add_signal_handler(signal.SIGHUP, lambda: loop.create_task(self._hang_up()))
            await self._wait_ready()
            if not self._stop.is_set():
                self._say_ready()
            await self._stop.wait()
        finally:
            notify_systemd("STOPPING=1")
            self._turn_away.stop()
            self._folder.forget_api_url()
            await self._drain()
            await _end(watches)
            await self._forks.close()
            if self._store is not None:
                await self._store.say_goodbye()
                await self._store.close()
            if self._embedded is not None:
                await self._embedded.stop()
        if self._lost:
            raise SettingsError(self._lost)

    def _bind(self) -> None:
        """Sockets bound here outlive the workers: a worker that starts again finds connections waiting."""
        roles = self._settings.node.roles
        if "smtp" in roles:
            self._smtp = [listen(address, "smtp.listen") for address in self._settings.smtp.listen]
        if "api" in roles:
            self._api = [listen(self._settings.api.listen, "api.listen")]
            self._inject = [listen_inside(inject_socket(self._settings))]
            self._inject += [listen(address, "api.inject_listen") for address in self._settings.api.inject_listen]
        if self._settings.tracks:
            self._tracking = [listen(self._settings.tracking.listen, "tracking.listen")]

    async def _open_store(self) -> NodeStore:
        adapters = await open_node(self._settings, self._redis_url, self._stop)
        self._store = NodeStore(adapters, lambda: self._settings, self._redis_url, self._folder, self._room, self._pids)
        await self._store.prepare(self._stop)
        return self._store

    async def _hold_name(self, store: NodeStore) -> None:
        self._lost = await store.hold_name()
        log.critical("%s", self._lost)
        self._stop.set()

    def _reaped(self, store: NodeStore, load_slot: LoadSlot | None, pid: int) -> None:
        if load_slot is not None:
            WorkerLoads.at(load_slot).leave()
        store.give_up(pid)

    def _role(self, part: str) -> Role:
        if part == "worker":
            workers = self._settings.node.workers or os.cpu_count() or 1
            sockets = tuple(sock.fileno() for sock in self._smtp)
            slots = load_slots(workers) if sockets else ()
            return Role(_PROGRAMS[part], workers, sockets, slots, worker_memory())
        listening = {"api": self._api, "inject": self._inject, "tracking": self._tracking}.get(part, ())
        return Role(_PROGRAMS[part], 1, tuple(sock.fileno() for sock in listening))

    def _start_processes(self, store: NodeStore) -> None:
        for name in _parts(self._settings):
            role = self._role(name)
            for number in range(role.processes):
                load_slot = role.load_slots[number] if role.load_slots else None
                label = f"{name}-{number + 1}" if role.processes > 1 else name
                boot, reaped = partial(self._boot, role, load_slot), partial(self._reaped, store, load_slot)
                process = Process(label, role, self._forks, boot, reaped, self._settings.delivery.lease)
                if _starts_when_asked(name, self._settings):
                    start_when_asked(process, self._inject[0])
                else:
                    process.start()
                self._processes.append((name, process))

    async def _serve_webhooks(self, store: NodeStore) -> None:
        """Start the process that serves webhooks once there are endpoints."""
        await until_endpoints(store.has_webhooks)
        role = Role(_PROGRAMS["webhooks"], 1)
        boot, reaped = partial(self._boot, role, None), partial(self._reaped, store, None)
        process = Process("webhooks", role, self._forks, boot, reaped, self._settings.delivery.lease)
        process.start()
        self._processes.append(("webhooks", process))

    def _of(self, role: str) -> list[Process]:
        return [process for name, process in self._processes if name == role]

    def _pids(self) -> set[int]:
        """Of the processes that run now."""
        return {process.pid for _, process in self._processes if process.pid is not None}

    def _boot(self, role: Role, load_slot: LoadSlot | None, heartbeat: int) -> bytes:
        return boot_line(self._settings, self._redis_url, role.sockets, load_slot, heartbeat, role.memory)

    async def _wait_ready(self) -> None:
        """Wait for all processes. The file with the API's URL is written as soon as the API listens, since it answers
        also while the node is not ready. Raises SettingsError."""

        async def all_ready() -> None:
            for name, process in sorted(self._processes, key=lambda one: one[0] != "api"):
                if process.has_begun:
                    await process.ready.wait()
                if name == "api":
                    self._folder.tell_api_url(local_url(self._api[0]))

        waits = {asyncio.ensure_future(all_ready()), asyncio.ensure_future(self._stop.wait())}
        done, _ = await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        for wait in done:
            wait.result()
        for wait in waits:
            wait.cancel()
        await asyncio.gather(*waits, return_exceptions=True)

    def _say_ready(self) -> None:
        line = {
            "event": "ready",
            "node": self._settings.node.name,
            "smtp": [name_of(sock) for sock in self._smtp],
            "api": api_url(self._api[0]) if self._api else None,
            "inject": [api_url(sock) for sock in self._inject[1:]] or None,
            "tracking": api_url(self._tracking[0]) if self._tracking else None,
            "redis": hide_password(self._redis_url),
            "pid": os.getpid(),
        }
        print(json.dumps({key: value for key, value in line.items() if value is not None}), flush=True)
        notify_systemd("READY=1")

    async def _hang_up(self) -> None:
        """SIGHUP: the journal reopens the log, and each process is replaced by one with the new settings."""
        for name, process in self._processes:
            if name == "journal":
                process.hang_up()
        try:
            settings = self._reload()
            _check_files(settings)
            if settings.redis.lanes != self._settings.redis.lanes:
                raise SettingsError(
                    f"redis.lanes is {settings.redis.lanes} in the file, and the node runs with "
                    f"{self._settings.redis.lanes}: it changes only while no node runs"
                )
        except SettingsError as error:
            log.error("settings are kept as they are: %s", "; ".join(error.faults))
            return
        if settings == self._settings:
            log.info("the delivery log was reopened; settings are unchanged")
            return
        self._settings = settings
        for _, process in self._processes:
            if process.has_begun:
                await process.replace()
        log.info("the delivery log was reopened, settings are reloaded; listen addresses change with a restart only")

    async def _drain(self) -> None:
        """Drain the workers first and the journal last, so that it writes the events of everything they still settled.
        The sweeper drains from the beginning on: it is niced, and gets little of a busy machine."""
        for sock in self._smtp:  # the workers close their copies, too, and new clients are refused
            sock.close()
        whole = self._settings.node.drain_timeout + _CLOSES
        for process in self._of("sweeper"):
            process.drain()
        for role, seconds in (("worker", whole), *((role, _ENDS) for role in _OTHERS)):
            for process in self._of(role):
                process.drain()
            await asyncio.gather(*(process.gone(seconds) for process in self._of(role)))
        for sock in (*self._api, *self._inject, *self._tracking):
            sock.close()


async def _end(watches: list[asyncio.Task[None]]) -> None:
    """Cancel the watches; one that does not end must not keep the node from ending."""
    for watch in watches:
        watch.cancel()
    if watches:
        _, left = await asyncio.wait(watches, timeout=_LAST_LOOKS)
        for watch in left:
            log.error("%s does not end; the node ends without it", watch.get_name())


def _check_files(settings: Settings) -> None:
    """Raises SettingsError."""
    if "journal" in settings.node.roles:
        check_log(settings.journal.log_path)
    if faults := faults_of_files(settings):
        raise SettingsError(*faults)
