"""The counters as the API reads them."""

from collections.abc import Sequence
from typing import Final

from mta.model.mail import QueueKey
from mta.ports.books import QueueCounts
from mta.redis_store import keys
from mta.redis_store.link import Link
from mta.timing.clock import wall_ms

_AT_ONCE: Final = 5000  # rules in one step, which takes a few milliseconds


class StoredBooks:
    """Fulfils ports.books.Books."""

    def __init__(self, link: Link, lanes: int) -> None:
        self._link = link
        self._lanes = range(lanes)

    async def total(self) -> dict[str, int]:
        return await self._sum(b"count")

    async def tag(self, tag: str) -> dict[str, int]:
        return await self._sum(b"tag:" + tag.encode())

    async def rule(self, rule_id: str) -> dict[str, int]:
        return await self._sum(b"rule:" + rule_id.encode())

    async def rules(self, rule_ids: Sequence[str]) -> list[dict[str, int]]:
        found: list[dict[str, int]] = [{} for _ in rule_ids]
        for lane in self._lanes:
            for at in range(0, len(rule_ids), _AT_ONCE):
                names = [keys.lane_key(lane, b"rule:" + rule_id.encode()) for rule_id in rule_ids[at : at + _AT_ONCE]]
                rows = await self._link.call(b"fg1_hashes", [keys.lane_key(lane, b"lane"), *names], [])
                for counts, row in zip(found[at:], rows, strict=False):
                    _add(counts, row)
        return found

    async def _sum(self, name: bytes) -> dict[str, int]:
        """The lanes are read one after the other: each balances at every instant, so their sum does."""
        found: dict[str, int] = {}
        for lane in self._lanes:
            _add(found, await self._link.command("HGETALL", keys.lane_key(lane, name)))
        return found

    async def tags(self, most: int, cursor: str) -> tuple[list[str], str]:
        """Tags in no order; the cursor is "<lane>:<scan cursor>", "" = from the start, "" returned = the end."""
        lane_text, _, scan = cursor.partition(":")
        lane, at = int(lane_text or 0), int(scan or 0)
        found: list[str] = []
        while lane < len(self._lanes) and len(found) < most:
            prefix = keys.lane_key(lane, b"tag:")
            at, page = await self._link.scan(prefix, at, 500)
            found += [key[len(prefix) :].decode(errors="replace") for key in page]
            if at == 0:
                lane += 1
        return found, f"{lane}:{at}" if lane < len(self._lanes) else ""

    async def queues(self) -> list[QueueCounts]:
        now = wall_ms()
        found: dict[QueueKey, list[int]] = {}
        for lane in self._lanes:
            prefix = keys.lane_prefix(lane)
            for pool in sorted(await self._link.command("SMEMBERS", prefix + b"pools")):
                agenda: Sequence[bytes] = await self._link.command("ZRANGE", keys.agenda_key(prefix, pool), 0, -1)
                for domain in agenda:
                    due = keys.due_key(prefix, pool, domain)
                    total = int(await self._link.command("ZCARD", due))
                    ready = int(await self._link.command("ZCOUNT", due, "-inf", now))
                    oldest = await self._link.command("ZRANGE", due, 0, 0, "WITHSCORES")
                    counts = found.setdefault(QueueKey(pool.decode(), domain.decode()), [0, 0, 0, 0])
                    counts[0] += ready
                    counts[1] += total - ready
                    first = int(float(oldest[1])) if oldest else 0
                    counts[3] = min(counts[3] or first, first) if first else counts[3]
            await self._count_claimed(lane, found)
        return [QueueCounts(queue, *counts) for queue, counts in sorted(found.items())]

    async def _count_claimed(self, lane: int, found: dict[QueueKey, list[int]]) -> None:
        prefix = keys.lane_prefix(lane)
        for session in await self._link.command("HKEYS", keys.RULES_SESSIONS):
            for hold in await self._link.command("HVALS", prefix + b"claimed:" + session):
                _, pool, domain = hold.split(b"|", 2)
                found.setdefault(QueueKey(pool.decode(), domain.decode()), [0, 0, 0, 0])[2] += 1

    async def cluster(self) -> dict[str, str]:
        fields = await self._hash(keys.META_SETTINGS)
        return {name.decode(): value.decode() for name, value in fields.items()}

    async def _hash(self, key: bytes) -> dict[bytes, bytes]:
        answer = await self._link.command("HGETALL", key)
        return dict(zip(answer[::2], answer[1::2], strict=True))


def _add(sums: dict[str, int], row: Sequence[bytes]) -> None:
    """The counters of a lane to those of the lanes before."""
    for field, value in zip(row[::2], row[1::2], strict=True):
        name = field.decode()
        known = sums.get(name, 0)
        sums[name] = max(known, int(value)) if name == "last_hit_at" else known + int(value)
