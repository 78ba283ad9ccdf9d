"""The room of a path: how many connections from one IP a site accepts, learned from the connections that it refused.

A host that greets with 4xx, or closes the connection before it was ready for mail, while others of the same path are
open, allows no more than these. Further connections are then tried one at a time, each refusal doubles the wait for the
next one, and mail waits for the connections that are open. Where no connection of the path is open, a refusal is an
ordinary failure of the attempt.
"""

import asyncio
import time
from collections import Counter, deque
from collections.abc import Callable
from typing import Final, NamedTuple, TypeVar

from mta.egress.open_paths import OpenPaths
from mta.egress.targets import Target
from mta.timing.backoff import Backoff

FIRST_WAIT: Final = 1.0  # seconds from a refusal to the next try
LONGEST_WAIT: Final = 60.0
AT_FIRST: Final = 5  # connections that are begun together at an address (Postfix begins with as many)
TOGETHER: Final = 0.5  # seconds for which one counts among these, unless it is ready or has failed before
_QUIET: Final = 600.0  # seconds without a refusal after which a path has no bound
_SOON: Final = 0.1  # seconds until a connection that is under way may have come

_Peer = tuple[str, str, int]  # sending IP, IP and port of the host
_Key = TypeVar("_Key")


class Path(NamedTuple):
    """The way from one of our IPs ("" = the one that the system chooses) to a site."""

    site: str
    ip: str


class PathShare:
    """One connection of a path, from before it is opened until it is closed."""

    __slots__ = ("is_open", "path")

    def __init__(self, path: Path) -> None:
        self.path = path
        self.is_open = False


class _Narrow:
    """The bound of a path that has refused connections."""

    __slots__ = ("accepted", "backoff", "next_try", "until")

    def __init__(self) -> None:
        self.accepted = 0  # so many may be open
        self.backoff = Backoff(FIRST_WAIT, LONGEST_WAIT)
        self.next_try = 0.0  # when one more is tried
        self.until = 0.0


class PathRoom:
    """All paths of a worker. A path that has refused nothing costs a connection some counting."""

    def __init__(self, open_paths: OpenPaths, clock: Callable[[], float] = time.monotonic) -> None:
        """`clock` gives seconds."""
        self._open_paths = open_paths
        self._clock = clock
        self._open = Counter[Path]()
        self._coming = Counter[Path]()
        self._dialing: dict[_Peer, deque[float]] = {}  # when connections were begun that are not ready yet
        self._waiting: dict[_Peer, deque[asyncio.Future[None]]] = {}  # for the end of one of these
        self._narrow: dict[Path, _Narrow] = {}
        self._sites = Counter[str]()  # of the paths in `_narrow`

    def is_narrow(self, site: str) -> bool:
        """Whether a path to the site has refused a connection, so that its mail needs room before it is claimed."""
        return site in self._sites

    def take(self, site: str, ip: str) -> PathShare | float:
        """A share for one more connection, or the seconds to wait before asking again."""
        path = Path(site, ip)
        narrow = self._narrow.get(path)
        if narrow is not None and self._open[path] + self._coming[path] >= narrow.accepted:
            wait = narrow.next_try - self._clock()
            if wait > 0 or self._coming[path]:
                return max(wait, _SOON)
        self._coming[path] += 1
        return PathShare(path)

    def give(self, share: PathShare) -> None:
        """Its connection is closed, or was never made."""
        if share.is_open:
            _less(self._open, share.path)
        else:
            _less(self._coming, share.path)

    def begin(self, share: PathShare, target: Target) -> float:
        """Begin to connect to the target. Returns 0, or the seconds to wait for an end at most, because as many as are
        open, and five at least, were begun there just now. After 0 comes `end`."""
        now = self._clock()
        begun = self._dialing.setdefault(_peer(share, target), deque())
        while begun and begun[0] <= now - TOGETHER:
            begun.popleft()
        if len(begun) >= max(AT_FIRST, self._open[share.path]):
            return max(begun[0] + TOGETHER - now, _SOON)
        begun.append(now)
        return 0.0

    async def wait_for_end(self, share: PathShare, target: Target, seconds: float) -> None:
        """Wait until one that was begun at the target is open or failed, for so many seconds at most."""
        peer, ended = _peer(share, target), asyncio.get_running_loop().create_future()
        waiting = self._waiting.setdefault(peer, deque())
        waiting.append(ended)
        try:
            async with asyncio.timeout(seconds):
                await ended
        except TimeoutError:
            return
        finally:
            waiting.remove(ended)
            if not waiting:
                self._waiting.pop(peer, None)

    def end(self, share: PathShare, target: Target) -> None:
        """The connection is open, or was not made."""
        peer = _peer(share, target)
        if begun := self._dialing.get(peer):
            begun.popleft()
        if not begun:
            self._dialing.pop(peer, None)
        for waiting in self._waiting.get(peer, ()):
            if not waiting.done():
                waiting.set_result(None)
                return

    def opened(self, share: PathShare) -> None:
        """The connection is ready for mail."""
        path = share.path
        _less(self._coming, path)
        share.is_open = True
        self._open[path] += 1
        if self._open[path] == 1:
            self._open_paths.opened(path)
        narrow = self._narrow.get(path)
        if narrow is not None and self._open[path] > narrow.accepted:
            narrow.accepted = self._open[path]
            narrow.backoff.succeeded()
            narrow.next_try = self._clock() + FIRST_WAIT

    def refused(self, share: PathShare) -> float:
        """The host wants no such connection now. Returns the seconds to wait before one more is tried; 0: none is open
        on this path, so that the refusal says nothing about their number."""
        path, now = share.path, self._clock()
        narrow = self._narrow.get(path)
        if not self._open[path] and not self._open_paths.has(path):
            if narrow is not None:
                self._widen(path)
            return 0.0
        if narrow is None:
            narrow = self._narrow[path] = _Narrow()
            self._sites[path.site] += 1
        narrow.accepted = self._open[path]
        narrow.until = now + _QUIET
        if narrow.next_try <= now:  # else it is one of several that were begun together
            narrow.next_try = now + narrow.backoff.failed()
        return narrow.next_try - now

    def tick(self) -> None:
        """Called once a second or more often: tell the other workers of the node which paths have open connections,
        and forget refusals that are long ago."""
        now = self._clock()
        self._open_paths.tell(self._open)
        for path in [path for path, narrow in self._narrow.items() if narrow.until <= now]:
            self._widen(path)

    def _widen(self, path: Path) -> None:
        del self._narrow[path]
        _less(self._sites, path.site)

    def __repr__(self) -> str:
        return f"<PathRoom open={self._open.total()} narrow={len(self._narrow)}>"


def _peer(share: PathShare, target: Target) -> _Peer:
    return share.path.ip, target.ip, target.port


def _less(counter: Counter[_Key], key: _Key) -> None:
    """One less; those at 0 are forgotten."""
    if counter[key] > 1:
        counter[key] -= 1
    else:
        del counter[key]
