"""Suppressions in the store: kept in shares, announced by fingerprints, listed and looked up."""

import secrets
import zlib
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from functools import partial
from typing import Final, TypeVar

import msgspec

from mta.model.suppressions import Suppressed, Suppression, SuppressionKey, key_of
from mta.policy.fingerprints import fingerprint, packed, unpacked
from mta.ports.certainty import made_certain
from mta.ports.suppressions import SHARES, SuppressionHead, SuppressionPage, SuppressionPlace
from mta.redis_store import keys
from mta.redis_store.each_lane import each_lane
from mta.redis_store.link import Link

_IN_ONE_STEP: Final = 100
_REMOVED_AT_ONCE: Final = 500  # names in one step: a millisecond
_IN_ONE_TELLING: Final = 1000
_PAGE: Final = 1000  # items of a scan
_RECENT_MS: Final = 15_000  # far longer than an order takes from its announcement to its last write
_TOLD: Final = (keys.SUPPRESSIONS_HEAD, keys.SUPPRESSIONS_CHANGES)
_SPECIAL: Final = frozenset(b"*?[]\\")  # in a pattern

_encode: Final = msgspec.msgpack.Encoder().encode
_decode: Final = msgspec.msgpack.Decoder(Suppression).decode
_Item = TypeVar("_Item")


class StoredSuppressions:
    """Fulfils ports.suppressions.SuppressionStore and SuppressionChanges."""

    def __init__(self, link: Link) -> None:
        self._link = link

    # Orders

    async def put(self, items: Sequence[Suppressed]) -> tuple[int, int]:
        tellings = [[fingerprint(key.name) for key, _ in some] for some in _slices(items, _IN_ONE_TELLING)]
        number = max(await each_lane(range(len(tellings)), lambda at: self._tell(tellings[at], 0)), default=0)
        shares: dict[int, list[bytes | str | int]] = defaultdict(list)
        for key, value in items:
            shares[share_of(key.subject)] += (key.name, _encode(value), value.expires_at)

        calls = _calls(shares, 3 * _IN_ONE_STEP)

        async def keep(at: int) -> int:
            share, some = calls[at]
            ask = partial(self._link.call_kept, b"suppressions_put", _keys(share), some)
            return int(await made_certain(ask, ask, self._link.timeout))

        return number, sum(await each_lane(range(len(calls)), keep))

    async def remove(self, keys_: Collection[SuppressionKey]) -> int:
        shares: dict[int, list[bytes | str | int]] = defaultdict(list)
        for key in keys_:
            shares[share_of(key.subject)].append(key.name)

        calls = _calls(shares, _REMOVED_AT_ONCE)

        async def drop(at: int) -> int:
            share, some = calls[at]
            ask = partial(self._link.call_kept, b"suppressions_remove", _keys(share), some)
            return int(await made_certain(ask, ask, self._link.timeout))

        gone = sum(await each_lane(range(len(calls)), drop))
        if gone:
            await self._tell((), gone)
        return gone

    async def drop_expired(self, now: int) -> int:
        """Take those away that have expired by `now` (Unix ms), and answer how many."""

        async def drop(share: int) -> int:
            gone = last = await self._link.call(b"suppressions_over", _keys(share), [now, _IN_ONE_STEP])
            while last == _IN_ONE_STEP:
                last = await self._link.call(b"suppressions_over", _keys(share), [now, _IN_ONE_STEP])
                gone += last
            return int(gone)

        gone = sum(await each_lane(range(SHARES), drop))
        if gone:
            await self._tell((), gone)
        return gone

    async def _tell(self, prints: Sequence[int], removed: int) -> int:
        args: list[bytes | str | int] = [packed(prints), removed, secrets.token_hex(8)]
        ask = partial(self._link.call_kept, b"suppressions_tell", _TOLD, args)
        return int(await made_certain(ask, ask, self._link.timeout))

    # Look-ups

    async def find(self, keys_: Collection[SuppressionKey]) -> Mapping[SuppressionKey, Suppression]:
        shares: dict[int, list[SuppressionKey]] = defaultdict(list)
        for key in keys_:
            shares[share_of(key.subject)].append(key)

        async def ask(share: int) -> list[tuple[SuppressionKey, Suppression]]:
            raw = await self._link.quick("HMGET", _keys(share)[0], *(key.name for key in shares[share]))
            return [(key, _decode(one)) for key, one in zip(shares[share], raw, strict=True) if one is not None]

        return {key: value for some in await each_lane(shares, ask) for key, value in some}

    async def page(self, place: SuppressionPlace, subject: str = "") -> SuppressionPage:
        share = share_of(subject) if subject else place.share
        words: list[bytes | str | int] = ["HSCAN", _keys(share)[0], place.cursor, "COUNT", _PAGE]
        if subject:
            words += ("MATCH", _literally(subject.encode() + b"\0") + b"*")
        cursor, raw = await self._link.command(*words)
        items = sorted(Suppressed(key_of(name), _decode(value)) for name, value in raw.items())
        after: SuppressionPlace | None = SuppressionPlace(share, int(cursor))
        if not int(cursor):
            after = None if subject or share + 1 == SHARES else SuppressionPlace(share + 1)
        return SuppressionPage(items[place.skip :], after)

    # The fingerprints

    async def head(self) -> SuppressionHead:
        number, removed, born = await self._link.quick("HMGET", keys.SUPPRESSIONS_HEAD, "number", "removed", "born")
        return SuppressionHead(int(number or 0), int(removed or 0), born or b"")

    async def announced(self, since: int) -> Sequence[tuple[int, Sequence[int]]] | None:
        rows = await self._link.command("XRANGE", keys.SUPPRESSIONS_CHANGES, f"({since}-0", "+", "COUNT", 100)
        found = [(int(id_.partition(b"-")[0]), unpacked(fields[1])) for id_, fields in rows]
        return None if found and found[0][0] != since + 1 else found

    async def prints(self, share: int, cursor: int) -> tuple[int, Sequence[int]]:
        next_, raw = await self._link.call(b"suppressions_names", _keys(share)[:1], [cursor, _PAGE])
        found, at = [], 0
        while at < len(raw):
            end = at + 2 + int.from_bytes(raw[at : at + 2], "big")
            found.append(fingerprint(raw[at + 2 : end]))
            at = end
        return int(next_), found

    async def recent(self) -> Sequence[int]:
        return unpacked(await self._link.call(b"suppressions_recent", _TOLD[1:], [_RECENT_MS]))

    def on_change(self, hook: Callable[[], None]) -> None:
        self._link.hear(keys.ENTRY_CHANNEL, lambda table: hook() if table == keys.SUPPRESSIONS_HEAD else None)
        self._link.on_reconnect(hook)


def share_of(subject: str) -> int:
    return zlib.crc32(subject.encode()) % SHARES


def _keys(share: int) -> tuple[bytes, bytes]:
    return keys.suppressions_key(share), keys.suppression_ends_key(share)


def _calls(
    shares: Mapping[int, Sequence[bytes | str | int]], most: int
) -> list[tuple[int, Sequence[bytes | str | int]]]:
    """The arguments of each call, at most so many, with their share."""
    return [(share, some) for share, args in shares.items() for some in _slices(args, most)]


def _slices(items: Sequence[_Item], size: int) -> Iterable[Sequence[_Item]]:
    return (items[at : at + size] for at in range(0, len(items), size))


def _literally(text: bytes) -> bytes:
    """A pattern that matches this text alone."""
    return b"".join([b"\\" + bytes((one,)) if one in _SPECIAL else bytes((one,)) for one in text])
