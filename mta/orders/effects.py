"""The effect of a change that is effective: the deliveries past their dot, and when the last was settled."""

from collections.abc import Callable, Mapping

from mta.model.rules import Effective, PastDot, Rule, SessionState
from mta.ports.orders import Effect
from mta.ports.rule_store import RuleStore


class Effects:
    """Reads the fixed list of an effect, with the time at which each delivery on it was settled."""

    def __init__(self, store: RuleStore, wall: Callable[[], int]) -> None:
        self._store = store
        self._wall = wall
        self._noticed: dict[tuple[str, str], int] = {}  # (rule, delivery) -> when its session was seen to be gone

    async def known(self, rule: Rule, created: bool, effect: Effective, effective_by: int = 0) -> Effect:
        entries = await self._past_dot(effect)
        settled = [entry.settled_at for entry in entries]
        return Effect(
            rule=rule,
            created=created,
            effective=True,
            effective_at=effect.effective_at,
            effective_by=effective_by or effect.effective_at,
            past_dot=entries,
            quiet_at=max([effect.effective_at, *settled]) if all(settled) else 0,
            confirmed=effect.confirmed,
            unconfirmed=effect.unconfirmed,
        )

    async def _past_dot(self, effect: Effective) -> tuple[PastDot, ...]:
        """An entry whose session is gone will never be settled by it: it counts as settled from when that was seen."""
        if not effect.past_dot:
            return ()
        fixed = set(effect.past_dot)
        entries = sorted((e for e in await self._store.past_dot(effect.rule) if e.id in fixed), key=lambda e: e.dot_at)
        if all(entry.settled_at for entry in entries):
            return tuple(entries)
        sessions = await self._store.sessions()
        return tuple(entry if entry.settled_at else self._notice(entry, sessions) for entry in entries)

    def _notice(self, entry: PastDot, sessions: Mapping[str, SessionState]) -> PastDot:
        state = sessions.get(entry.session)
        if state is not None and not state.dead:
            return entry
        at = self._noticed.setdefault((entry.rule, entry.id), self._wall())
        return PastDot(entry.rule, entry.id, entry.recipient, entry.dot_at, entry.session, at)
