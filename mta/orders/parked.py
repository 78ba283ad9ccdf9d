"""Parked mail as an operator works on it: a page of it, its release, its removal."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from itertools import groupby
from typing import Final

import msgspec

from mta.model.actor import Actor
from mta.model.endings import Final as FinalStatus
from mta.model.events import EventType, delivery_event, ordered
from mta.model.ids import lane_of
from mta.model.mail import Record
from mta.model.outcomes import NO_ATTEMPT, Class
from mta.policy.waiting_end import encoded_end
from mta.ports.messages import EndAnswer, Place, PlannedEnd, WaitingEnds
from mta.ports.parked import (
    ParkedDelivery,
    ParkedDone,
    ParkedPage,
    ParkedPlace,
    ParkedSelection,
    ParkedStore,
    PlannedDrop,
    PlannedRelease,
)
from mta.timing.clock import wall_ms

_PAGE: Final = 100
_LOOKED_AT: Final = 5000  # deliveries of one page of the list
_REST: Final = 0.5  # it rests for so many times the seconds that a step took
_UNREADABLE: Final = Record(sender="", recipient="", tags=(), size=0, accepted_at=0, expires_at=0)
_encode = msgspec.msgpack.Encoder().encode

_Work = Callable[
    [int, Sequence[ParkedDelivery]], Awaitable[list[ParkedDelivery]]
]  # of a lane; the deliveries that it has changed


class ParkedOrders:
    """Fulfils ports.parked.ParkedMail."""

    def __init__(self, store: ParkedStore, ends: WaitingEnds, node: str, wall: Callable[[], int] = wall_ms) -> None:
        """`node` is named in the events."""
        self._store = store
        self._ends = ends
        self._node = node
        self._wall = wall

    async def page(self, selection: ParkedSelection, behind: ParkedPlace | None, most: int) -> ParkedPage:
        place = behind or ParkedPlace()
        found: list[ParkedDelivery] = []
        looked = 0
        while looked < _LOOKED_AT:
            page = await self._store.behind(place, _PAGE)
            for one in page:
                place = ParkedPlace(one.since, one.id)
                if selection.has(one):
                    found.append(one)
                    if len(found) == most:
                        return ParkedPage(found, place)
            looked += len(page)
            if len(page) < _PAGE:
                return ParkedPage(found, None)
        return ParkedPage(found, place)

    async def release(self, selection: ParkedSelection, actor: Actor, rest: ParkedPlace, until: float) -> ParkedDone:
        async def some(lane: int, group: Sequence[ParkedDelivery]) -> list[ParkedDelivery]:
            now = self._wall()
            planned = [self._release(one, one.record, actor, now) for one in group if one.record is not None]
            went = await self._store.release(lane, now, planned) if planned else []
            return [one.parked for one, gone in zip(planned, went, strict=True) if gone]

        return await self._work(selection, rest, until, some, keeps_unreadable=True)

    async def remove(self, selection: ParkedSelection, actor: Actor, rest: ParkedPlace, until: float) -> ParkedDone:
        async def some(lane: int, group: Sequence[ParkedDelivery]) -> list[ParkedDelivery]:
            now, by = self._wall(), actor.author
            readable = [one for one in group if one.record is not None]
            ends = [self._end(one, one.record, by, now) for one in readable if one.record is not None]
            answers = await self._ends.end(lane, Class.CANCELED, now, ends, by) if ends else []
            gone = [one for one, said in zip(readable, answers, strict=True) if said is EndAnswer.ENDED]
            drops = [self._drop(one, by, now) for one in group if one.record is None]
            went = await self._store.drop(lane, drops) if drops else []
            return gone + [one.parked for one, dropped in zip(drops, went, strict=True) if dropped]

        return await self._work(selection, rest, until, some, keeps_unreadable=False)

    async def _work(
        self, selection: ParkedSelection, rest: ParkedPlace, until: float, work: _Work, *, keeps_unreadable: bool
    ) -> ParkedDone:
        done: list[ParkedDelivery] = []
        unreadable = 0
        while True:
            began = time.monotonic()
            page = await self._store.behind(rest, _PAGE)
            chosen = sorted((one for one in page if selection.has(one)), key=_lane)
            if keeps_unreadable:
                unreadable += sum(one.record is None for one in chosen)
            for lane, group in groupby(chosen, key=_lane):
                done += await work(lane, list(group))
            if len(page) < _PAGE:
                return ParkedDone(done, unreadable, None)
            rest = ParkedPlace(page[-1].since, page[-1].id)
            if time.monotonic() >= until:
                return ParkedDone(done, unreadable, rest)
            await asyncio.sleep((time.monotonic() - began) * _REST)

    def _release(self, parked: ParkedDelivery, record: Record, actor: Actor, now: int) -> PlannedRelease:
        """The time that it was parked does not count towards its age, and its lost claims are forgotten."""
        event = delivery_event(
            EventType.RELEASE, now, self._node, parked.id, parked.queue, record, NO_ATTEMPT, record.attempts,
            reason=f"parked mail released by {actor.author}", next_attempt=now, uncertain=record.uncertain,
        )  # fmt: skip
        free: Record = msgspec.structs.replace(
            record, expires_at=record.expires_at + max(0, now - parked.since), deferred_by="", seq=record.seq + 1
        )
        return PlannedRelease(parked, free, _encode(ordered(event, actor.author)))

    def _end(self, parked: ParkedDelivery, record: Record, author: str, now: int) -> PlannedEnd:
        event, final = encoded_end(
            EventType.CANCELLATION, now, self._node, parked.id, parked.queue, record,
            reason=_removed_by(author), uncertain=record.uncertain, author=author,
        )  # fmt: skip
        return PlannedEnd(
            parked.id, Place.PARKED, parked.queue, parked.raw, tags=record.counted_tags, event=event, final=final,
            uncertain=record.uncertain, share=parked.share,
        )  # fmt: skip

    def _drop(self, parked: ParkedDelivery, author: str, now: int) -> PlannedDrop:
        event = delivery_event(
            EventType.CANCELLATION, now, self._node, parked.id, parked.queue, _UNREADABLE, NO_ATTEMPT, 0,
            reason=f"{_removed_by(author)}; its record could not be read", uncertain=True,
        )  # fmt: skip
        return PlannedDrop(
            parked, _encode(ordered(event, author)), _encode(FinalStatus("", now, uncertain=True, seq=event.seq))
        )


def _removed_by(author: str) -> str:
    return f"parked mail removed by {author}"


def _lane(parked: ParkedDelivery) -> int:
    return lane_of(parked.id)
