"""The name of a node: one living node uses it, and each new start of the same data folder may take it at once.

A node that uses a name moves a number beside it. Another one judges by its own clock alone: if the number stands still
for longer than the lease, the node is dead.
"""

import asyncio
import logging
import os
import secrets
import socket
import time
from collections.abc import Callable
from typing import Final

from msgspec.structs import replace

from mta.model.errors import SettingsError, StoreError
from mta.ports.node_names import NodeEntry, NodeNames

log = logging.getLogger(__name__)

BEAT_EVERY: Final = 1.0  # seconds
_LIVES: Final = 5  # beats in which a living node moves its number
_LOOK_EVERY: Final = 0.25  # seconds, at a name that another node used


class NodeName:
    """This node's use of its name."""

    def __init__(
        self,
        names: NodeNames,
        name: str,
        identity: str,
        data_dir: str,
        lease: float,
        history: str,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`identity` is that of the data folder; `lease` in seconds; `history` as in NodeEntry."""
        self._names = names
        self._name = name
        self._lease = lease
        self._clock = clock
        self._mine = NodeEntry(identity, secrets.token_hex(8), 0, socket.gethostname(), data_dir, os.getpid(), history)
        self._seen = b""  # the entry that this node wrote last
        self._other = b""  # the entry of another node that stands in its place
        self._other_since = 0.0

    async def take(self, stop: asyncio.Event) -> None:
        """Wait until the name is free, and take it. Raises StoreError; SettingsError: another living node uses it, or
        `stop` was set."""
        told = False
        while not stop.is_set():
            raw, entry = await self._names.read(self._name)
            if not raw or (entry is not None and entry.identity == self._mine.identity) or self._is_dead(raw):
                if await self._write(raw):
                    return
                continue
            if told and raw != self._other:
                raise SettingsError(already_used(self._name, entry))
            if not told:
                told = True
                self._watch(raw)
                log.info(
                    "node.name: %s used the name last; looking for up to %.0f s whether it lives",
                    _described(self._name, entry), self._lease,
                )  # fmt: skip
            await asyncio.sleep(_LOOK_EVERY)
        raise SettingsError("stopped before the node had its name")

    async def agree(self, stop: asyncio.Event) -> None:
        """All living nodes keep their history in one place. Raises StoreError; SettingsError: another one does not."""
        for name in await self._names.names():
            raw, entry = await self._names.read(name)
            if name == self._name or entry is None or entry.history in ("", self._mine.history):
                continue
            end = self._clock() + _LIVES * BEAT_EVERY
            while self._clock() < end and not stop.is_set():
                await asyncio.sleep(_LOOK_EVERY)
                now, changed = await self._names.read(name)
                if now != raw and changed is not None:
                    raise SettingsError(
                        f"history.url: {_described(name, changed)} runs with {_quoted(changed.history)}, and this node "
                        f"({self._name!r}) has {_quoted(self._mine.history)}; give all nodes the same URL"
                    )
                if not now:
                    break

    async def hold(self) -> str:
        """Move the number until another living node is found to use the name; answers the sentence that says so."""
        while True:
            await asyncio.sleep(BEAT_EVERY)
            try:
                if not await self._write(self._seen) and (lost := await self._find_out()):
                    return lost
            except StoreError as error:
                self._other = b""  # only the time for which it was watched counts
                log.debug("node.name: the store cannot be asked: %s", error)

    async def leave(self) -> None:
        """Free the name, so that the next node of this name need not wait."""
        try:
            if self._seen and await self._names.write(self._name, self._seen, None) is None:
                raw, entry = await self._names.read(self._name)
                if entry is not None and entry.run == self._mine.run:  # a write of this node whose answer was lost
                    await self._names.write(self._name, raw, None)
        except StoreError as error:
            log.debug("node.name: the entry stays in the store: %s", error)

    async def _write(self, seen: bytes) -> bool:
        self._mine = replace(self._mine, beat=self._mine.beat + 1)
        written = await self._names.write(self._name, seen, self._mine)
        if written is not None:
            self._seen, self._other = written, b""
        return written is not None

    async def _find_out(self) -> str:
        """Find out why the entry is not as this node wrote it. Answers why this node must end, "" = it need not."""
        raw, entry = await self._names.read(self._name)
        if not raw or (entry is not None and entry.run == self._mine.run):
            self._seen = raw  # the store lost it, or an answer was lost
        elif self._other and raw != self._other:
            return f"node.name: {_described(self._name, entry)} runs, too; this node ends"
        elif not self._other:
            self._watch(raw)
        elif self._is_dead(raw):
            self._seen = raw
        return ""

    def _watch(self, raw: bytes) -> None:
        self._other, self._other_since = raw, self._clock()

    def _is_dead(self, raw: bytes) -> bool:
        return raw == self._other and self._clock() - self._other_since > self._lease


def history_place(url: str) -> str:
    """`history.url` as other nodes may read it."""
    if not url:
        return "off"
    scheme, colon, rest = url.partition("://")
    return f"{scheme}{colon}{rest.rpartition('@')[2].partition('?')[0]}"


def _quoted(place: str) -> str:
    return '""' if place == "off" else f'"{place}"'


def already_used(name: str, entry: NodeEntry | None) -> str:
    """The sentence that says why a node of this name does not start."""
    return f"node.name: {_described(name, entry)} is running; give this node a name of its own"


def _described(name: str, entry: NodeEntry | None) -> str:
    if entry is None:
        return f"another node called {name!r}"
    return f"another node called {name!r} (host {entry.host}, process {entry.pid}, data in {entry.data_dir})"
