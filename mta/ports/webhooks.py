"""Webhooks: the endpoints of the cluster, their state, and the requests to them."""

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple, Protocol

import msgspec

from mta.model.webhooks import Endpoint, EndpointFigures
from mta.ports.history import Cursor


class SharedEndpoints(NamedTuple):
    """The endpoints of the cluster, by id."""

    version: bytes  # another one with each change
    endpoints: Mapping[str, Endpoint]


EndpointEdit = Callable[[Endpoint | None], Endpoint | None]  # None: there is nothing to change


class EndpointStore(Protocol):
    """The endpoints as all nodes know them. Raises StoreAway, StoreError; a call may be repeated."""

    async def endpoints(self, since: bytes = b"") -> SharedEndpoints | None:
        """None: their version is `since`."""
        ...

    async def edit(self, endpoint_id: str, edit: EndpointEdit, *, bound: bool = False) -> Endpoint | None:
        """Put what `edit` makes of the endpoint as it stands. Raises BadValue: there are too many, or too many of its
        tenant, whose token (`bound`) may make a share of them only."""
        ...

    async def remove(self, endpoint_id: str) -> None: ...

    async def figures(self) -> dict[str, EndpointFigures]:
        """By id, of those that a process serves or has served."""
        ...

    def on_change(self, hook: Callable[[], None]) -> None:
        """Hints, which may be lost: an endpoint was changed."""
        ...


class EndpointWork(EndpointStore, Protocol):
    """The calls of the process that serves endpoints."""

    async def lead(self, endpoint_id: str, owner: str, seconds: float) -> bool:
        """Whether `owner` serves the endpoint, for so many seconds from now at least."""
        ...

    async def let_go(self, endpoint_id: str, owner: str) -> None:
        """Another process may serve it at once."""
        ...

    async def attend(self, owner: str, seconds: float) -> int:
        """Note that this process serves endpoints for so many seconds; how many processes do."""
        ...

    async def tell(self, figures: Mapping[str, EndpointFigures]) -> None: ...


class EventPlace(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """An event that is to be sent: its place in history, and its message (b"" = it is no event of a message)."""

    batch: int
    place: int
    message: bytes = b""

    @property
    def cursor(self) -> Cursor:
        return Cursor(self.batch, self.place)


class KeptRequest(NamedTuple):
    """A request that is not answered yet, as it outlives the process. Its events stay together."""

    number: int  # of the endpoint's requests: the order in which they are sent first
    events: tuple[EventPlace, ...]
    failures: int = 0
    due: int = 0  # Unix ms
    since: int = 0  # Unix ms of its first failure


class KeptStream(msgspec.Struct, frozen=True):
    """How far one stream of an endpoint is: what is before `at` was answered, given up, or is among the requests."""

    at: Cursor
    end: Cursor | None = None  # of a replay
    number: int = 0  # of the replay, 0 = the live stream


class KeptFigures(msgspec.Struct, frozen=True, omit_defaults=True):
    """Figures of an endpoint that outlive the process; times are Unix milliseconds, 0 = never."""

    failures: int = 0  # in a row
    failing_since: int = 0  # the first of them
    last_success: int = 0
    last_failure: int = 0
    last_failure_text: str = ""
    next_probe: int = 0
    probes: int = 0  # that failed, since it is failing
    given_up: int = 0
    lost: int = 0


class KeptState(NamedTuple):
    """The state of an endpoint as it was kept last."""

    streams: Mapping[bool, KeptStream]  # False: the live one, True: a replay
    requests: Mapping[bool, Sequence[KeptRequest]]  # by number
    figures: KeptFigures


class StateChange(NamedTuple):
    """Everything that one write changes."""

    streams: Mapping[bool, KeptStream | None]  # None: it is over
    put: Sequence[tuple[bool, KeptRequest]]
    drop: Sequence[tuple[bool, int]]  # numbers
    figures: KeptFigures


class OwnerMoved(Exception):
    """Another process serves the endpoint now: nothing was written."""


class WebhookState(Protocol):
    """The state of endpoints, beside history. Blocking calls; they raise HistoryAway."""

    def open(self) -> None:
        """Make what is missing. May be repeated."""
        ...

    def take(self, endpoint_id: str) -> tuple[int, KeptState | None]:
        """Become the owner of an endpoint's state: its number, which every write needs, and the state; None: it has
        none yet."""
        ...

    def write(self, endpoint_id: str, owner: int, change: StateChange) -> None:
        """All of it or nothing. Raises OwnerMoved."""
        ...

    def known(self) -> Sequence[str]:
        """The ids of the endpoints that have a state."""
        ...

    def forget(self, endpoint_id: str) -> None:
        """Drop the state of an endpoint that was removed."""
        ...

    def close(self) -> None: ...


class PostAnswer(NamedTuple):
    """The end of one request."""

    status: int  # of HTTP, 0 = there was no answer
    failure: str = ""  # for people; "" = success
    retry_after: float | None = None  # seconds, where the endpoint says so


class Poster(Protocol):
    """Sends requests to endpoints, and to no address that the settings do not allow."""

    async def post(self, url: str, body: bytes, headers: Mapping[str, str]) -> PostAnswer:
        """Raises nothing but a cancellation."""
        ...

    async def close(self) -> None: ...


class EndpointOrders(Protocol):
    """Orders about endpoints, as people give them. Raises StoreError, SealError, BadValue."""

    def check(self, wanted: Endpoint) -> None:
        """Raises BadValue: no request may go to its URL; HistoryOff: nothing is kept that it could be told."""
        ...

    async def all(self) -> Sequence[Endpoint]:
        """The oldest first."""
        ...

    async def one(self, endpoint_id: str) -> Endpoint | None: ...

    async def figures(self) -> dict[str, EndpointFigures]: ...

    async def add(self, wanted: Endpoint, *, bound: bool) -> str:
        """Keep a new one, as a token asks that is `bound` to its tenant, or another one; the text of its secret, which
        is shown this once."""
        ...

    async def rotate(self, endpoint_id: str) -> tuple[Endpoint, str] | None:
        """Give it a new secret; the old one signs along for a day. The new secret's text; None: there is no such
        endpoint."""
        ...

    async def enable(self, endpoint_id: str) -> Endpoint | None: ...

    async def replay(self, endpoint_id: str, begin: int, end: int) -> Endpoint | None:
        """Send the events of that time (Unix ms) once more."""
        ...

    async def test(self, endpoint: Endpoint) -> PostAnswer:
        """Send it an event of the type webhook:test now."""
        ...

    async def remove(self, endpoint_id: str) -> None: ...
