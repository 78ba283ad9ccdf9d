"""The keys of the cluster as people order them: made, shown in DNS, active, retired, removed."""

import asyncio
from collections.abc import Callable, Sequence

from msgspec.structs import replace

from mta.content.dkim_pair import make_pair, read_pair
from mta.model.dkim_keys import DkimKey, KeyState, SealedKey, key_id
from mta.policy.dkim_record import verdict
from mta.ports.dkim import DkimKeys, RecordLook, RecordLooks
from mta.ports.dns_records import DnsRecords
from mta.ports.secrets import Sealer
from mta.signing.key_table import KeyTable
from mta.timing.clock import wall_ms


class KeyBook:
    """Fulfils ports.dkim.KeyOrders."""

    def __init__(
        self,
        store: DkimKeys,
        looks: RecordLooks,
        sealer: Sealer,
        dns: DnsRecords,
        *,
        clock: Callable[[], int] = wall_ms,
    ) -> None:
        """`clock` gives Unix ms."""
        self._store = store
        self._table = KeyTable(store)
        self._looks = looks
        self._sealer = sealer
        self._dns = dns
        self._clock = clock

    async def keys(self) -> Sequence[DkimKey]:
        keys = await self._table.look()
        return sorted(keys.values(), key=lambda key: (key.domain, key.selector))

    async def key(self, key_id: str) -> DkimKey | None:
        entry = await self._store.get(key_id)
        return None if entry is None else entry.key

    async def looks(self) -> dict[str, RecordLook]:
        return await self._looks.looks()

    async def add(self, wanted: DkimKey, private_key: str) -> DkimKey | None:
        if private_key:
            pair = read_pair(private_key, wanted.algorithm)
        else:
            pair = await asyncio.to_thread(make_pair, wanted.algorithm)
        new_id, now = key_id(wanted.domain, wanted.selector), self._clock()
        is_active = wanted.state is KeyState.ACTIVE
        key = replace(
            wanted, id=new_id, bits=pair.bits, public=pair.public, created_at=now, active_at=now if is_active else 0
        )
        sealed = await self._sealer.seal(pair.private, about(new_id))
        if not await self._store.put(SealedKey(key, sealed), None):
            return None
        if is_active:
            await self._retire(key)
        return key

    async def remove(self, key: DkimKey) -> None:
        await self._store.remove(key.id)
        await self._looks.forget(key.id)

    async def look(self, key: DkimKey) -> tuple[DkimKey, RecordLook]:
        found = await self._dns.texts(key.name)
        if found.failure:
            look = RecordLook(False, f"no usable answer about {key.name}: {found.failure}", self._clock())
        else:
            publishes, words = verdict(found.records, key)
            look = RecordLook(publishes, words, self._clock())
        await self._looks.note(key.id, look)
        if look.shows and key.state is KeyState.PENDING:
            key = await self._activated(key)
        return key, look

    async def _activated(self, key: DkimKey) -> DkimKey:
        """The key as it stands then. A change that came first wins."""
        entry = await self._store.get(key.id)
        if entry is None or entry.key.state is not KeyState.PENDING or entry.key.public != key.public:
            return key if entry is None else entry.key
        active = replace(entry, key=replace(entry.key, state=KeyState.ACTIVE, active_at=self._clock()))
        if not await self._store.put(active, entry):
            return key
        await self._retire(active.key)
        return active.key

    async def _retire(self, key: DkimKey) -> None:
        """The key that this active one replaces signs no more."""
        entry = await self._store.get(key.replaces) if key.replaces else None
        if entry is not None and entry.key.state is not KeyState.RETIRED:
            now = self._clock()
            retired = replace(entry, key=replace(entry.key, state=KeyState.RETIRED, retired_at=now))
            await self._store.put(retired, entry)

    async def tidy(self, keys: Sequence[DkimKey]) -> Sequence[DkimKey]:
        """End rotations that a process left unfinished, and drop retired keys whose mail has long arrived: these."""
        active = [key for key in keys if key.state is KeyState.ACTIVE and key.replaces]
        replaced = {key.id for key in keys if key.state is not KeyState.RETIRED}
        for key in active:
            if key.replaces in replaced:
                await self._retire(key)
        over = [key for key in keys if 0 < key.keep_until <= self._clock()]
        for key in over:
            await self.remove(key)
        return over


def about(of: str) -> str:
    """The words under which the private part of a key is sealed."""
    return f"dkim:{of}"
