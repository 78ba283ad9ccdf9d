"""Webhook endpoints without a store, a database or a network."""

from collections.abc import Callable, Mapping, Sequence

from mta.model.webhooks import Endpoint, EndpointFigures
from mta.ports.webhooks import (
    EndpointEdit,
    KeptFigures,
    KeptRequest,
    KeptState,
    KeptStream,
    OwnerMoved,
    PostAnswer,
    SharedEndpoints,
    StateChange,
)
from mta.webhooks.endpoint_book import EndpointBook
from tests.support.dkim_keys import OpenSeal


class Endpoints:
    """Fulfils ports.webhooks.EndpointWork for one process."""

    def __init__(self, reach: Callable[[], None] = lambda: None) -> None:
        self.reach = reach
        self.known: dict[str, Endpoint] = {}
        self.bound: set[str] = set()  # ids of those that tokens of tenants made
        self.told: dict[str, EndpointFigures] = {}
        self.leases: dict[str, str] = {}
        self.servers: set[str] = set()
        self._version = 0
        self._hooks: list[Callable[[], None]] = []

    async def endpoints(self, since: bytes = b"") -> SharedEndpoints | None:
        self.reach()
        version = b"%d|" % self._version
        return None if version == since else SharedEndpoints(version, dict(self.known))

    async def edit(self, endpoint_id: str, edit: EndpointEdit, *, bound: bool = False) -> Endpoint | None:
        self.reach()
        made = edit(self.known.get(endpoint_id))
        if made is not None:
            self.known[endpoint_id] = made
            if bound:
                self.bound.add(endpoint_id)
            self._changed()
        return made

    async def remove(self, endpoint_id: str) -> None:
        self.reach()
        self.known.pop(endpoint_id, None)
        self._changed()

    async def figures(self) -> dict[str, EndpointFigures]:
        self.reach()
        return dict(self.told)

    def on_change(self, hook: Callable[[], None]) -> None:
        self._hooks.append(hook)

    async def lead(self, endpoint_id: str, owner: str, seconds: float) -> bool:
        self.reach()
        return self.leases.setdefault(endpoint_id, owner) == owner

    async def let_go(self, endpoint_id: str, owner: str) -> None:
        if self.leases.get(endpoint_id) == owner:
            del self.leases[endpoint_id]

    async def attend(self, owner: str, seconds: float) -> int:
        self.reach()
        self.servers.add(owner)
        return len(self.servers)

    async def tell(self, figures: Mapping[str, EndpointFigures]) -> None:
        self.told |= figures

    def _changed(self) -> None:
        self._version += 1
        for hook in self._hooks:
            hook()


class MemoryState:
    """Fulfils ports.webhooks.WebhookState."""

    def __init__(self) -> None:
        self.owners: dict[str, int] = {}
        self.streams: dict[str, dict[bool, KeptStream]] = {}
        self.requests: dict[str, dict[tuple[bool, int], KeptRequest]] = {}
        self.figures: dict[str, KeptFigures] = {}
        self.writes = 0

    def open(self) -> None:
        pass

    def known(self) -> Sequence[str]:
        return list(self.owners)

    def take(self, endpoint_id: str) -> tuple[int, KeptState | None]:
        owner = self.owners[endpoint_id] = self.owners.get(endpoint_id, 0) + 1
        streams = self.streams.get(endpoint_id)
        if not streams:
            return owner, None
        kept = sorted(self.requests[endpoint_id].items())
        requests = {of: [request for (one, _), request in kept if one is of] for of in (False, True)}
        return owner, KeptState(dict(streams), requests, self.figures[endpoint_id])

    def write(self, endpoint_id: str, owner: int, change: StateChange) -> None:
        if self.owners.get(endpoint_id) != owner:
            raise OwnerMoved(endpoint_id)
        self.writes += 1
        streams = self.streams.setdefault(endpoint_id, {})
        requests = self.requests.setdefault(endpoint_id, {})
        for of, stream in change.streams.items():
            if stream is None:
                streams.pop(of, None)
                for key in [key for key in requests if key[0] is of]:
                    del requests[key]
            else:
                streams[of] = stream
        for key in change.drop:
            requests.pop(key, None)
        requests.update({(of, request.number): request for of, request in change.put})
        self.figures[endpoint_id] = change.figures

    def forget(self, endpoint_id: str) -> None:
        for table in (self.owners, self.streams, self.requests, self.figures):
            table.pop(endpoint_id, None)

    def close(self) -> None:
        pass


class Posts:
    """Fulfils ports.webhooks.Poster; `answer` decides about each request."""

    def __init__(self, answer: Callable[[str], PostAnswer] = lambda url: PostAnswer(200)) -> None:
        self.answer = answer
        self.sent: list[tuple[str, bytes, dict[str, str]]] = []

    async def post(self, url: str, body: bytes, headers: Mapping[str, str]) -> PostAnswer:
        self.sent.append((url, body, dict(headers)))
        return self.answer(url)

    async def close(self) -> None:
        pass


def endpoint_book(
    store: Endpoints, posts: Posts, *, allow: Sequence[str] = (), keeps_history: bool = True
) -> EndpointBook:
    """Orders about these endpoints."""
    return EndpointBook(store, OpenSeal(), lambda: posts, allow_networks=allow, keeps_history=keeps_history)
