"""Counters of tags at rest, page by page."""

from collections.abc import Sequence
from typing import Final

import msgspec

from mta.model.mail import tenants_tag
from mta.ports.tag_counters import TagCounters
from mta.redis_store import keys
from mta.redis_store.link import Link

_PAGE: Final = 500  # keys that one SCAN looks at
_AT_ONCE: Final = 100  # tags in one step

_EPOCH: Final = keys.TAG_EPOCH.decode()
_encode = msgspec.msgpack.Encoder().encode


class StoredRestingTags:
    """Fulfils ports.tag_counters.RestingTags."""

    def __init__(self, link: Link) -> None:
        self._link = link

    async def at_rest(self, lane: int, cursor: int, seconds: int) -> tuple[Sequence[TagCounters], int]:
        prefix = keys.lane_key(lane, b"tag:")
        behind, page = await self._link.scan(prefix, cursor, _PAGE)
        found = []
        for at in range(0, len(page), _AT_ONCE):
            some = page[at : at + _AT_ONCE]
            rows = await self._link.call(b"tags_at_rest", [keys.lane_key(lane, b"lane"), *some], [seconds])
            for place, row in zip(rows[::2], rows[1::2], strict=True):
                tag, _, tenant = some[place - 1][len(prefix) :].decode(errors="surrogateescape").partition("\0")
                fields = {row[i].decode(): row[i + 1].decode() for i in range(0, len(row), 2)}
                epoch = fields.pop(_EPOCH, "")
                counts = {name: int(value) for name, value in fields.items()}
                found.append(TagCounters(tag, tenant, lane, epoch, counts))
        return found, behind

    async def drop(self, lane: int, tags: Sequence[TagCounters]) -> int:
        dropped = 0
        for at in range(0, len(tags), _AT_ONCE):
            some = tags[at : at + _AT_ONCE]
            names = [keys.tag_key(keys.lane_prefix(lane), _name(one)) for one in some]
            fields = [_fields(one) for one in some]
            dropped += await self._link.call(b"drop_tags", [keys.lane_key(lane, b"lane"), *names], [_encode(fields)])
        return dropped


def _name(tags: TagCounters) -> bytes:
    name = tenants_tag(tags.tag, tags.tenant) if tags.tenant else tags.tag
    return name.encode(errors="surrogateescape")


def _fields(tags: TagCounters) -> list[str]:
    fields = [word for name, value in tags.counts.items() for word in (name, str(value))]
    return [*fields, *((_EPOCH, tags.epoch) if tags.epoch else ())]
