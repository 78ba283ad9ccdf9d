"""Contents in Redis, in the lane of their message: whole where they are small, in pieces where they are large."""

import asyncio

from mta.model.errors import StoreError
from mta.model.ids import MessageId, lane_of
from mta.model.mail import Record
from mta.model.placed_content import PlacedContent
from mta.redis_store import codec, keys
from mta.redis_store.link import Link

IN_PIECES = b"p"
_PENDING = 3600  # seconds that pieces outlive an accept that never came
_OFF_LOOP = 1_000_000  # bytes above which compressing would hold everybody up


class StoredContent:
    """Fulfils ports.content.Content."""

    def __init__(self, link: Link, compress_above: int) -> None:
        self._link = link
        self._compress_above = compress_above

    def whole(self, content: bytes) -> PlacedContent | None:
        """Content that needs no `put`: the accept step takes all of it along. None: it is too large for that."""
        if len(content) >= codec.PIECE:
            return None
        return PlacedContent(codec.encode_content(content, self._compress_above))

    async def place(self, message: MessageId, content: bytes) -> PlacedContent | None:
        return None if len(content) < codec.PIECE else await self.put(message, content)

    async def put(self, message: MessageId, content: bytes) -> PlacedContent:
        if len(content) > _OFF_LOOP:
            raw = await asyncio.to_thread(codec.encode_content, content, self._compress_above)
        else:
            raw = codec.encode_content(content, self._compress_above)
        if len(raw) <= codec.PIECE:
            return PlacedContent(raw)
        key = _pieces_key(message)
        for number, piece in enumerate(codec.pieces(raw)):
            await self._link.call(b"piece", [key], [number, piece, _PENDING])
        return PlacedContent(IN_PIECES, (key,))

    async def get(self, message: MessageId, record: Record) -> bytes | None:
        if record.store:
            raise StoreError(f"content store {record.store!r} is not known to this release")
        raw = await self._link.command("HGET", keys.lane_key(lane_of(message), b"content"), message)
        if raw == IN_PIECES:
            key = _pieces_key(message)
            count = await self._link.command("HLEN", key)
            found = [await self._link.command("HGET", key, number) for number in range(count)]
            raw = b"".join(found) if all(found) else None
        return codec.decode_content(raw) if raw else None


def _pieces_key(message: MessageId) -> bytes:
    return keys.lane_key(lane_of(message), b"parts:") + message
