"""Idempotent calls beside the accept step: which session goes on with one that is not complete."""

from mta.model.idempotency import IdempotencyKey
from mta.ports.idempotency import KeptCall
from mta.redis_store import keys
from mta.redis_store.kept_calls import known_calls
from mta.redis_store.link import Link
from mta.redis_store.session import StoreSession


class StoredCallKeys:
    """Fulfils ports.idempotency.CallKeys for one session."""

    def __init__(self, link: Link, session: StoreSession, lanes: int) -> None:
        self._link = link
        self._session = session
        self._lanes = lanes

    async def look(self, key: IdempotencyKey) -> KeptCall | None:
        prefix = keys.lane_prefix(key.lane(self._lanes))
        stands = await self._link.quick("GET", keys.idem_key(prefix, key.name))
        return known_calls([b"KEYS", 0, stands or b"", 0]).calls[0]

    async def take(self, key: IdempotencyKey) -> tuple[KeptCall | None, bool]:
        prefix, session = keys.lane_prefix(key.lane(self._lanes)), self._session.id
        step_keys = [prefix + b"lane", prefix + b"ingest", keys.idem_key(prefix, key.name)]
        kept = known_calls(await self._link.call(b"take_call", step_keys, [session])).calls[0]
        return kept, kept is not None and kept.owner == session

    async def leave(self, key: IdempotencyKey) -> None:
        prefix = keys.lane_prefix(key.lane(self._lanes))
        step_keys = [prefix + b"lane", keys.idem_key(prefix, key.name)]
        await self._link.call(b"leave_call", step_keys, [self._session.id])
