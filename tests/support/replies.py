"""The reply entries of a cluster, in memory."""

from collections.abc import Callable, Mapping

from mta.model.replies import ReplyEntry, UnknownReply
from mta.ports.replies import CountedReply, SharedEntries


class Replies:
    """Fulfils ports.replies.ReplyStore."""

    def __init__(self) -> None:
        self._entries: dict[str, ReplyEntry] = {}
        self._unknown: dict[UnknownReply, tuple[int, int]] = {}
        self._version = 0
        self._hooks: list[Callable[[], None]] = []

    async def entries(self, since: bytes = b"") -> SharedEntries | None:
        version = b"%d|" % self._version
        return None if version == since else SharedEntries(version, dict(sorted(self._entries.items())))

    async def put(self, name: str, entry: ReplyEntry) -> bool:
        created = name not in self._entries
        self._entries[name] = entry
        self._changed()
        return created

    async def remove(self, name: str) -> bool:
        self._changed()
        return self._entries.pop(name, None) is not None

    async def note_unknown(self, counts: Mapping[UnknownReply, int], now: int) -> None:
        for reply, count in counts.items():
            self._unknown[reply] = self._unknown.get(reply, (0, 0))[0] + count, now

    async def unknown(self) -> list[CountedReply]:
        every = [CountedReply(reply, count, at) for reply, (count, at) in self._unknown.items()]
        return sorted(every, key=lambda one: -one.many)

    def on_change(self, hook: Callable[[], None]) -> None:
        self._hooks.append(hook)

    def _changed(self) -> None:
        self._version += 1
        for hook in self._hooks:
            hook()
