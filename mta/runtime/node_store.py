"""The supervisor's work on the store: it prepares and watches the store, and gives up the claims of dead processes."""

import asyncio
import os
from collections.abc import Callable, Collection
from typing import Final

from mta.model.errors import StoreError
from mta.model.settings import Settings
from mta.ports.journal import RULES_LANE
from mta.runtime.admin_token import admin_token
from mta.runtime.compaction import Compaction
from mta.runtime.data_dir import DataDir
from mta.runtime.host_clock import take_time_of
from mta.runtime.journal_name import journal_name
from mta.runtime.key_watch import KeyWatch
from mta.runtime.node_name import NodeName, history_place
from mta.runtime.room import Room
from mta.runtime.rule_watch import RuleWatch
from mta.runtime.store_identity import StoreIdentity
from mta.runtime.store_watch import StoreWatch
from mta.runtime.wiring.node import NodeAdapters
from mta.runtime.wiring.opening import patiently
from mta.timing.backoff import Backoff

_LAST_WORDS: Final = 5.0  # seconds for the goodbye of the node and of its last processes
_TRIES: Final = 60  # to give up the claims and lanes of a dead process
_FIRST_PAUSE, _LAST_PAUSE = 0.1, 5.0  # seconds between them


class NodeStore:
    """The store of one node, from the node's start to its goodbye."""

    def __init__(
        self,
        store: NodeAdapters,
        settings: Callable[[], Settings],
        url: str,
        folder: DataDir,
        room: Room,
        pids: Callable[[], Collection[int]],
    ) -> None:
        """`settings` are those of now; `pids` are those of the processes that the supervisor runs now."""
        self._store = store
        self._settings = settings
        self._folder = folder
        self._is_local = url.startswith("unix://")
        node = settings().node
        self._name = NodeName(
            store.names, node.name, folder.identity, node.data_dir, settings().delivery.lease,
            history_place(settings().history.url),
        )  # fmt: skip
        self._has_name = False
        self._identity = StoreIdentity(store.foundation, folder.path / "store.id", node.name, self._write)
        keys = KeyWatch(store.load, lambda: settings().messages.idempotency_memory)
        looks = [RuleWatch(store.sessions, node.name, pids).look, keys.look]
        if settings().redis.url == "embedded":
            looks.append(Compaction(store.append_file, room).look)
        self._watch = StoreWatch(store.health, url, room, self._identity, looks)
        self._giving_up: set[asyncio.Task[None]] = set()

    async def prepare(self, stop: asyncio.Event) -> None:
        """Raises SettingsError: another living node has the name, or another history.url, or `stop` was set;
        StoreAway."""
        await patiently(lambda: take_time_of(self._store.clock), stop)
        await patiently(lambda: self._name.take(stop), stop)
        self._has_name = True
        await patiently(lambda: self._name.agree(stop), stop)
        await patiently(self._write, stop)
        await patiently(self._identity.begin, stop)
        if self._is_local:
            await patiently(lambda: self._give_up_sessions(lambda pid: not _alive(pid)), stop)

    async def _write(self) -> None:
        """Write what this node keeps in a store: the settings of the cluster, and its token. Raises StoreError."""
        settings = self._settings()
        await self._store.write_settings(settings)
        if settings.history.url == "sqlite" and "journal" in settings.node.roles:
            await self._store.hold_history(settings.node.name, self._folder.identity)
        # Under a name that no other living node has, so that no token replaces another's.
        await self._store.put_admin_token(settings.node.name, admin_token(self._folder.path))

    async def watch(self) -> None:
        """Until cancelled."""
        await self._watch.run()

    async def has_webhooks(self) -> bool:
        """Whether this node has endpoints of webhooks to serve. Raises StoreError."""
        return await self._store.webhooks_here(self._settings())

    async def hold_name(self) -> str:
        """Until another living node is found to use the name; the sentence that says so."""
        return await self._name.hold()

    def give_up(self, pid: int) -> None:
        """The process has ended: others get its claims and lanes now, not when its leases run out."""
        task = asyncio.get_running_loop().create_task(self._give_up(pid))
        self._giving_up.add(task)
        task.add_done_callback(self._giving_up.discard)

    async def _give_up(self, pid: int) -> None:
        backoff = Backoff(_FIRST_PAUSE, _LAST_PAUSE)
        for _ in range(_TRIES):
            try:
                await self._give_up_sessions(lambda of: of == pid)
                await self._give_up_lanes(pid)
                return
            except StoreError:
                await asyncio.sleep(backoff.failed())

    async def _give_up_sessions(self, is_dead: Callable[[int], bool]) -> None:
        """Those of this node whose process has ended."""
        for name, state in (await self._store.sessions.sessions()).items():
            if state.node == self._settings().node.name and not state.dead and is_dead(state.pid):
                await self._store.sessions.mark_dead(name, None)

    async def _give_up_lanes(self, pid: int) -> None:
        """Those that the process had, if it was a journal."""
        outbox = self._store.outbox
        for lane in (*range(outbox.lanes), RULES_LANE):
            await outbox.release(lane, journal_name(self._settings().node.name, pid))

    async def say_goodbye(self) -> None:
        """For the last processes and for the node; a store that does not answer finds out by itself."""
        words = set(self._giving_up)
        if self._has_name:
            words.add(asyncio.create_task(self._name.leave()))
        if words:
            await asyncio.wait(words, timeout=_LAST_WORDS)

    async def close(self) -> None:
        await self._store.close()


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
