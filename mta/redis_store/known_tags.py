"""Tags that mail carried lately: those of a sample of the waiting mail, and those with counters, as far as a bounded
look at the keys finds them."""

from typing import Final

from mta.model.mail import tenants_tag
from mta.redis_store import codec, keys
from mta.redis_store.each_lane import each_lane
from mta.redis_store.link import Link

_SAMPLED: Final = 1000  # waiting deliveries, in all lanes together: a tag of 1 % of them is missed once in 20,000 times
_PAGES: Final = 48  # of keys, in all lanes together
_PAGE: Final = 1000


class KnownTags:
    """The part of ports.books.Books that names tags. However many tags there are, it costs about 50 short calls."""

    def __init__(self, link: Link, lanes: int) -> None:
        self._link = link
        self._lanes = range(lanes)

    async def lately(self, tenant: str) -> set[str]:
        """Of the tenant's mail, "" = of all. Raises StoreAway, StoreError."""
        pages = await each_lane(self._lanes, lambda lane: self._waiting(lane, tenant))
        pages += await each_lane(self._lanes[:_PAGES], lambda lane: self._counted(lane, tenant))
        return {tag for page in pages for tag in page}

    async def _waiting(self, lane: int, tenant: str) -> set[str]:
        """Tags of deliveries that are drawn by chance, so those that many carry are among them."""
        count = max(4, _SAMPLED // len(self._lanes))
        answer = await self._link.command("HRANDFIELD", keys.lane_key(lane, b"rec"), count, "WITHVALUES")
        found: set[str] = set()
        for raw in answer[1::2]:
            try:
                _, record = codec.decode_record(raw)
            except codec.UNREADABLE:
                continue
            if tenant in ("", record.tenant):
                found.update(record.tags)
        return found

    async def _counted(self, lane: int, tenant: str) -> set[str]:
        prefix = keys.lane_key(lane, b"tag:")
        suffix = tenants_tag("", tenant) if tenant else ""
        found: set[str] = set()
        at = 0
        for _ in range(max(1, _PAGES // len(self._lanes))):
            at, page = await self._link.scan(prefix, at, _PAGE)
            names = [key[len(prefix) :].decode(errors="replace") for key in page]
            found.update(name.removesuffix(suffix) for name in names if name.endswith(suffix) and suffix)
            found.update(name for name in names if not suffix and "\0" not in name)
            if not at:
                break
        return found
