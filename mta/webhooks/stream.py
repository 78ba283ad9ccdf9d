"""A stream of one endpoint: the events that it is to be told, cut into requests, with those that are not answered.

Of the events of one message at most one request is under way. Events that come meanwhile wait behind it, one by one,
and are kept like requests that failed. The position of the stream is before all events that are in no request and do
not wait so; with the position, the requests are all that a process needs to go on.
"""

import heapq
from collections import deque
from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

from mta.ports.history import Cursor
from mta.ports.webhooks import EventPlace, KeptRequest, KeptStream

_LEAST_READ_AHEAD: Final = 500  # events


class Item(NamedTuple):
    """An event that is to be sent."""

    at: Cursor
    time: int  # Unix ms
    id: str
    message: bytes  # b"" = it is no event of a message
    body: bytes  # its JSON; b"" = it has to be read from history again


class Request:
    """Events that are sent together, at each try the same ones."""

    __slots__ = ("due", "failures", "in_flight", "is_early", "items", "listed", "number", "since")

    def __init__(self, number: int, items: list[Item], failures: int = 0, due: int = 0, since: int = 0) -> None:
        self.number = number
        self.items = items
        self.failures = failures
        self.due = due  # Unix ms
        self.since = since  # Unix ms of its first failure
        self.in_flight = False
        self.is_early = False  # its next try comes before the one that its failures have planned
        self.listed = False  # its events are in the retry list

    @property
    def failures_now(self) -> int:
        """Its failures, if this try is one: an early one does not count."""
        return self.failures + (not self.is_early)

    def kept(self) -> KeptRequest:
        places = tuple([EventPlace(*item.at, item.message) for item in self.items])
        return KeptRequest(self.number, places, self.failures, self.due, self.since)


class Changes(NamedTuple):
    """The difference to the state as it was kept last."""

    stream: KeptStream
    put: list[KeptRequest]
    drop: list[int]
    touched: set[int]  # numbers


class Stream:
    """The numbers of requests rise. `busy` has the messages of all requests of the endpoint that are not answered."""

    def __init__(self, kept: KeptStream, requests: Iterable[KeptRequest], batch: int, busy: set[bytes]) -> None:
        self.next_read = kept.at  # everything before it was looked at
        self.is_behind = True  # more follows in history, and the reader waits to be told of room for it
        self.end = kept.end  # of a replay
        self.number = kept.number
        self.batch = batch
        self._busy = busy
        self._fresh: deque[Item] = deque()
        self._freed: deque[tuple[int, Item]] = deque()  # (number, event), once nothing is before it any more
        self._by_message: dict[bytes, deque[tuple[int, Item]]] = {}
        self._behind: dict[int, Item] = {}  # by number: those that wait behind a request, and the freed ones
        self._requests: dict[int, Request] = {}
        self._by_due: list[tuple[int, int]] = []  # heap of (due, number), also of requests that are gone
        self._next_number = 1
        self._waiting = 0  # events that failed, or wait behind others
        self._stored: set[int] = set()
        self._touched: set[int] = set()
        self._kept_position: KeptStream | None = None
        for request in requests:
            self._load(request)

    def _load(self, kept: KeptRequest) -> None:
        items = [Item(place.cursor, 0, "", place.message, b"") for place in kept.events]
        self._next_number = max(self._next_number, kept.number + 1)
        self._stored.add(kept.number)
        if len(items) == 1 and items[0].message in self._busy:
            self._wait_behind(kept.number, items[0])
            return
        request = Request(kept.number, items, kept.failures, kept.due, kept.since)
        self._busy.update(item.message for item in items if item.message)
        self._note_retry(request)
        self._requests[request.number] = request
        heapq.heappush(self._by_due, (request.due, request.number))

    # Reading

    @property
    def read_ahead(self) -> int:
        """Events that are read and in no request."""
        return len(self._fresh)

    def wants_more(self) -> bool:
        """Whether it takes another page of events."""
        return len(self._fresh) < max(_LEAST_READ_AHEAD, 2 * self.batch)

    def append(self, item: Item) -> None:
        self._fresh.append(item)

    # Sending

    @property
    def waiting(self) -> int:
        """Events in the retry list: those of requests that failed, and those that wait behind a request."""
        return self._waiting

    @property
    def unanswered(self) -> int:
        """All events that were read and are not answered."""
        return len(self._fresh) + len(self._behind) + sum(len(request.items) for request in self._requests.values())

    @property
    def is_empty(self) -> bool:
        return not (self._fresh or self._behind or self._requests)

    def oldest(self) -> int:
        """Unix ms of the oldest event that is not answered, as far as it is known; 0 = there is none."""
        times = [request.items[0].time for request in self._requests.values()]
        times += [item.time for item in self._behind.values()]
        if self._fresh:
            times.append(self._fresh[0].time)
        return min((time for time in times if time), default=0)

    def take(self, now: int, *, new: bool = True) -> Request | None:
        """The next request to be sent, which is under way then; None: there is none. `new`: events that were in none
        may make one."""
        due = self._due(now)
        request = due if due is not None else self._new_request() if new else None
        if request is not None:
            request.in_flight = True
        return request

    def first(self) -> Request | None:
        """The request that failed least often, due or not: a new one, else the oldest of them; it is under way then.
        Some events may be refused for ever, and they must not speak for the others."""
        waiting = [request for request in self._requests.values() if not request.in_flight]
        request = self._new_request()
        if request is None and waiting:
            request = min(waiting, key=lambda one: (one.failures, one.number))
        if request is not None:
            request.in_flight = True
        return request

    def next_due(self) -> int | None:
        """Unix ms at which the next request is due."""
        while self._by_due:
            due, number = self._by_due[0]
            request = self._requests.get(number)
            if request is not None and request.due == due and not request.in_flight:
                return due
            heapq.heappop(self._by_due)
        return None

    def _due(self, now: int) -> Request | None:
        due = self.next_due()
        if due is None or due > now:
            return None
        return self._requests[heapq.heappop(self._by_due)[1]]

    def _new_request(self) -> Request | None:
        items: list[Item] = []
        own: set[bytes] = set()
        while len(items) < self.batch:
            if self._freed:
                number, item = self._freed.popleft()
            elif self._fresh:
                number, item = 0, self._fresh.popleft()
            else:
                break
            message = item.message
            if message and message in self._busy and message not in own:
                self._wait_behind(number or self._new_number(), item)
                continue
            if number:
                del self._behind[number]
                self._touched.add(number)
                self._waiting -= 1
            if message:
                self._busy.add(message)
                own.add(message)
            items.append(item)
        if not items:
            return None
        request = Request(self._new_number(), items)
        self._requests[request.number] = request
        self._touched.add(request.number)
        return request

    def _wait_behind(self, number: int, item: Item) -> None:
        if number not in self._behind:
            self._behind[number] = item
            self._waiting += 1
            self._touched.add(number)
        self._by_message.setdefault(item.message, deque()).append((number, item))

    def _new_number(self) -> int:
        self._next_number += 1
        return self._next_number - 1

    def _note_retry(self, request: Request) -> None:
        if not request.listed:
            request.listed = True
            self._waiting += len(request.items)

    # Answers

    def done(self, request: Request) -> list[bytes]:
        """It needs no further try. The messages of which another request may be sent now, perhaps more than once."""
        del self._requests[request.number]
        self._touched.add(request.number)
        if request.listed:
            self._waiting -= len(request.items)
        freed = [item.message for item in request.items if item.message]
        self._busy.difference_update(freed)
        return freed

    def free(self, messages: Sequence[bytes]) -> None:
        """Events that waited behind requests of these messages go on."""
        if self._by_message:
            for message in messages:
                self._freed.extend(self._by_message.pop(message, ()))

    def failed(self, request: Request, now: int, due: int) -> None:
        """Its next try is at `due`; its events are read again for that."""
        self._note_retry(request)
        request.since = request.since or now
        request.failures = request.failures_now
        request.is_early = False
        request.items = [item._replace(body=b"") for item in request.items]
        self.put_back(request, due)

    def put_back(self, request: Request, due: int) -> None:
        """It was not tried: its next try is at `due`."""
        request.in_flight = False
        request.due = due
        self._touched.add(request.number)
        heapq.heappush(self._by_due, (due, request.number))

    def replace(self, request: Request, items: list[Item]) -> None:
        """Events of it that were read again; those that are not there any more are left out."""
        if request.listed:
            self._waiting += len(items) - len(request.items)
        request.items = items

    def hurry(self, now: int) -> None:
        """All requests are due. A try that fails then takes none of its retries from a request."""
        for request in self._requests.values():
            if not request.in_flight and request.due > now:
                request.is_early = request.failures > 0
                self.put_back(request, now)

    # The state that outlives the process

    def position(self) -> KeptStream:
        return KeptStream(self._fresh[0].at if self._fresh else self.next_read, self.end, self.number)

    def changes(self) -> Changes | None:
        """None: nothing has changed since it was kept."""
        position = self.position()
        if position == self._kept_position and not self._touched:
            return None
        touched, self._touched = self._touched, set()
        put, drop = [], []
        for number in touched:
            request, queued = self._requests.get(number), self._behind.get(number)
            if request is not None:
                put.append(request.kept())
            elif queued is not None:
                put.append(KeptRequest(number, (EventPlace(*queued.at, queued.message),)))
            elif number in self._stored:
                drop.append(number)
        return Changes(position, put, drop, touched)

    def kept(self, changes: Changes) -> None:
        """They were written."""
        self._kept_position = changes.stream
        self._stored.update(request.number for request in changes.put)
        self._stored.difference_update(changes.drop)

    def not_kept(self, changes: Changes) -> None:
        """They were not."""
        self._touched |= changes.touched
