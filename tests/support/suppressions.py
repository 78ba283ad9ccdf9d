"""Suppressions in memory."""

import zlib
from collections.abc import Callable, Collection, Mapping, Sequence

from mta.model.suppressions import Suppressed, Suppression, SuppressionKey
from mta.policy.fingerprints import fingerprint
from mta.ports.suppressions import SuppressionHead, SuppressionPage, SuppressionPlace


class MemorySuppressions:
    """Fulfils ports.suppressions.SuppressionStore and SuppressionChanges; it has two shares."""

    def __init__(self) -> None:
        self.kept: dict[SuppressionKey, Suppression] = {}
        self.tellings: list[list[int]] = []  # a telling has the number of its place, from 1
        self.first = 1  # number of the first telling that is not forgotten
        self.removed = 0
        self.born = b"1"
        self.asked: list[SuppressionKey] = []
        self.readings = 0
        self.young = 0  # so many of the last tellings are recent
        self._hooks: list[Callable[[], None]] = []

    async def put(self, items: Sequence[Suppressed]) -> tuple[int, int]:
        new = {key for key, _ in items} - self.kept.keys()
        self.tellings.append([fingerprint(key.name) for key, _ in items])
        self.kept.update(items)
        for hook in self._hooks:
            hook()
        return len(self.tellings), len(new)

    async def remove(self, keys: Collection[SuppressionKey]) -> int:
        gone = [key for key in keys if self.kept.pop(key, None) is not None]
        self.removed += len(gone)
        self.tellings.append([])
        return len(gone)

    async def find(self, keys: Collection[SuppressionKey]) -> Mapping[SuppressionKey, Suppression]:
        self.asked += sorted(keys)
        return {key: self.kept[key] for key in keys if key in self.kept}

    async def page(self, place: SuppressionPlace, subject: str = "") -> SuppressionPage:
        items = [Suppressed(key, value) for key, value in sorted(self.kept.items()) if subject in ("", key.subject)]
        if subject:
            return SuppressionPage(items[place.skip :], None)
        its = [item for item in items if zlib.crc32(item.key.name) % 2 == place.share]
        return SuppressionPage(its[place.skip :], None if place.share else SuppressionPlace(1))

    async def head(self) -> SuppressionHead:
        return SuppressionHead(len(self.tellings), self.removed, self.born)

    async def announced(self, since: int) -> Sequence[tuple[int, Sequence[int]]] | None:
        if since + 1 < self.first:
            return None
        return list(enumerate(self.tellings, 1))[since:][:2]

    async def prints(self, share: int, cursor: int) -> tuple[int, Sequence[int]]:
        self.readings += share == 0
        return 0, [] if share else [fingerprint(key.name) for key in self.kept]

    async def recent(self) -> Sequence[int]:
        return [one for telling in self.tellings[-self.young :] for one in telling] if self.young else []

    def on_change(self, hook: Callable[[], None]) -> None:
        self._hooks.append(hook)
