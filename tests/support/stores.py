"""One session on a real store, and mail to put there."""

import time
from typing import Any

import msgspec

from mta.log_file.lines import log_lines
from mta.model.ids import lane_of, message_of, new_message_id
from mta.model.mail import Claimed, NewMessage, QueueKey, Recipient, Record
from mta.model.outcomes import Class
from mta.model.rule_events import RuleEvent
from mta.orders.cancellation import Cancellation
from mta.ports.journal import RULES_LANE
from mta.ports.queueing import ClaimRequest, Move, Settlement
from mta.redis_store.books import StoredBooks
from mta.redis_store.call_keys import StoredCallKeys
from mta.redis_store.cluster_settings import ClusterSettings
from mta.redis_store.content import StoredContent
from mta.redis_store.limit_store import StoredLimits
from mta.redis_store.link import Link
from mta.redis_store.load import MeasuredLoad
from mta.redis_store.messages import StoredMessages
from mta.redis_store.outbox import StoredOutbox, StoredTail
from mta.redis_store.parked_store import StoredParked
from mta.redis_store.queue_work_store import StoredQueueWork
from mta.redis_store.queues import Queues
from mta.redis_store.rule_sets import StoredRuleSets
from mta.redis_store.rule_store import StoredRules
from mta.redis_store.session import StoreSession
from mta.redis_store.sweep_store import StoredSweeps
from mta.redis_store.undo_copy_store import StoredUndoCopies

POOL, DOMAIN = "default", "example.com"
QUEUE = QueueKey(POOL, DOMAIN)


_rule_event = msgspec.msgpack.Decoder(RuleEvent).decode


class Store:
    def __init__(self, link: Link, node: str, cluster: ClusterSettings, **options: Any) -> None:
        self.link = link
        self.lanes = cluster.lanes
        self.cluster = cluster
        self.session = StoreSession(node, "test", ("delivery",))
        self.content = StoredContent(link, options.pop("compress_above", 65536))
        most = options.pop("max_rules", 1000)
        settings = {"timeout": 2.0, "backlog_hard": 100000, "retention": 3600.0} | options
        self.queues = Queues(link, self.session, cluster.lanes, self.content, **settings)
        self.call_keys = StoredCallKeys(link, self.session, cluster.lanes)
        self.rules = StoredRules(link, self.session, cluster.lanes, cluster.max_staleness, most, 3600.0)
        self.sets = StoredRuleSets(link, self.rules, most, 3600.0)
        self.sweeps = StoredSweeps(link, cluster.lanes, 3600.0)
        self.queue_work = StoredQueueWork(link, cluster.lanes, self.sweeps)
        self.parked = StoredParked(link, cluster.lanes, 3600.0)
        self.undo_copies = StoredUndoCopies(link, cluster.lanes, 600.0)
        self.books = StoredBooks(link, cluster.lanes)
        self.message_store = StoredMessages(link, cluster.lanes, 3600.0)
        self.messages = Cancellation(self.message_store, node, link.timeout)
        self.load = MeasuredLoad(link, cluster.lanes)
        self.outbox = StoredOutbox(link, cluster.lanes)
        self.tail = StoredTail(link, log_lines)
        self.limits = StoredLimits(link, self.session)

    async def rule_events(self) -> list[RuleEvent]:
        """All events of the rule table."""
        page = await self.outbox.read(RULES_LANE, "0-0", 1 << 30)
        return [_rule_event(raw) for entry in page.entries for raw in entry.events]

    async def claim(self, lane: int, most: int = 100, most_bytes: int = 1 << 22, share: str = "") -> list[Claimed]:
        return await self.queues.claim(lane, [ClaimRequest(QUEUE, most, share)], most_bytes)


def message(
    lane: int = 0, *, to: tuple[str, ...] = ("a@example.com",), tags: tuple[str, ...] = ("red",), **more: Any
) -> NewMessage:
    now = int(time.time() * 1000)
    fields: dict[str, Any] = {
        "id": new_message_id(lane, now),
        "sender": "from@example.org",
        "recipients": tuple(Recipient(address, address.rpartition("@")[2]) for address in to),
        "pool": POOL,
        "tags": tags,
        "content": b"Subject: x\r\n\r\nhello\r\n",
        "needs_8bit": False,
        "accepted_at": now,
        "due_at": now,
        "expires_at": now + 86_400_000,
        "max_attempts": 0,
        "retries": (),
        "client": "127.0.0.1",
    }
    return NewMessage(**(fields | more))


def ended(claimed: Claimed, how: Class = Class.DELIVERED, **more: Any) -> Settlement:
    fields = {"move": Move.END, "event": b"", "late_event": b"", "ended": how} | more
    return _settlement(claimed, fields)


def queued(claimed: Claimed, due_at: int, record: Record | None = None, **more: Any) -> Settlement:
    fields = {"move": Move.QUEUE, "event": b"", "late_event": b"", "due_at": due_at, "record": record} | more
    return _settlement(claimed, fields)


def _settlement(claimed: Claimed, fields: dict[str, Any]) -> Settlement:
    tags = claimed.record.counted_tags
    return Settlement(id=claimed.id, token=claimed.token, queue=claimed.queue, tags=tags, share=claimed.share, **fields)


def lane(claimed: Claimed) -> int:
    return lane_of(message_of(claimed.id))


class FewSites:
    """Fulfils ports.sites.SiteLookup: b.test is a domain of the site big."""

    async def find(self, domains):
        return {domain: "big" for domain in domains if domain == "b.test"}
