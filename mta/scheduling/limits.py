"""The shared limits of sites, held by this process in small slices: connection slots and rate tokens."""

import asyncio
import logging
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import NamedTuple

from mta.model.errors import StoreError, severity
from mta.model.paths import SendingPath
from mta.policy.shaping import Budget, Shaping
from mta.ports.delivery import ConnectionShare, LimitStore, SlotsWanted

# Instants lie on a grid of (60 s + this slack) / limit and may be used until 0.9 s after their time, so that no
# window of 60 s, wherever it begins, holds more than the limit.
_GRID_SLACK_MS = 1000.0
_LATE = 0.9
_AHEAD_MS = 250.0  # a slice of tokens lasts that long
_GIVEN_AHEAD_MS = 1000.0  # the store gives an instant at most that long before it
_GIVEN_TOGETHER_MS = 5.0  # likewise where several scopes give it
_MOST_SCOPES = 100  # told to the store in one call
_SLICE = 4
_POLL = 0.25  # when every slot is out
_KEEP = 0.5  # slots not in use are given back after that time
_WANTED_FOR = 1.0  # what is not used is given back at once for so long after a process was refused a slot
_CLOSED = 2.0  # a limit order lets nothing leave
_ASKING = 0.01
_AWAY = 1.0

_log = logging.getLogger(__name__)


class _Tokens(NamedTuple):
    """Instants on this process's monotonic clock (seconds): token i from opens + i * step until closes + i * step."""

    opens: float
    closes: float


class _Rate:
    """The tokens of one kind for the same scopes of a site."""

    def __init__(
        self,
        store: LimitStore,
        site: str,
        kind: str,
        scopes: Sequence[tuple[str, float]],
        clock: Callable[[], float],
    ) -> None:
        """`scopes`: name, and limit a minute."""
        self._store = store
        self._site = site
        self._kind = kind
        self._scopes = [(scope, (60000.0 + _GRID_SLACK_MS) / per_minute) for scope, per_minute in scopes]
        self._slowest = max(interval for _, interval in self._scopes)
        self._fastest = min(interval for _, interval in self._scopes)
        self._most = max(1, int(_AHEAD_MS / self._slowest))
        # Where several scopes give the same instants, those that a scope skips for another one are lost to it.
        self._ahead = _GIVEN_AHEAD_MS if len(self._scopes) == 1 else _GIVEN_TOGETHER_MS
        self._clock = clock
        self._tokens: deque[_Tokens] = deque()
        self._asking: asyncio.Task[None] | None = None
        self._not_before = 0.0

    def take(self) -> float:
        """0.0: a token is spent; else the seconds to wait before asking again."""
        now, tokens = self._clock(), self._tokens
        while tokens and tokens[0].closes < now:
            tokens.popleft()
        if tokens and tokens[0].opens <= now:
            tokens.popleft()
            wait = 0.0
        elif tokens:
            wait = tokens[0].opens - now
        else:
            wait = max(_ASKING, self._not_before - now)
        short = len(tokens) <= self._most // 2 and not (tokens and wait)
        if short and self._asking is None and now >= self._not_before:
            self._asking = asyncio.get_running_loop().create_task(self._ask())
        return wait

    async def _ask(self) -> None:
        asked = self._clock()
        try:
            at, first, count, _ = await self._store.take_tokens(
                self._site, self._kind, self._scopes, self._most, self._ahead
            )
        except StoreError as error:
            self._not_before = self._clock() + _AWAY
            _log.log(severity(error), "no rate tokens for %s: %s", self._site, error)
            return
        finally:
            self._asking = None
        # The store's `at` was some moment between question and answer: open by the later, close by the earlier.
        answered, ahead = self._clock(), (first - at) / 1000
        for i in range(count):
            opens, closes = ahead + i * self._slowest / 1000, ahead + i * self._fastest / 1000
            self._tokens.append(_Tokens(answered + opens, asked + closes + _LATE))
        if count == 0:
            self._not_before = answered + max(_ASKING, ahead - self._ahead / 1000)


class _Slots:
    """The connection slots of one site that this process holds, by scope: in use, and spare.

    The store is told how many they are, never how many more or fewer: an answer that was lost is made good by the next
    call. One call at a time.
    """

    def __init__(self, store: LimitStore, site: str) -> None:
        self._store = store
        self._site = site
        self._limits: dict[str, int] = {}
        self._used: dict[str, int] = {}
        self._held: dict[str, int] = {}
        self._refused: dict[str, float] = {}  # scopes that had no slot left -> until when they are not asked again
        self._wanted_until = 0.0
        self.calling: asyncio.Task[str | None] | None = None
        self._timer: asyncio.TimerHandle | None = None

    def told(self, *, free: bool) -> None:
        """A process was refused a slot, or another one gave one back."""
        if free:
            self._refused.clear()
        else:
            self._wanted_until = time.monotonic() + _WANTED_FOR
            if any(held > self._used[scope] for scope, held in self._held.items()):
                self.give_back()

    @property
    def is_wanted(self) -> bool:
        return self._wanted_until > time.monotonic()

    async def take(self, budgets: Sequence[Budget]) -> str | None:
        """Take a slot of each scope. Returns the scope that has none; None: they are taken. Raises StoreError."""
        scopes = [budget.scope for budget in budgets]
        while True:
            for budget in budgets:
                if budget.connections < self._limits.get(budget.scope, 0):
                    self._held[budget.scope] = self._used[budget.scope]  # spare slots of a wider limit are none now
                self._limits[budget.scope] = budget.connections
                self._used.setdefault(budget.scope, 0)
                self._held.setdefault(budget.scope, 0)
            if all(self._used[scope] < self._held[scope] for scope in scopes):
                break
            now = time.monotonic()
            refused = [scope for scope in scopes if self._refused.get(scope, 0.0) > now]
            if refused:
                return refused[0]
            before = self.calling
            if before is None:
                wanted = {scope: max(self._held[scope], self._used[scope] + self._slice(scope)) for scope in scopes}
                self.calling = asyncio.get_running_loop().create_task(self._hold(wanted))
            # Shielded: the slots become spare if the caller is cancelled before they come.
            binds = await asyncio.shield(self.calling or asyncio.sleep(0))
            if before is None and binds is not None:
                self._refused[binds] = time.monotonic() + _POLL
                return binds
        for scope in scopes:
            self._used[scope] += 1
        return None

    def release(self, scopes: Sequence[str]) -> None:
        """A connection is closed: its slots are spare for a while, then others may have them."""
        for scope in scopes:
            self._used[scope] -= 1
            self._refused.pop(scope, None)
        if self.is_wanted:
            self.give_back()
        else:
            self._later(_KEEP)

    def _slice(self, scope: str) -> int:
        return max(1, min(_SLICE, self._limits[scope] // 8))

    async def _hold(self, wanted: dict[str, int]) -> str | None:
        """Hold so many slots. Returns the scope that has none left."""
        scopes = list(wanted)
        asked = [SlotsWanted(scope, self._limits[scope], wanted[scope], self._used[scope]) for scope in scopes]
        try:
            held, binds = await self._store.hold_slots(self._site, asked)
        except StoreError:
            for scope in scopes:  # so many we hold, whether the call was carried out or not
                self._held[scope] = min(self._held[scope], wanted[scope])
            self._later(_AWAY)
            raise
        finally:
            self.calling = None
        self._held.update(zip(scopes, held, strict=True))
        if any(self._held[scope] > self._used[scope] for scope in scopes):
            self._later(_KEEP)
        return None if binds is None else scopes[binds]

    def _later(self, seconds: float) -> None:
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(seconds, self.give_back)

    def give_back(self, *, all_scopes: bool = False) -> None:
        """Give what is spare to the others. `all_scopes`: tell the store of those that have nothing to spare, too."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self.calling is not None:
            self._later(_KEEP)
            return
        scopes = [scope for scope, held in self._held.items() if all_scopes or held != self._used[scope]][:_MOST_SCOPES]
        if not scopes:
            self._forget_unused()
            return
        for scope in scopes:
            self._held[scope] = self._used[scope]
        self.calling = asyncio.get_running_loop().create_task(
            self._hold({scope: self._used[scope] for scope in scopes})
        )
        self.calling.add_done_callback(self._told)

    def _forget_unused(self) -> None:
        for scope in [scope for scope, held in self._held.items() if not held and not self._used[scope]]:
            del self._held[scope], self._used[scope], self._limits[scope]

    def _told(self, task: asyncio.Task[str | None]) -> None:
        error = None if task.cancelled() else task.exception()
        if error is not None:
            _log.log(severity(error), "connection slots of %s are given back later: %s", self._site, error)


class SharedLimits:
    """Fulfils ports.delivery.Limits. A path without limits costs no call."""

    def __init__(self, store: LimitStore, shaping: Shaping, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._store = store
        self._shaping = shaping
        self._clock = clock
        self._slots: dict[str, _Slots] = {}
        self._tell: Callable[[str, bool], None] = lambda site, free: None
        self._rates: dict[tuple[str, str, tuple[str, ...]], tuple[tuple[tuple[str, float], ...], _Rate]] = {}

    async def take_connection(self, path: SendingPath) -> ConnectionShare | float:
        budgets = self._shaping.budgets(path)
        if not budgets:
            return ConnectionShare(path.site, ())
        if any(budget.closed for budget in budgets):
            return _CLOSED
        counted = [budget for budget in budgets if budget.connections]
        if counted:
            slots = self._slots.get(path.site)
            if slots is None:
                slots = self._slots[path.site] = _Slots(self._store, path.site)
            if await slots.take(counted) is not None:
                return _POLL
        # Those that were taken: limit orders may have changed the budgets when they are given back.
        share = ConnectionShare(path.site, tuple(budget.scope for budget in counted))
        rates = tuple(
            (budget.scope, budget.connections_per_minute) for budget in budgets if budget.connections_per_minute
        )
        if rates:
            wait = self._rate("connections", path.site, rates).take()
            if wait > 0:
                self.give_connection(share)
                return wait
        return share

    def give_connection(self, share: ConnectionShare) -> None:
        if share.scopes:
            self._slots[share.site].release(share.scopes)

    def is_wanted(self, site: str) -> bool:
        slots = self._slots.get(site)
        return slots is not None and slots.is_wanted

    def on_slots(self, tell: Callable[[str, bool], None]) -> None:
        self._tell = tell

    def heard(self, site: str, free: bool) -> None:
        """A process was refused a slot of the site, or gave one back."""
        slots = self._slots.get(site)
        if slots is not None:
            slots.told(free=free)
            self._tell(site, free)

    def take_message(self, path: SendingPath) -> float:
        rates = tuple(
            (budget.scope, budget.messages_per_minute)
            for budget in self._shaping.budgets(path)
            if budget.messages_per_minute
        )
        return self._rate("messages", path.site, rates).take() if rates else 0.0

    def renew(self) -> None:
        """The session is a new one: slots in use are held under its name from now on."""
        for slots in self._slots.values():
            slots.give_back(all_scopes=True)

    async def drain(self) -> None:
        """Give every slot back that is not in use."""
        for slots in self._slots.values():
            slots.give_back()
        giving = [slots.calling for slots in self._slots.values() if slots.calling is not None]
        if giving:
            await asyncio.wait(giving)

    def _rate(self, kind: str, site: str, scopes: tuple[tuple[str, float], ...]) -> _Rate:
        names = kind, site, tuple(scope for scope, _ in scopes)
        known, rate = self._rates.get(names, ((), None))
        if rate is None or known != scopes:  # a limit order has changed a value
            rate = _Rate(self._store, site, kind, scopes, self._clock)
            self._rates[names] = scopes, rate
        return rate
