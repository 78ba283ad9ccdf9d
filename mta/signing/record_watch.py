"""Looks at the DNS records of keys: often while a key is pending, seldom while it is active. One process of the cluster
does it."""

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

from mta.model.dkim_keys import DkimKey, KeyState
from mta.model.errors import SealError, StoreError, severity
from mta.ports.dkim import DkimKeys, RecordLooks
from mta.signing.key_book import KeyBook
from mta.timing.alarm import Alarm

log = logging.getLogger(__name__)

_ROUND: Final = 5.0  # seconds between two rounds
_LEASE: Final = 15.0  # seconds until another process takes over
_TOGETHER: Final = 50  # looks at a time: they end before the lease does
_PENDING: Final = 15.0  # seconds between two looks at a pending key
_PATIENCE: Final = 600.0  # seconds after which they become fewer
_LONG_PENDING: Final = 300.0
_ACTIVE: Final = 3600.0  # seconds between two looks at an active key


class _Seen(NamedTuple):
    """A key as the watch knows it; times are of its clock."""

    met: float
    looked: float
    shown: bool  # whether the last look found the record


class RecordWatch:
    """One kind of work of the sweeper process."""

    def __init__(
        self,
        book: KeyBook,
        store: DkimKeys,
        looks: RecordLooks,
        owner: str,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`store` gives hints of changes; `owner` names this process in the store; `clock` gives seconds."""
        self._book = book
        self._looks = looks
        self._owner = owner
        self._clock = clock
        self._alarm = Alarm()
        self._stopping = False
        store.on_change(self._alarm.ring)
        self._seen: dict[tuple[str, str], _Seen] = {}  # by id and public part: a removed key may come back as another

    async def run(self) -> None:
        while not self._stopping:
            try:
                if await self._looks.lead(self._owner, _LEASE):
                    await self.round()
            except (StoreError, SealError) as error:
                log.log(severity(error), "the DNS records of DKIM keys are not looked at: %s", error)
            await self._alarm.sleep(_ROUND)

    def stop(self) -> None:
        self._stopping = True
        self._alarm.ring()

    async def round(self) -> None:
        """Look at the records that are due. Raises StoreError."""
        keys = await self._book.keys()
        for key in await self._book.tidy(keys):
            log.info("the DKIM key %s has retired for good; its record may leave DNS", key.name)
        due = self._due(keys)
        while due and not self._stopping and await self._looks.lead(self._owner, _LEASE):
            some, due = due[:_TOGETHER], due[_TOGETHER:]
            await asyncio.gather(*(self._look(key) for key in some))

    def _due(self, keys: Sequence[DkimKey]) -> list[DkimKey]:
        now, due, known = self._clock(), [], self._seen
        self._seen = {}
        for key in keys:
            new = _Seen(now, float("-inf"), True)
            seen = self._seen[key.id, key.public] = known.get((key.id, key.public), new)
            if key.state is not KeyState.RETIRED and now - seen.looked >= _pause(key, now - seen.met):
                self._seen[key.id, key.public] = seen._replace(looked=now)
                due.append(key)
        return due

    async def _look(self, key: DkimKey) -> None:
        found, look = await self._book.look(key)
        seen = self._seen[key.id, key.public]
        if key.state is KeyState.PENDING and found.state is KeyState.ACTIVE:
            log.info("the DKIM key %s is active: DNS shows its record", key.name)
        elif found.state is KeyState.ACTIVE and not look.shows and seen.shown:
            log.warning("mail is signed with the DKIM key %s, and receivers may not find it: %s", key.name, look.text)
        self._seen[key.id, key.public] = seen._replace(shown=look.shows)


def _pause(key: DkimKey, age: float) -> float:
    if key.state is KeyState.ACTIVE:
        return _ACTIVE
    return _PENDING if age < _PATIENCE else _LONG_PENDING
