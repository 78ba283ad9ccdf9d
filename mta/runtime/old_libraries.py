"""Libraries of atomic steps that old builds left in the store: one that no session has named for an hour is removed."""

import logging
import time
from collections.abc import Callable
from typing import Final, Protocol

from mta.model.errors import StoreError
from mta.model.rules import Build, SessionState
from mta.timing.alarm import Alarm

log = logging.getLogger(__name__)

UNUSED: Final = 3600.0  # seconds
_LOOK_EVERY: Final = 300.0  # seconds


class Libraries(Protocol):
    """The libraries of this program's builds on the store's servers; `current` is that of this build."""

    @property
    def current(self) -> str: ...
    async def names(self) -> set[str]: ...
    async def remove(self, name: str) -> None: ...


class Sessions(Protocol):
    """The sessions of the cluster, and the build that each runs."""

    async def builds(self) -> dict[str, Build]: ...
    async def sessions(self) -> dict[str, SessionState]: ...
    async def forget(self, session: str) -> None: ...


class OldLibraries:
    """It counts the hour on its own monotonic clock, from its start at the earliest. A process without a session may
    still call a library that was removed: that call loads it again."""

    def __init__(self, libraries: Libraries, sessions: Sessions, clock: Callable[[], float] = time.monotonic) -> None:
        self._libraries = libraries
        self._sessions = sessions
        self._clock = clock
        self._unused: dict[str, float] = {}  # library -> since when no session has named it
        self._stopping = False
        self._alarm = Alarm()

    async def run(self) -> None:
        """Until `stop`."""
        while not self._stopping:
            try:
                await self.look()
            except StoreError as error:
                log.info("looking for old libraries waits for the store: %s", error)
            await self._alarm.sleep(_LOOK_EVERY)

    def stop(self) -> None:
        self._stopping = True
        self._alarm.ring()

    async def look(self) -> None:
        """Remove the libraries whose hour is over. Raises StoreError: the next look goes on."""
        builds = await self._sessions.builds()  # before the sessions: a build is written together with its session
        sessions = await self._sessions.sessions()
        for session in builds.keys() - sessions.keys():
            await self._sessions.forget(session)
        used = {self._libraries.current} | {builds.get(session, Build()).library for session in sessions}
        now = self._clock()
        found = await self._libraries.names()
        self._unused = {name: self._unused.get(name, now) for name in found - used}
        for name, since in list(self._unused.items()):
            if now - since >= UNUSED:
                await self._libraries.remove(name)
                del self._unused[name]
                log.info("library %s of the store was removed: no process has named it for an hour", name)
