"""The supervisor's watch over the store and the disk: it logs each trouble once, and once that the trouble is over."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import Final

from mta.model.errors import StoreError
from mta.ports.store_health import StoreHealth
from mta.runtime.room import Room, Space
from mta.runtime.store_identity import StoreIdentity
from mta.runtime.store_probe import State, StoreProbe, Trouble
from mta.runtime.wiring.opening import address_of

log = logging.getLogger(__name__)

_EVERY: Final = 1.0  # seconds
_AGAIN: Final = 0.25  # seconds between questions until the store has been away for `_SURE`
_SURE: Final = 1.0  # seconds that the store must be away before it is logged: one reset connection is no outage
_PATIENCE: Final = 1.0  # seconds that an answer may take

_WORDS: Final = {
    State.AWAY: ("does not answer (%s): no mail is taken or delivered until it does", "answers again"),
    State.READ_ONLY: ("takes no writes (%s): no mail is taken or delivered until it does", "takes writes again"),
    State.UNSAFE: ("is unsafe: %s; no mail is taken until that is put right", "is safe again"),
    State.UNUSABLE: ("cannot be used: %s; no mail is taken or delivered until it can", "can be used again"),
}


class StoreWatch:
    """Looks once a second; one line in the log for each change."""

    def __init__(
        self,
        store: StoreHealth,
        url: str,
        room: Room,
        identity: StoreIdentity,
        looks: Sequence[Callable[[], Awaitable[None]]],
    ) -> None:
        """`url` names the store in the log, without its password; `looks` are taken each time that the store is well,
        and may raise StoreError."""
        self._room = room
        self._short: Space | None = None
        self._store = store
        self._probe = StoreProbe(store)
        self._name = address_of(url)
        self._identity = identity
        self._looks = looks
        self._told: Trouble | None = None
        self._began = 0.0  # of the trouble, by the loop's clock

    async def run(self) -> None:
        """Until cancelled, and before the connection to the store is closed."""
        try:
            await self._watch()
        finally:
            await self._probe.close()

    async def _watch(self) -> None:
        while True:
            self._tell_room(self._room.look())
            trouble = await self._look()
            self._tell(trouble)
            if failover := self._store.take_failover():
                log.error("%s", failover)
            if trouble is None:
                try:
                    await self._identity.look()
                    for look in self._looks:
                        await look()
                except StoreError as error:
                    log.debug("checks of the store wait until it answers: %s", error)
            await asyncio.sleep(_EVERY)

    async def _look(self) -> Trouble | None:
        """The trouble, once it is sure: an outage that just began may be over at the next question."""
        now = asyncio.get_running_loop().time
        began = now()
        while (trouble := await self._probe.ask(_PATIENCE)) is not None:
            if trouble.state is not State.AWAY or self._told is not None or now() - began >= _SURE:
                break
            await asyncio.sleep(_AGAIN)
        if trouble is not None and self._told is None:
            self._began = began
        return trouble

    def _tell_room(self, short: Space | None) -> None:
        if short is not None and self._short is None:
            log.error("no space left in %s; no mail is taken until there is more", short)
        elif short is None and self._short is not None:
            log.warning("there is space again in %s: mail is taken", self._short.folder)
        self._short = short

    def _tell(self, trouble: Trouble | None) -> None:
        told = self._told
        if trouble is None and told is not None:
            seconds = asyncio.get_running_loop().time() - self._began
            log.warning("the store at %s %s after %.1f s", self._name, _WORDS[told.state][1], seconds)
        elif trouble is not None and (told is None or _differ(told, trouble)):
            log.error(f"the store at %s {_WORDS[trouble.state][0]}", self._name, trouble.detail)
        self._told = trouble


def _differ(one: Trouble, other: Trouble) -> bool:
    """Whether the second is worth a line: a store that is away gives one reason after the other."""
    return one.state is not other.state or (one.state is not State.AWAY and one.reason != other.reason)
