"""Reply entries in `{meta}`, and the counts of replies that no entry knows."""

import secrets
from collections.abc import Callable, Mapping
from functools import partial
from typing import Final

import msgspec

from mta.model.errors import BadValue
from mta.model.replies import ReplyEntry, UnknownReply
from mta.ports.certainty import made_certain
from mta.ports.replies import CountedReply, SharedEntries
from mta.redis_store import keys
from mta.redis_store.link import Link

_MOST: Final = 1000
_MOST_UNKNOWN: Final = 1000
_TRIES: Final = 5  # of a change while others change the same entry
_VERSION: Final = b"version"
_TABLE: Final = (keys.META_REPLIES, keys.META_REPLIES_CHANGES)

_encode: Final = msgspec.json.Encoder().encode
_decode: Final = msgspec.json.Decoder(ReplyEntry).decode
_decode_unknown: Final = msgspec.json.Decoder(UnknownReply).decode


class StoredReplies:
    """Fulfils ports.replies.ReplyStore."""

    def __init__(self, link: Link) -> None:
        self._link = link

    async def entries(self, since: bytes = b"") -> SharedEntries | None:
        version: bytes = await self._link.command("HGET", keys.META_REPLIES, _VERSION) or b"0|"
        if version == since:
            return None
        answer = await self._link.command("HGETALL", keys.META_REPLIES)
        fields = dict(zip(answer[::2], answer[1::2], strict=True))
        version = fields.pop(_VERSION, b"0|")
        return SharedEntries(version, {name.decode(): _decode(raw) for name, raw in sorted(fields.items())})

    async def put(self, name: str, entry: ReplyEntry) -> bool:
        for _ in range(_TRIES):
            was = await self._link.command("HGET", keys.META_REPLIES, name) or b""
            args: list[bytes | str | int] = [name, _encode(entry), was, _MOST, secrets.token_hex(8)]
            ask = partial(self._link.call_kept, b"entry_put", _TABLE, args)
            done = await made_certain(ask, ask, self._link.timeout)
            if done < 0:
                raise BadValue("name", f"there are {_MOST} entries already; remove some")
            if done:
                return not was
        raise BadValue("name", "others change the same entry; try again")

    async def remove(self, name: str) -> bool:
        if name == _VERSION.decode() or not await self._link.command("HEXISTS", keys.META_REPLIES, name):
            return False
        ask = partial(self._link.call_kept, b"entry_remove", _TABLE, [name, secrets.token_hex(8)])
        await made_certain(ask, ask, self._link.timeout)
        return True

    async def note_unknown(self, counts: Mapping[UnknownReply, int], now: int) -> None:
        for reply, count in counts.items():
            member = _encode(reply)
            await self._link.command("ZINCRBY", keys.META_UNKNOWN_REPLIES, count, member)
            await self._link.command("ZADD", keys.META_UNKNOWN_SEEN, now, member)
        beyond = await self._link.command("ZCARD", keys.META_UNKNOWN_SEEN) - _MOST_UNKNOWN
        if beyond > 0:
            old = await self._link.command("ZRANGE", keys.META_UNKNOWN_SEEN, 0, beyond - 1)
            await self._link.command("ZREM", keys.META_UNKNOWN_REPLIES, *old)
            await self._link.command("ZREM", keys.META_UNKNOWN_SEEN, *old)

    async def unknown(self) -> list[CountedReply]:
        counted = await self._link.command("ZREVRANGE", keys.META_UNKNOWN_REPLIES, 0, -1, "WITHSCORES")
        seen = await self._link.command("ZRANGE", keys.META_UNKNOWN_SEEN, 0, -1, "WITHSCORES")
        last = dict(zip(seen[::2], seen[1::2], strict=True))
        return [
            CountedReply(_decode_unknown(member), int(float(count)), int(float(last.get(member, 0))))
            for member, count in zip(counted[::2], counted[1::2], strict=True)
        ]

    def on_change(self, hook: Callable[[], None]) -> None:
        self._link.hear(keys.ENTRY_CHANNEL, lambda table: hook() if table == keys.META_REPLIES else None)
        self._link.on_reconnect(hook)
