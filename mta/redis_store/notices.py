"""Pub/Sub: hints between the processes of a cluster."""

from collections.abc import Callable

from mta.model.mail import QueueKey
from mta.model.shares import split_place
from mta.redis_store import keys
from mta.redis_store.link import Link


class PublishedNotices:
    """Fulfils ports.notices.Notices."""

    def __init__(self, link: Link) -> None:
        self._link = link

    def on_queued(self, hook: Callable[[int], None]) -> None:
        self._link.hear(keys.WAKE_CHANNEL, lambda prefix: hook(keys.lane_of_prefix(prefix)))

    def on_slots(self, hook: Callable[[str, bool], None]) -> None:
        def heard(message: bytes) -> None:
            kind, _, site = message.decode().partition(" ")
            hook(site, kind == "free")

        self._link.hear(keys.SLOTS_CHANNEL, heard)

    def on_retry(self, hook: Callable[[QueueKey], None]) -> None:
        def heard(message: bytes) -> None:
            place, _, domain = message.decode().partition("|")
            hook(QueueKey(split_place(place)[0], domain))

        self._link.hear(keys.RETRY_CHANNEL, heard)

    def on_death(self, hook: Callable[[], None]) -> None:
        self._link.hear(keys.DEAD_CHANNEL, lambda session: hook())

    def on_reconnect(self, hook: Callable[[], None]) -> None:
        self._link.on_reconnect(hook)
