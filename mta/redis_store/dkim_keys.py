"""DKIM keys in `{meta}`, their private parts sealed, and the last look at the DNS record of each."""

import logging
import secrets
from collections.abc import Callable, Mapping
from functools import partial
from typing import Final

import msgspec

from mta.model.dkim_keys import SealedKey
from mta.model.errors import BadValue
from mta.ports.certainty import made_certain
from mta.ports.dkim import KeyChanges, RecordLook
from mta.redis_store import codec, keys
from mta.redis_store.link import Link

log = logging.getLogger(__name__)

_MOST: Final = 20_000
_VERSION: Final = b"version"
_TABLE: Final = (keys.META_DKIM, keys.META_DKIM_CHANGES)

_decode: Final = msgspec.msgpack.Decoder(SealedKey).decode
_decode_look: Final = msgspec.json.Decoder(RecordLook).decode


class StoredDkimKeys:
    """Fulfils ports.dkim.DkimKeys."""

    def __init__(self, link: Link) -> None:
        self._link = link

    async def changes(self, since: bytes) -> KeyChanges | None:
        version: bytes = await self._link.command("HGET", keys.META_DKIM, _VERSION) or b"0|"
        if version == since:
            return None
        number, known = _number(version), _number(since)
        if not since or number <= known:  # nothing is known, or the store is another one
            answer = await self._link.command("HGETALL", keys.META_DKIM)
            fields = dict(zip(answer[::2], answer[1::2], strict=True))
            fields.pop(_VERSION, None)
            return KeyChanges(version, _readable(fields), (), True)
        ids = await self._link.command("ZRANGEBYSCORE", keys.META_DKIM_CHANGES, f"({known}", "+inf")
        found = await self._link.command("HMGET", keys.META_DKIM, *ids) if ids else []
        removed = [key_id.decode() for key_id, raw in zip(ids, found, strict=True) if raw is None]
        there = {key_id: raw for key_id, raw in zip(ids, found, strict=True) if raw is not None}
        return KeyChanges(version, _readable(there), removed, False)

    async def get(self, key_id: str) -> SealedKey | None:
        raw = await self._link.command("HGET", keys.META_DKIM, key_id)
        return None if raw is None or key_id == _VERSION.decode() else _decode(raw)

    async def put(self, entry: SealedKey, was: SealedKey | None) -> bool:
        wanted = b"" if was is None else codec.encode(was)
        args: list[bytes | str | int] = [entry.key.id, codec.encode(entry), wanted, _MOST, secrets.token_hex(8)]
        ask = partial(self._link.call_kept, b"entry_put", _TABLE, args)
        done = await made_certain(ask, ask, self._link.timeout)
        if done < 0:
            raise BadValue("domain", f"there are {_MOST} keys already; remove some")
        return bool(done)

    async def remove(self, key_id: str) -> None:
        ask = partial(self._link.call_kept, b"entry_remove", _TABLE, [key_id, secrets.token_hex(8)])
        await made_certain(ask, ask, self._link.timeout)

    def on_change(self, hook: Callable[[], None]) -> None:
        self._link.hear(keys.ENTRY_CHANNEL, lambda table: hook() if table == keys.META_DKIM else None)
        self._link.on_reconnect(hook)


class StoredRecordLooks:
    """Fulfils ports.dkim.RecordLooks."""

    def __init__(self, link: Link) -> None:
        self._link = link

    async def lead(self, owner: str, seconds: float) -> bool:
        lifetime = int(seconds * 1000)
        if await self._link.command("SET", keys.META_DKIM_LOOKER, owner, "NX", "PX", lifetime):
            return True
        if await self._link.command("GET", keys.META_DKIM_LOOKER) != owner.encode():
            return False
        return bool(await self._link.command("PEXPIRE", keys.META_DKIM_LOOKER, lifetime))

    async def note(self, key_id: str, look: RecordLook) -> None:
        await self._link.command("HSET", keys.META_DKIM_LOOKS, key_id, msgspec.json.encode(look))

    async def looks(self) -> dict[str, RecordLook]:
        answer = await self._link.command("HGETALL", keys.META_DKIM_LOOKS)
        return {name.decode(): _decode_look(raw) for name, raw in zip(answer[::2], answer[1::2], strict=True)}

    async def forget(self, key_id: str) -> None:
        await self._link.command("HDEL", keys.META_DKIM_LOOKS, key_id)


def _readable(entries: Mapping[bytes, bytes]) -> list[SealedKey]:
    """The entries that this release can read. The others are logged: no mail is signed with them here."""
    found = []
    for key_id, raw in entries.items():
        try:
            found.append(_decode(raw))
        except msgspec.DecodeError as error:
            log.error("the DKIM key %s was made by a newer release, or is damaged: %s", key_id.decode(), error)
    return found


def _number(version: bytes) -> int:
    return int(version.partition(b"|")[0] or 0)
