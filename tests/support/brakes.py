"""The brakes of a cluster, in memory."""

from collections.abc import Callable, Sequence

from mta.model.brakes import Brake, Pull
from mta.ports.brakes import Rate, RateKey, SharedBrakes


class Brakes:
    """Fulfils ports.brakes.BrakeWork for one process."""

    def __init__(self) -> None:
        self.known: dict[str, Brake] = {}
        self.counts: dict[RateKey, Rate] = {}
        self.fresh: set[RateKey] = set()  # touched since the last look
        self.kept: dict[tuple[str, str, str, int], Pull] = {}
        self.leader = ""
        self.cleared: list[RateKey] = []
        self._version = 0
        self._hooks: list[Callable[[], None]] = []

    async def brakes(self, since: bytes = b"") -> SharedBrakes | None:
        version = b"%d|" % self._version
        return None if version == since else SharedBrakes(version, dict(sorted(self.known.items())))

    async def add(self, brake: Brake) -> None:
        self.known[brake.id] = brake
        self._changed()

    async def remove(self, brake_id: str) -> None:
        del self.known[brake_id]
        self.kept = {key: pull for key, pull in self.kept.items() if pull.brake != brake_id}
        self._changed()

    async def pulls(self, brake_id: str = "") -> list[Pull]:
        last = {pull.key: pull for _, pull in sorted(self.kept.items()) if brake_id in ("", pull.brake)}
        return list(last.values())

    async def rates(self, asked: Sequence[tuple[RateKey, int]]) -> dict[RateKey, Rate]:
        return {key: self.counts.get(key, Rate(0, 0)) for key, _ in asked}

    def on_change(self, hook: Callable[[], None]) -> None:
        self._hooks.append(hook)

    def count(self, key: RateKey, hits: int, counted: int) -> None:
        """The window stands so from now on."""
        self.counts[key] = Rate(hits, counted)
        self.fresh.add(key)

    async def lead(self, owner: str, seconds: float) -> bool:
        self.leader = self.leader or owner
        return self.leader == owner

    async def touched(self, afresh: bool) -> set[RateKey]:
        found = set(self.counts) if afresh else set(self.fresh)
        self.fresh.clear()
        return found

    async def forget_older(self, milliseconds: int) -> None:
        pass

    async def clear(self, key: RateKey) -> None:
        self.cleared.append(key)
        self.counts.pop(key, None)

    async def note(self, pull: Pull) -> Pull:
        return self.kept.setdefault((*pull.key, pull.number), pull)

    async def save(self, pull: Pull) -> None:
        self.kept[(*pull.key, pull.number)] = pull

    async def forget(self, pull: Pull) -> None:
        del self.kept[(*pull.key, pull.number)]

    def _changed(self) -> None:
        self._version += 1
        for hook in self._hooks:
            hook()
