"""The adapters by which a process accepts and reads mail in the store."""

from mta.model.settings import Settings
from mta.redis_store.content import StoredContent
from mta.redis_store.queues import Queues
from mta.runtime.wiring.opening import OpenStore


def stored_content(store: OpenStore, settings: Settings) -> StoredContent:
    return StoredContent(store.link, settings.content.compress_above)


def stored_queues(store: OpenStore, settings: Settings, content: StoredContent) -> Queues:
    journal = settings.journal
    return Queues(
        store.link,
        store.session,
        store.lanes,
        content,
        timeout=settings.redis.timeout,
        backlog_hard=journal.backlog_hard if journal.when_behind == "refuse" else 0,
        retention=settings.status.retention,
    )
