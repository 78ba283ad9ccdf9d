"""The counters as the API reads them."""

import asyncio
from collections.abc import Awaitable, Sequence
from typing import Any, Final

from mta.model.errors import HistoryElsewhere, HistoryError, HistoryNotBegun, HistoryOff
from mta.model.mail import QueueKey, tenants_tag
from mta.model.shares import place_of
from mta.ports.books import PoolDepth, QueueCounts, RuleAccount
from mta.ports.tag_counters import FoldedTags
from mta.redis_store import keys
from mta.redis_store.each_lane import each_lane
from mta.redis_store.known_tags import KnownTags
from mta.redis_store.link import Link
from mta.redis_store.pool_depths import PoolDepths
from mta.redis_store.queue_books import QueueBooks

_AT_ONCE: Final = 5000  # rules in one step, which takes a few milliseconds
_SUMMED: Final = 500  # rules whose accounts one step sums


class StoredBooks:
    """Fulfils ports.books.Books."""

    def __init__(self, link: Link, lanes: int, folded: FoldedTags | None = None) -> None:
        """`folded`: None = there is no history, and counters that rested for long are gone."""
        self._link = link
        self._folded = folded
        self._lanes = range(lanes)
        self._queues = QueueBooks(link, lanes)
        self._depths = PoolDepths(link, lanes, self._queues)
        self._tags = KnownTags(link, lanes)

    async def total(self) -> dict[str, int]:
        return await self._sum(b"count")

    async def tag(self, tag: str, tenant: str = "") -> dict[str, int]:
        name = b"tag:" + (tenants_tag(tag, tenant) if tenant else tag).encode()
        rows = await each_lane(self._lanes, lambda lane: self._link.quick("HGETALL", keys.lane_key(lane, name)))
        return await self._with_folded(tag, tenant, rows)

    async def rule(self, rule_id: str) -> dict[str, int]:
        return await self._sum(b"rule:" + rule_id.encode())

    async def rules(self, rule_ids: Sequence[str]) -> list[dict[str, int]]:
        found: list[dict[str, int]] = [{} for _ in rule_ids]
        for lane in self._lanes:
            for at in range(0, len(rule_ids), _AT_ONCE):
                names = [keys.lane_key(lane, b"rule:" + rule_id.encode()) for rule_id in rule_ids[at : at + _AT_ONCE]]
                rows = await self._link.call(b"hashes", [keys.lane_key(lane, b"lane"), *names], [])
                for counts, row in zip(found[at:], rows, strict=False):
                    _add(counts, row)
        return found

    async def account(self, rule_id: str, tag: str | None, now_ms: int) -> RuleAccount:
        def ask(lane: int) -> Awaitable[Any]:
            prefix, rule = keys.lane_prefix(lane), rule_id.encode()
            names = [prefix + b"lane", keys.rule_key(prefix, rule), keys.spared_key(prefix, rule)]
            names += [] if tag is None else [keys.tag_key(prefix, tag.encode())]
            return self._link.call(b"rule_account", names, [now_ms])

        of_rule: dict[str, int] = {}
        rows_of_tag = []
        undoable, untils = 0, []
        for fields, many, until, tag_fields in await each_lane(self._lanes, ask):
            _add(of_rule, fields)
            rows_of_tag.append(tag_fields)
            undoable += many
            untils += [int(float(until))] if until else []
        of_tag = None if tag is None else await self._with_folded(tag, "", rows_of_tag)
        return RuleAccount(of_rule, of_tag, undoable, min(untils, default=0))

    async def _with_folded(self, tag: str, tenant: str, rows: Sequence[Sequence[bytes]]) -> dict[str, int]:
        """The counters of all lanes, and those that were folded into history. Counters that are in both count once:
        folding deletes them here after history has them, and history is read last."""
        found: dict[str, int] = {}
        there = set()
        for lane, row in enumerate(rows):
            _add(found, row)
            there.add((lane, dict(zip(row[::2], row[1::2], strict=True)).get(keys.TAG_EPOCH, b"").decode()))
        try:
            folded = await self._folded.tag_counters(tag, tenant) if self._folded is not None else ()
        except (HistoryOff, HistoryElsewhere, HistoryNotBegun):
            return found
        except HistoryError:
            if not found:
                raise
            return found
        for one in folded:
            if (one.lane, one.epoch) not in there:
                for field, many in one.counts.items():
                    found[field] = found.get(field, 0) + many
        return found

    async def together(self, rule_ids: Sequence[str], now_ms: int) -> RuleAccount:
        counts: dict[str, int] = {}
        undoable, untils = 0, []
        for at in range(0, len(rule_ids), _SUMMED):
            some = [rule_id.encode() for rule_id in rule_ids[at : at + _SUMMED]]

            def ask(lane: int, some: Sequence[bytes] = some) -> Awaitable[Any]:
                prefix = keys.lane_prefix(lane)
                names = [name for rule in some for name in (keys.rule_key(prefix, rule), keys.spared_key(prefix, rule))]
                return self._link.call(b"rule_accounts", [prefix + b"lane", *names], [now_ms])

            for fields, many, until in await each_lane(self._lanes, ask):
                _add(counts, fields)
                undoable += many
                untils += [int(float(until))] if until else []
        return RuleAccount(counts, None, undoable, min(untils, default=0))

    async def _sum(self, name: bytes) -> dict[str, int]:
        """No two lanes are read at one instant: each balances at every instant, so their sum does."""
        found: dict[str, int] = {}
        for row in await each_lane(self._lanes, lambda lane: self._link.quick("HGETALL", keys.lane_key(lane, name))):
            _add(found, row)
        return found

    async def tags(self, most: int, cursor: str) -> tuple[list[str], str]:
        """Tags in no order; the cursor is "<lane>:<scan cursor>", "" = from the start, "" returned = the end."""
        lane_text, _, scan = cursor.partition(":")
        lane, at = int(lane_text or 0), int(scan or 0)
        found: list[str] = []
        while lane < len(self._lanes) and len(found) < most:
            prefix = keys.lane_key(lane, b"tag:")
            at, page = await self._link.scan(prefix, at, 500)
            tags = [key[len(prefix) :].decode(errors="replace") for key in page]
            found += [tag for tag in tags if "\0" not in tag]  # the others are those of one tenant
            if at == 0:
                lane += 1
        return found, f"{lane}:{at}" if lane < len(self._lanes) else ""

    async def queues(
        self,
        pool: str | None = None,
        domain: str | None = None,
        after: QueueKey | None = None,
        most: int | None = None,
        tenant: str | None = None,
    ) -> list[QueueCounts]:
        return await self._queues.queues(pool, domain, after, most, tenant)

    async def depths(self) -> dict[str, PoolDepth]:
        return await self._depths.depths()

    async def tags_lately(self, tenant: str = "") -> set[str]:
        return await self._tags.lately(tenant)

    async def unmet(self, domains: Sequence[str]) -> list[str]:
        return await self._queues.unmet(domains)

    async def unseen(self, tags: Sequence[str]) -> list[str]:
        places = [keys.tag_key(keys.lane_prefix(lane), tag.encode()) for tag in tags for lane in self._lanes]
        there = await asyncio.gather(*(self._link.quick("EXISTS", key) for key in places))
        many = len(self._lanes)
        return [tag for at, tag in enumerate(tags) if not any(there[at * many : (at + 1) * many])]

    async def earliest(self, pools: Sequence[str]) -> dict[str, int]:
        found: dict[str, int] = {}
        for lane in self._lanes:
            prefix = keys.lane_prefix(lane)
            for pool in pools:
                shares = await self._link.command("SMEMBERS", keys.shares_key(prefix, pool.encode()))
                for share in ("", *(name.decode() for name in shares)):
                    agenda = keys.agenda_key(prefix, place_of(pool, share).encode())
                    first = await self._link.command("ZRANGE", agenda, 0, 0, "WITHSCORES")
                    if first:
                        at = int(float(first[1]))
                        found[pool] = min(found.get(pool, at), at)
        return found

    async def cluster(self) -> dict[str, str]:
        fields = await self._hash(keys.META_SETTINGS)
        return {name.decode(): value.decode() for name, value in fields.items()}

    async def _hash(self, key: bytes) -> dict[bytes, bytes]:
        answer = await self._link.command("HGETALL", key)
        return dict(zip(answer[::2], answer[1::2], strict=True))


def _add(sums: dict[str, int], row: Sequence[bytes]) -> None:
    """The counters of a lane to those of the lanes before."""
    for field, value in zip(row[::2], row[1::2], strict=True):
        if field == keys.TAG_EPOCH:
            continue
        name = field.decode()
        known = sums.get(name, 0)
        sums[name] = max(known, int(value)) if name == "last_hit_at" else known + int(value)
