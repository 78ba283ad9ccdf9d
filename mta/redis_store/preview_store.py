"""Previews of rules beside the rule table, where every API and sweeper process finds them."""

from collections.abc import Callable
from typing import Final

import msgspec

from mta.model.previews import LIFETIME, Preview, PreviewState
from mta.redis_store import codec, keys
from mta.redis_store.link import Link

_MOST: Final = 50  # previews that may wait to be counted

_decoder: Final = msgspec.msgpack.Decoder(Preview)


class StoredPreviews:
    """Fulfils ports.previews.PreviewStore."""

    def __init__(self, link: Link) -> None:
        self._link = link
        self._unreadable: set[str] = set()  # ids of previews that another build asked for: its processes count them

    async def ask(self, preview: Preview) -> bool:
        step_keys = [keys.PREVIEWS, keys.preview_key(preview.id)]
        args: list[bytes | str | int] = [
            preview.id,
            preview.asked_at,
            codec.encode(preview),
            int(LIFETIME * 1000),
            _MOST,
        ]
        return bool(await self._link.call(b"preview_ask", step_keys, args))

    async def get(self, preview_id: str) -> Preview | None:
        raw = await self._link.command("HGET", keys.preview_key(preview_id), "state")
        return self._decoded(preview_id, raw)

    async def waiting(self) -> list[str]:
        found = [member.decode() for member in await self._link.command("ZRANGE", keys.PREVIEWS, 0, -1)]
        self._unreadable.intersection_update(found)
        return [preview_id for preview_id in found if preview_id not in self._unreadable]

    async def take(self, preview_id: str, owner: str, lease: float) -> Preview | None:
        raw = await self._own(preview_id, owner, lease, b"", False)
        return self._decoded(preview_id, raw)

    def _decoded(self, preview_id: str, raw: bytes | None) -> Preview | None:
        try:
            return None if raw is None else _decoder.decode(raw)
        except msgspec.DecodeError:
            self._unreadable.add(preview_id)
            return None

    async def save(self, preview: Preview, owner: str, lease: float) -> bool:
        done = preview.state is PreviewState.DONE
        return await self._own(preview.id, owner, lease, codec.encode(preview), done) is not None

    async def _own(self, preview_id: str, owner: str, lease: float, state: bytes, done: bool) -> bytes | None:
        step_keys = [keys.PREVIEWS, keys.preview_key(preview_id)]
        args: list[bytes | str | int] = [preview_id, owner, int(lease * 1000), state, int(done)]
        found: bytes | None = await self._link.call(b"preview_own", step_keys, args)
        return found

    def on_asked(self, hint: Callable[[], None]) -> None:
        self._link.hear(keys.PREVIEW_CHANNEL, lambda _: hint())
