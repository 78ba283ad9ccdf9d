"""The questions of scheduling and egress to one another, and to DNS."""

from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol

from mta.model.mail import Claimed, QueueKey
from mta.model.outcomes import Outcome
from mta.model.paths import SendingPath


class Deliver(Protocol):
    """Egress, as scheduling sees it. All synchronous."""

    def room(self, queue: QueueKey) -> int:
        """How many more deliveries of the queue it would take now (connections open or allowed, times a depth)."""
        ...

    def headroom(self, queue: QueueKey, share: str) -> int:
        """How many more it would take of a share that has no mail waiting here while others have, beyond the room that
        those use up: so mail of a small share need not wait until they have gone."""
        ...

    def can_start(self, queue: QueueKey) -> bool:
        """Whether another transaction of the queue could begin without waiting for the end of one that runs."""
        ...

    def deliver(self, deliveries: Sequence[Claimed]) -> None:
        """Attempt them (all of one queue): each is settled exactly once, sooner or later."""
        ...


class Settle(Protocol):
    """Scheduling's settler, as egress sees it. Synchronous; batches are written behind it."""

    def settle(self, claimed: Claimed, outcome: Outcome) -> None: ...

    def expire(self, claimed: Claimed) -> None:
        """The delivery's time was over before an attempt of it began."""
        ...

    def escaped(self, claimed: Claimed, mta: str, mx: str, remote_ip: str) -> None:
        """The second look found the permit gone after the dot was written: record it (event Escaped)."""
        ...


class Capacity(Protocol):
    """Scheduling, as egress tells it of room for more deliveries. Synchronous."""

    def room_for(self, queue: QueueKey, room: Callable[[], int]) -> None:
        """The queue may have room again: a connection came free or was closed. `room` answers how much; it is asked
        only where mail of the queue waits for room."""
        ...

    def room_for_new(self) -> None:
        """Queues may have room again that had none because too many waited for a connection."""
        ...


class ConnectionShare(NamedTuple):
    """The slots that one connection holds."""

    site: str
    scopes: tuple[str, ...]  # of which it holds a slot each; () = no limit of connections held when it was taken


class Limits(Protocol):
    """The shared limits of sites, exact over all processes; slices of them are held by this session."""

    async def take_connection(self, path: SendingPath) -> ConnectionShare | float:
        """The share of one connection, ours until given back; else the seconds to wait before asking again.
        Raises StoreAway."""
        ...

    def give_connection(self, share: ConnectionShare) -> None:
        """The connection is closed, or was never made."""
        ...

    def is_wanted(self, site: str) -> bool:
        """Whether a process was refused a connection to the site lately: connections without mail are in its way."""
        ...

    def on_slots(self, tell: Callable[[str, bool], None]) -> None:
        """`tell` is called with a site when a process is refused a connection to it (False), and when one may be had
        again (True)."""
        ...

    def take_message(self, path: SendingPath) -> float:
        """0.0: one transaction may begin now (a token is spent); else the seconds to wait before asking again.
        Synchronous: tokens come in slices that are fetched behind it."""
        ...


class WarmUps(Protocol):
    """The warm-up of sending IPs: how many messages each may send to a site today, exact over all processes."""

    def concerns(self, pool: str) -> bool:
        """Whether an IP of the pool may be warming up."""
        ...

    def is_warming(self, ip: str) -> bool:
        """Whether messages of this IP are counted."""
        ...

    async def admits(self, site: str, ip: str) -> float:
        """0.0: a message may begin from this IP to the site today; else the seconds to wait before asking again. Raises
        nothing: without the store none may."""
        ...

    def take(self, path: SendingPath) -> bool:
        """Spend one message of the day. False: none is in hand. Synchronous: they come in slices."""
        ...


class WarmUpGiven(NamedTuple):
    """The answer to a process that asks for messages of a day."""

    day: int  # of the schedule; beyond its end the IP is warm
    messages: int  # of that day over all processes
    granted: int  # how many more the process may begin


class WarmUpStore(Protocol):
    """Each call raises StoreAway, StoreError."""

    async def take_warm_up(
        self, site: str, ip: str, date: int, told: tuple[int, int, int], wanted: int, schedule: Sequence[int]
    ) -> WarmUpGiven:
        """Get up to `wanted` messages of the `date` (days since 1970). `told`: the date of the caller's own report,
        the messages begun since its last report, and those that it gives back."""
        ...


class Sites(Protocol):
    """The sites of domains: the providers that take their mail. Synchronous."""

    def of(self, domain: str) -> str | None:
        """The site of the domain; None: it is not known yet, and is being found out."""
        ...

    def of_target(self, domain: str, host: str) -> str:
        """The site that mail of the domain reaches at this host."""
        ...

    def on_known(self, tell: Callable[[Sequence[str]], None]) -> None:
        """`tell` is called with domains that were not known when they were asked for, and are now."""
        ...


class SlotsWanted(NamedTuple):
    """Connection slots of one scope of a site that a session asks for."""

    scope: str
    limit: int  # for all sessions together
    wanted: int
    least: int  # in use, and so never taken away


class HeldSlots(NamedTuple):
    """The connection slots that a session holds now, by scope as it asked."""

    held: list[int]
    binds: int | None  # the number of the scope that has no slot left; None: each scope gave one


class TokensTaken(NamedTuple):
    """Tokens of a rate: instants, the scope's interval apart."""

    now: int  # the store's, Unix ms
    first: float  # the first instant, Unix ms
    many: int
    binds: int  # the number of the scope whose instant is the last


class LimitStore(Protocol):
    """Where the shared limits are kept, exact over all processes; raises StoreAway, StoreError."""

    async def hold_slots(self, site: str, wanted: Sequence[SlotsWanted]) -> HeldSlots:
        """Make this session's connection slots in each scope `wanted`, as far as `limit` for all sessions allows, but
        not below `least`. If one scope has none to give, no scope gives any. May be repeated."""
        ...

    async def take_tokens(
        self, site: str, kind: str, scopes: Sequence[tuple[str, float]], most: int, ahead_ms: float
    ) -> TokensTaken:
        """Take instants of each of the `scopes` (name, interval in ms); each is given out once, and all scopes give
        them or none. None when the first instant is more than `ahead_ms` away. `kind`: "messages" | "connections"."""
        ...

    async def holders(self) -> set[str]:
        """Sessions that hold slots, also those that are not registered."""
        ...

    async def forget(self, session: str) -> None:
        """Free what a dead session held."""
        ...


class MxAnswer(NamedTuple):
    """Hosts in the order to try them (equal preferences shuffled), or why there are none."""

    hosts: tuple[str, ...]
    failure: str = ""  # a person's words; "" = hosts are given
    temporary: bool = False
    enhanced: str = ""  # 5.1.10 null MX, 5.1.2 no such domain, 4.4.3 DNS trouble, ...
    first: int = 1  # so many of the hosts have the best preference


class Resolver(Protocol):
    """DNS, cached by TTL. Failures are values: nothing is raised."""

    async def mx(self, domain: str) -> MxAnswer: ...

    async def addresses(self, host: str) -> "AddressAnswer": ...

    async def texts(self, name: str) -> "TextAnswer": ...

    def has_texts(self, name: str) -> bool:
        """Whether `texts` answers from memory."""
        ...


class TextAnswer(NamedTuple):
    """The TXT records of a name, each as one text; none with `failed` = nobody knows."""

    texts: tuple[str, ...] = ()
    failed: bool = False


class AddressAnswer(NamedTuple):
    """The addresses of a host, IPv6 and IPv4 as found; none with `temporary` = try later."""

    addresses: tuple[str, ...]
    failure: str = ""
    temporary: bool = False
