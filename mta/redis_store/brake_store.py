"""Brakes in `{meta}`, with their pulls, and the counts of tags that they watch in the lanes."""

import logging
import secrets
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, Final

import msgspec

from mta.model.brakes import Brake, Pull
from mta.model.errors import BadValue
from mta.policy.brakes import counter_of
from mta.ports.brakes import Rate, RateKey, SharedBrakes
from mta.ports.certainty import made_certain
from mta.redis_store import keys
from mta.redis_store.each_lane import each_lane
from mta.redis_store.link import Link

log = logging.getLogger(__name__)

MOST: Final = 1000
MOST_OF_TENANT: Final = MOST // 10  # made with tokens bound to it
_VERSION: Final = b"version"
_TABLE: Final = (keys.META_BRAKES, keys.META_BRAKES_CHANGES)
_PAGE: Final = 500  # counters that one call reads

_encode: Final = msgspec.json.Encoder().encode
_decode: Final = msgspec.json.Decoder(Brake).decode
_decode_pull: Final = msgspec.json.Decoder(Pull).decode


class StoredBrakes:
    """Fulfils ports.brakes.BrakeWork."""

    def __init__(self, link: Link, lanes: int) -> None:
        self._link = link
        self._lanes = lanes
        self._seen = [0] * lanes  # Unix ms of the newest count that was seen, by the server's clock

    async def brakes(self, since: bytes = b"") -> SharedBrakes | None:
        version: bytes = await self._link.command("HGET", keys.META_BRAKES, _VERSION) or b"0|"
        if version == since:
            return None
        answer = await self._link.command("HGETALL", keys.META_BRAKES)
        fields = dict(zip(answer[::2], answer[1::2], strict=True))
        version = fields.pop(_VERSION, b"0|")
        return SharedBrakes(version, {brake.id: brake for brake in _readable(fields)})

    async def add(self, brake: Brake) -> None:
        args: list[bytes | str | int] = [brake.id, _encode(brake), b"", MOST, secrets.token_hex(8)]
        if brake.owner:
            args += [brake.tenant, MOST_OF_TENANT]
        ask = partial(self._link.call_kept, b"entry_put", _TABLE, args)
        done = await made_certain(ask, ask, self._link.timeout)
        if done == -2:
            words = f"there are {MOST_OF_TENANT} brakes of the tenant {brake.tenant} already; remove some"
            raise BadValue("body", words)
        if done < 0:
            raise BadValue("body", f"there are {MOST} brakes already; remove some")

    async def remove(self, brake_id: str) -> None:
        ask = partial(self._link.call_kept, b"entry_remove", _TABLE, [brake_id, secrets.token_hex(8)])
        await made_certain(ask, ask, self._link.timeout)
        pulls = await self._link.command("HKEYS", keys.META_BRAKE_PULLS)
        own = [field for field in pulls if field.startswith(brake_id.encode() + b"\0")]
        if own:
            await self._link.command("HDEL", keys.META_BRAKE_PULLS, *own)

    async def pulls(self, brake_id: str = "") -> list[Pull]:
        last: dict[tuple[str, str, str], Pull] = {}
        for raw in await self._link.command("HVALS", keys.META_BRAKE_PULLS):
            pull = _decode_pull(raw)
            if brake_id in ("", pull.brake) and (pull.key not in last or last[pull.key].number < pull.number):
                last[pull.key] = pull
        return list(last.values())

    def on_change(self, hook: Callable[[], None]) -> None:
        self._link.hear(keys.ENTRY_CHANNEL, lambda table: hook() if table == keys.META_BRAKES else None)
        self._link.on_reconnect(hook)

    # The counts

    async def rates(self, asked: Sequence[tuple[RateKey, int]]) -> dict[RateKey, Rate]:
        found = dict.fromkeys((key for key, _ in asked), Rate(0, 0))

        async def add(lane: int, page: Sequence[tuple[RateKey, int]]) -> None:
            prefix = keys.lane_prefix(lane)
            step_keys = [prefix + b"lane", *[keys.tag_rate_key(prefix, *key) for key, _ in page]]
            answer = await self._link.call(b"rates_sum", step_keys, [bucket for _, bucket in page])
            for (key, _), hits, counted in zip(page, answer[::2], answer[1::2], strict=True):
                found[key] = Rate(found[key].hits + hits, found[key].counted + counted)

        for at in range(0, len(asked), _PAGE):
            await self._each(partial(add, page=asked[at : at + _PAGE]))
        return found

    async def touched(self, afresh: bool) -> set[RateKey]:
        found = set[RateKey]()

        async def look(lane: int) -> None:
            key = keys.rates_key(keys.lane_prefix(lane))
            since = 0 if afresh else self._seen[lane]
            members = await self._link.command("ZRANGE", key, since, "+inf", "BYSCORE", "WITHSCORES")
            if members:
                self._seen[lane] = int(members[-1])
                found.update(_rate_key(member) for member in members[::2])

        await self._each(look)
        return found

    async def forget_older(self, milliseconds: int) -> None:
        async def drop(lane: int) -> None:
            key = keys.rates_key(keys.lane_prefix(lane))
            await self._link.command("ZREMRANGEBYSCORE", key, "-inf", self._seen[lane] - milliseconds)

        await self._each(drop)

    async def clear(self, key: RateKey) -> None:
        async def drop(lane: int) -> None:
            await self._link.command("DEL", keys.tag_rate_key(keys.lane_prefix(lane), *key))

        await self._each(drop)

    async def _each(self, call: Callable[[int], Awaitable[Any]]) -> None:
        await each_lane(range(self._lanes), call)

    # The process that pulls

    async def lead(self, owner: str, seconds: float) -> bool:
        lifetime = int(seconds * 1000)
        if await self._link.command("SET", keys.META_BRAKE_LEADER, owner, "NX", "PX", lifetime):
            return True
        if await self._link.command("GET", keys.META_BRAKE_LEADER) != owner.encode():
            return False
        return bool(await self._link.command("PEXPIRE", keys.META_BRAKE_LEADER, lifetime))

    async def note(self, pull: Pull) -> Pull:
        field = _field(pull)
        if await self._link.command("HSETNX", keys.META_BRAKE_PULLS, field, _encode(pull)):
            if pull.number > 1:
                before = _field(msgspec.structs.replace(pull, number=pull.number - 1))
                await self._link.command("HDEL", keys.META_BRAKE_PULLS, before)
            return pull
        known = await self._link.command("HGET", keys.META_BRAKE_PULLS, field)
        return _decode_pull(known) if known else pull

    async def save(self, pull: Pull) -> None:
        await self._link.command("HSET", keys.META_BRAKE_PULLS, _field(pull), _encode(pull))

    async def forget(self, pull: Pull) -> None:
        await self._link.command("HDEL", keys.META_BRAKE_PULLS, _field(pull))


def _readable(fields: Mapping[bytes, bytes]) -> Iterator[Brake]:
    """The brakes that this release can read. The others are logged: they are not pulled here."""
    for name, raw in sorted(fields.items()):
        try:
            yield _decode(raw)
        except msgspec.DecodeError as error:
            log.error("the brake %s was made by a newer release, or is damaged: %s", name.decode(), error)


def _field(pull: Pull) -> bytes:
    return f"{pull.brake}\0{pull.number}\0{counter_of(pull.tag, pull.tenant)}".encode()


def _rate_key(member: bytes) -> RateKey:
    brake, _, name = member.decode().partition(":")
    return brake, name
