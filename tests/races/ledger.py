"""The store's ledger, delivery by delivery: where each one is or how it ended, read without any counter."""

import time
from collections import Counter
from collections.abc import Collection
from typing import Any, NamedTuple

import msgspec

from mta.model.endings import Final
from mta.model.ids import DeliveryId, delivery_text, lane_of
from mta.model.mail import Record
from mta.model.outcomes import Stage
from mta.model.settings import RedisSettings
from mta.model.shares import split_place
from mta.redis_store import codec, keys
from mta.redis_store.link import Link

_ENDS = {b"d": "delivered", b"b": "bounced", b"e": "expired", b"c": "canceled", b"i": "intercepted"}
_ID = 18  # octets of a delivery id
_finals = msgspec.msgpack.Decoder(Final)


class Living(NamedTuple):
    """A delivery that has not ended."""

    state: str  # of tests.races.plan.STATES, or "parked"
    lane: int
    pool: str
    tags: tuple[str, ...]
    uncertain: bool


class Ended(NamedTuple):
    """A delivery that has."""

    how: str
    stage: str  # where it was intercepted
    uncertain: bool


class Ledger(NamedTuple):
    """By delivery id, text form."""

    living: dict[str, Living]
    ended: dict[str, Ended]

    def ids(self, how: str) -> set[str]:
        """Deliveries that ended so."""
        return {id_ for id_, end in self.ended.items() if end.how == how}

    def uncertain(self) -> set[str]:
        return {id_ for id_, end in self.ended.items() if end.uncertain}

    def account(self, ids: Collection[str]) -> dict[str, Any]:
        """The expected statement of a tag over these deliveries, counted one by one."""
        ends = [self.ended[id_] for id_ in ids if id_ in self.ended]
        states = Counter(self.living[id_].state for id_ in ids if id_ in self.living)
        how, stages = Counter(end.how for end in ends), Counter(end.stage for end in ends)
        return {
            "accepted": len(ends) + states.total(),
            **{name: how[name] for name in ("delivered", "bounced", "expired", "canceled")},
            "intercepted": {stage.value: stages[stage.value] for stage in Stage},
            "queued": states.total() - states["held"] - states["parked"],
            "held": states["held"],
            "parked": states["parked"],
            "uncertain": sum(end.uncertain for end in ends),
        }


async def read_ledger(url: str) -> Ledger:
    """The ledger of the store at `url`, at about one moment where others change it."""
    link = Link(url, RedisSettings(timeout=5.0))
    living: dict[str, Living] = {}
    ended: dict[str, Ended] = {}
    try:
        await link.open()
        for lane in range(int(await link.command("HGET", keys.META_SETTINGS, "lanes"))):
            await _read_lane(link, lane, living, ended)
    finally:
        await link.close()
    return Ledger(living, ended)


async def _read_lane(link: Link, lane: int, living: dict[str, Living], ended: dict[str, Ended]) -> None:
    prefix = keys.lane_prefix(lane)
    places: dict[bytes, tuple[bytes, str]] = {}  # delivery id -> pool with the share, state
    now = time.time() * 1000
    for name in await _names(link, prefix):
        kind, _, rest = name.partition(b":")
        key = prefix + name
        if kind == b"due":
            rows = await link.command("ZRANGE", key, 0, -1, "WITHSCORES")
            pool = keys.queue_of(rest)[0]
            for id_, due in zip(rows[::2], rows[1::2], strict=True):
                places[id_] = pool, "due" if float(due) <= now else "later"
        elif kind == b"claimed":
            rows = await link.command("HGETALL", key)
            for id_, value in zip(rows[::2], rows[1::2], strict=True):
                places[id_] = value.split(b"|")[-2], "claimed"
        elif kind in (b"held", b"parked"):
            for member in await link.command("ZRANGE", key, 0, -1):
                places[member[:_ID]] = member[_ID:].partition(b"|")[0], kind.decode()
        elif kind == b"ended":
            rows = await link.command("HGETALL", key)
            for id_, status in zip(rows[::2], rows[1::2], strict=True):
                if len(id_) != _ID:  # the digest of what many have in common
                    continue
                ended[delivery_text(DeliveryId(id_))] = _ended(status)
    rows = await link.command("HGETALL", prefix + b"rec")
    records = dict(zip(rows[::2], rows[1::2], strict=True))
    for id_, (pool, state) in places.items():
        if id_ in records:  # else it ended while this was read
            record = codec.decode_record(records[id_])[1]
            living[delivery_text(DeliveryId(id_))] = _living(id_, pool, state, record)


def _living(id_: bytes, pool: bytes, state: str, record: Record) -> Living:
    if state == "later":
        state = "deferred" if record.attempts else "scheduled"
    return Living(state, lane_of(id_), split_place(pool.decode())[0], record.tags, record.uncertain)


def _ended(status: bytes) -> Ended:
    """See `ended:<hour>` in mta.redis_store.keys."""
    said, _, final = status.partition(b"\0")
    letter, *rest = said.split(b":")
    stage = rest[0].decode() if letter == b"i" else ""
    if letter in b"be":
        uncertain = _finals.decode(final).uncertain
    else:
        uncertain = {b"i": rest[1:2], b"c": rest[:1]}.get(letter, []) == [b"1"]
    return Ended(_ENDS[letter], stage, uncertain)


async def _names(link: Link, prefix: bytes) -> list[bytes]:
    """Of the lane's keys, without their prefix."""
    found: set[bytes] = set()
    at = 0
    while True:
        at, page = await link.scan(prefix, at, 1000)
        found.update(key[len(prefix) :] for key in page)
        if at == 0:
            return sorted(found)
