"""Waiting mail in the order in which it is due, and the steps that change where and when it waits."""

from collections.abc import Sequence
from functools import partial
from typing import Final

from mta.model.entries import framed
from mta.model.mail import QueueKey, QueueShare, Record
from mta.model.shares import place_of, split_place, split_share
from mta.ports.queue_work import ClaimedDelivery, MailSelection, PagePlace, PoolChange
from mta.ports.sweeps import WaitingDelivery
from mta.redis_store import codec, keys
from mta.redis_store.each_lane import each_lane
from mta.redis_store.link import Link
from mta.redis_store.steps.queue_work import Batch
from mta.redis_store.sweep_store import StoredSweeps, queued

_RECORDS_AT_ONCE: Final = 500  # in one command
_SHARES_AT_ONCE: Final = 20  # of a queue, in one step


class StoredQueueWork:
    """Fulfils ports.queue_work.QueueWorkStore."""

    def __init__(self, link: Link, lanes: int, sweeps: StoredSweeps) -> None:
        self._link = link
        self._lanes = range(lanes)
        self._sweeps = sweeps

    async def queues(self, selection: MailSelection) -> list[QueueShare]:
        pools = await self._sweeps.pools() if selection.pool is None else [selection.pool]
        found: set[QueueShare] = set()
        for pool in pools:
            if selection.domain is None:
                for queues in await each_lane(self._lanes, partial(self._queues_in, pool)):
                    found.update(queues)
            else:
                found |= await self._of_domain(QueueKey(pool, selection.domain))
        return sorted(of for of in found if selection.tenant in (None, split_share(of.share)[0]))

    async def _queues_in(self, pool: str, lane: int) -> list[QueueShare]:
        return await self._sweeps.queues(lane, pool)

    async def _of_domain(self, queue: QueueKey) -> set[QueueShare]:
        """The shares in which one queue has mail: no other domain of the pool is looked at."""

        async def shares_in(lane: int) -> list[str]:
            prefix = keys.lane_prefix(lane)
            names = await self._link.quick("SMEMBERS", keys.shares_key(prefix, queue.pool.encode()))
            shares = ["", *(name.decode() for name in names)]
            there = []
            for share in shares:
                agenda = keys.agenda_key(prefix, place_of(queue.pool, share).encode())
                there.append(await self._link.quick("ZSCORE", agenda, queue.domain) is not None)
            return [share for share, has_mail in zip(shares, there, strict=True) if has_mail]

        found = await each_lane(self._lanes, shares_in)
        return {QueueShare(queue, share) for shares in found for share in shares}

    async def behind(self, place: PagePlace, shares: Sequence[str], most: int) -> list[WaitingDelivery]:
        queue = place.queue

        async def of_lane(lane: int) -> list[WaitingDelivery]:
            prefix, found = keys.lane_prefix(lane), []
            for at in range(0, len(shares), _SHARES_AT_ONCE):
                some = shares[at : at + _SHARES_AT_ONCE]
                step_keys = [prefix + b"lane", prefix + b"rec"]
                step_keys += [
                    keys.due_key(prefix, place_of(queue.pool, share).encode(), queue.domain.encode()) for share in some
                ]
                args: list[bytes | str | int] = [most, place.due_at, place.id]
                for share, rows in zip(some, await self._link.call(b"waiting_behind", step_keys, args), strict=True):
                    found += queued([b"", *rows], QueueShare(queue, share))[0]
            return found

        whole = [one for lane in await each_lane(self._lanes, of_lane) for one in lane]
        return sorted(whole, key=lambda one: (one.due_at, one.id))[:most]

    async def claimed(self) -> list[ClaimedDelivery]:
        sessions = await self._link.command("HKEYS", keys.RULES_SESSIONS)

        async def of_lane(lane: int) -> list[ClaimedDelivery]:
            prefix, found = keys.lane_prefix(lane), []
            for session in sessions:
                answer = await self._link.command("HGETALL", keys.claimed_key(prefix, session))
                for at in range(0, len(answer), 2 * _RECORDS_AT_ONCE):
                    some = answer[at : at + 2 * _RECORDS_AT_ONCE]
                    records = await self._link.command("HMGET", prefix + b"rec", *some[::2])
                    found += [
                        ClaimedDelivery(_queue_of(claim), record)
                        for claim, raw in zip(some[1::2], records, strict=True)
                        if (record := _readable(raw)) is not None
                    ]
            return found

        return [one for lane in await each_lane(self._lanes, of_lane) for one in lane]

    async def make_due(self, lane: int, queue: QueueShare, now: int, some: Sequence[WaitingDelivery]) -> int:
        prefix = keys.lane_prefix(lane)
        step_keys = [prefix + b"lane", *keys.queue_keys(prefix, queue.queue, queue.share)]
        place = place_of(queue.queue.pool, queue.share)
        return int(
            await self._link.call(b"make_due", step_keys, [now, place, queue.queue.domain, *(one.id for one in some)])
        )

    async def change_pool(
        self, lane: int, pause: str, generation: int, to_pool: str, of: QueueShare, some: Sequence[PoolChange]
    ) -> int | None:
        prefix, (queue, share) = keys.lane_prefix(lane), of
        step_keys = [prefix + name for name in (b"lane", b"rec", b"events", b"pools")]
        if pause:
            step_keys.append(keys.held_key(prefix, pause.encode()))
        else:
            step_keys += keys.queue_keys(prefix, queue, share)
            step_keys += keys.queue_keys(prefix, QueueKey(to_pool, queue.domain), share)
        batch = Batch(
            generation=generation,
            pause=pause,
            place=place_of(queue.pool, share),
            domain=queue.domain,
            to_pool=to_pool,
            to_place=place_of(to_pool, share),
            ids=codec.lua_texts([change.waiting.id for change in some]),
            raws=codec.lua_texts([change.waiting.raw for change in some]),
            changed=codec.lua_texts([codec.encode_record(change.record, change.waiting.reclaims) for change in some]),
        )
        events = framed([change.event for change in some])
        count = int(await self._link.call(b"change_pool", step_keys, [codec.encode(batch), events]))
        return None if count < 0 else count


def _queue_of(claim: bytes) -> QueueKey:
    _, place, domain = claim.decode().split("|", 2)
    return QueueKey(split_place(place)[0], domain)


def _readable(raw: bytes | None) -> Record | None:
    try:
        return codec.decode_record(raw or b"")[1]
    except codec.UNREADABLE:
        return None
