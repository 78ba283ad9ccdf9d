"""The supervisor: `floodgate node` as its processes see it; it starts them, restarts what dies, and drains them all."""

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
from mta.model.errors import SettingsError, StoreError
from mta.model.secret_urls import hide_password
from mta.model.settings import Settings
from mta.ports.journal import RULES_LANE
from mta.redis_store.cluster_settings import ClusterSettings
from mta.redis_store.foundation import Foundation
from mta.redis_store.link import Link
from mta.redis_store.node_names import StoredNodeNames
from mta.redis_store.outbox import StoredOutbox
from mta.redis_store.rule_store import StoredRules
from mta.redis_store.session import StoreSession
from mta.runtime.admin_token import admin_token
from mta.runtime.child import boot_line
from mta.runtime.compaction import Compaction
from mta.runtime.data_dir import DataDir, check_log
from mta.runtime.descriptors import raise_descriptor_limit, warn_of_few_descriptors
from mta.runtime.embedded import EmbeddedServer
from mta.runtime.embedded_watch import keep_running
from mta.runtime.host_clock import take_time_of, watch_host_clock
from mta.runtime.node_name import NodeName
from mta.runtime.notify import notify_systemd
from mta.runtime.processes import Process, Role
from mta.runtime.room import Room
from mta.runtime.rule_watch import RuleWatch
from mta.runtime.sockets import api_url, listen, local_url, name_of
from mta.runtime.store_identity import StoreIdentity
from mta.runtime.store_watch import StoreWatch
from mta.runtime.wiring import journal_name, open_link, patiently

log = logging.getLogger(__name__)

_STORE_AWAY: Final = 60.0  # seconds that a starting node waits for its store; then systemd, or a person, sees it fail
_CLOSES: Final = 5.0  # seconds beyond the drain timeout that a worker has to end
_ENDS: Final = 15.0  # seconds that each of the others has to end: no delivery in flight waits there
_LAST_LOOKS: Final = 5.0  # seconds that the watches have to end, and as many for the goodbye


class Supervisor:
    """One node, whose data folder this process holds."""

    def __init__(self, settings: Settings, folder: DataDir, reload: Callable[[], Settings]) -> None:
        self._settings = settings
        self._folder = folder
        self._reload = reload
        self._embedded = EmbeddedServer(folder.path) if settings.redis.url == "embedded" else None
        self._redis_url = self._embedded.url if self._embedded else settings.redis.url
        self._smtp: list[socket.socket] = []
        self._api: list[socket.socket] = []
        self._processes: list[tuple[str, Process]] = []
        self._link: Link | None = None
        self._name: NodeName | None = None
        self._lost = ""  # why another node has this one's name
        self._rules: StoredRules | None = None
        self._outbox: StoredOutbox | None = None
        self._store_watch: StoreWatch | None = None
        self._room = Room(settings)
        self._stop = asyncio.Event()
        self._reaping: set[asyncio.Task[None]] = set()

    async def run(self) -> None:
        """Until SIGTERM or SIGINT. Raises SettingsError, StoreUnsafe: it cannot start, or another node has its name."""
        loop = asyncio.get_running_loop()
        for name in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(name, self._stop.set)
        _check_log(self._settings)
        warn_of_few_descriptors(self._settings, raise_descriptor_limit())
        self._bind()
        self._turn_away = TurnAway(self._smtp, WorkerLoads.alone())
        self._turn_away.start()
        watches: list[asyncio.Task[None]] = []
        try:
            if self._embedded is not None:
                await self._embedded.start()
                watches.append(loop.create_task(keep_running(self._embedded, self._room)))
            await self._prepare_store()
            assert self._store_watch is not None
            watches.append(loop.create_task(self._store_watch.run()))
            watches += (loop.create_task(self._hold_name()), loop.create_task(watch_host_clock()))
            self._turn_away.stop()  # each worker has one of its own, until it takes mail
            self._start_processes()
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
            await self._say_goodbye()
            if self._link is not None:
                await self._link.close()
            if self._embedded is not None:
                await self._embedded.stop()
        if self._lost:
            raise SettingsError(self._lost)

    def _bind(self) -> None:
        """Sockets outlive the processes that use them: a restarted one finds its connections waiting."""
        roles = self._settings.node.roles
        if "smtp" in roles:
            self._smtp = [listen(address, "smtp.listen") for address in self._settings.smtp.listen]
        if "api" in roles:
            self._api = [listen(self._settings.api.listen, "api.listen")]

    async def _recognise_store(self, cluster: ClusterSettings) -> None:
        """Store this node's token, and learn which store it is. Raises StoreError."""
        assert self._link is not None
        node = self._settings.node.name

        async def prepare() -> None:
            await cluster.open(self._settings.rules.max_staleness, self._settings.redis.lanes)
            # Under a name that no other living node has, so that no token replaces another's.
            await cluster.put_token(f"admin:{node}", admin_token(self._folder.path))

        await patiently(prepare, self._stop)
        identity = StoreIdentity(Foundation(self._link), self._folder.path / "store.id", node, prepare)
        await patiently(identity.begin, self._stop)
        assert self._rules is not None
        looks = [RuleWatch(self._rules, node, self._pids).look]
        if self._embedded is not None:
            looks.append(Compaction(self._link, self._room).look)
        self._store_watch = StoreWatch(self._link, self._redis_url, self._room, identity, looks)

    async def _prepare_store(self) -> None:
        self._link = await open_link(self._settings, self._redis_url, self._stop, limit=_STORE_AWAY)
        cluster = ClusterSettings(self._link)
        settings = self._settings
        await patiently(lambda: cluster.open(settings.rules.max_staleness, settings.redis.lanes), self._stop)
        await patiently(lambda: take_time_of(cluster), self._stop)
        node = self._settings.node
        name = NodeName(
            StoredNodeNames(self._link), node.name, self._folder.identity, node.data_dir, self._settings.delivery.lease
        )
        await patiently(lambda: name.take(self._stop), self._stop)
        self._name = name
        session = StoreSession(node.name, "supervisor", ())
        self._outbox = StoredOutbox(self._link, cluster.lanes)
        self._rules = StoredRules(
            self._link,
            session,
            cluster.lanes,
            cluster.max_staleness,
            self._settings.rules.max_rules,
            self._settings.status.retention,
        )
        await self._recognise_store(cluster)
        if self._redis_url.startswith("unix://"):
            await patiently(lambda: self._bury_the_dead(lambda pid: not _alive(pid)), self._stop)

    async def _hold_name(self) -> None:
        assert self._name is not None
        self._lost = await self._name.hold()
        log.critical("%s", self._lost)
        self._stop.set()

    async def _bury_the_dead(self, is_dead: Callable[[int], bool]) -> None:
        """Sessions of this node whose process is no more are given up now, not when their lease runs out."""
        assert self._rules is not None
        for name, state in (await self._rules.sessions()).items():
            if state.node == self._settings.node.name and not state.dead and is_dead(state.pid):
                await self._rules.mark_dead(name, None)

    async def _free_lanes(self, pid: int) -> None:
        """A dead journal's lanes are its successor's now, not when their lease runs out."""
        assert self._outbox is not None
        for lane in (*range(self._outbox.lanes), RULES_LANE):
            await self._outbox.release(lane, journal_name(self._settings.node.name, pid))

    def _reaped(self, load_slot: LoadSlot | None, pid: int) -> None:
        if load_slot is not None:
            WorkerLoads.at(load_slot).leave()

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
            table["worker"] = Role("mta.runtime.worker", workers, sockets, load_slots(workers) if sockets else ())
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
                load_slot = role.load_slots[number] if role.load_slots else None
                label = f"{name}-{number + 1}" if role.processes > 1 else name
                boot, reaped = partial(self._boot, role, load_slot), partial(self._reaped, load_slot)
                process = Process(label, role, boot, reaped, self._settings.delivery.lease)
                process.start()
                self._processes.append((name, process))

    def _of(self, role: str) -> list[Process]:
        return [process for name, process in self._processes if name == role]

    def _pids(self) -> set[int]:
        """Of the processes that run now."""
        return {process.pid for _, process in self._processes if process.pid is not None}

    def _boot(self, role: Role, load_slot: LoadSlot | None, heartbeat: int) -> bytes:
        return boot_line(self._settings, self._redis_url, role.sockets, load_slot, heartbeat)

    async def _wait_ready(self) -> None:
        """The API's URL is told as soon as the API listens: it answers also while the node is not ready. Raises
        SettingsError."""

        async def all_ready() -> None:
            for name, process in sorted(self._processes, key=lambda one: one[0] != "api"):
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
            "redis": hide_password(self._redis_url),
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
            _check_log(settings)
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
            await process.replace()
        log.info("the delivery log was reopened, settings are reloaded; listen addresses change with a restart only")

    async def _drain(self) -> None:
        """Intake and delivery first; the journal last, so that it writes what they still settled. The sweeper has from
        the beginning on, since it may get little of a busy machine."""
        for sock in self._smtp:  # with the workers' copies: new clients go elsewhere now
            sock.close()
        whole = self._settings.node.drain_timeout + _CLOSES
        for process in self._of("sweeper"):
            process.drain()
        for role, seconds in (("worker", whole), ("api", _ENDS), ("sweeper", _ENDS), ("journal", _ENDS)):
            for process in self._of(role):
                process.drain()
            await asyncio.gather(*(process.gone(seconds) for process in self._of(role)))
        for sock in self._api:
            sock.close()

    async def _say_goodbye(self) -> None:
        """For the last processes and for the node; a store that does not answer learns it by itself."""
        words = set(self._reaping)
        if self._name is not None:
            words.add(asyncio.create_task(self._name.leave()))
        if words:
            await asyncio.wait(words, timeout=_LAST_LOOKS)


async def _end(watches: list[asyncio.Task[None]]) -> None:
    """Cancel them; none of them keeps the node from ending."""
    for watch in watches:
        watch.cancel()
    if watches:
        _, left = await asyncio.wait(watches, timeout=_LAST_LOOKS)
        for watch in left:
            log.error("%s does not end; the node ends without it", watch.get_name())


def _check_log(settings: Settings) -> None:
    if "journal" in settings.node.roles:
        check_log(settings.journal.log_path)


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
