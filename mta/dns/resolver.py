"""The resolver: MX and address questions over aiodns, cached by TTL, equal questions asked once by all workers."""

import asyncio
import random
import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import aiodns
import pycares

from mta.dns.shared_answers import Question, SharedAnswers
from mta.policy.mx import MxRecord, choose_hosts
from mta.ports.delivery import AddressAnswer, MxAnswer, TextAnswer
from mta.timing.pace import Pace

LEAST_TTL = 5.0
MOST_TTL = 86400.0
NEGATIVE_TTL = 60.0
# Nearly every host has no IPv6 address and nearly every domain no policy: mail to thousands of domains asks for them
# all the time, and no mail ends because of such an answer alone.
ABSENT_TTL = {"AAAA": 300.0, "TXT": 300.0}
FAILURE_TTL = 5.0
# Each try waits twice as long as the one before. c-ares 1.31 and later waits only 250 ms at first for a server that has
# answered fast. With few tries, a name for which the server needs two seconds would never be found.
_FIRST_WAIT = 1.0
# c-ares (1.34.9) forgets to repeat one lost question in thousands, when many are lost at a time.
ASKED_ANEW_AFTER = 2.5  # seconds
MOST_CACHED = 100_000  # answers: 20,000 domains with MX, TXT and the addresses of a host
MOST_IN_A_TURN = 20  # questions that are sent in one turn of the loop, each of which takes 0.3 ms
MOST_KEPT = 100  # records kept of one answer
MOST_ALONE = 32  # questions at a time with a client of their own
SUSPECT_FOR = 3600.0  # seconds for which a name with a malformed answer is asked about alone
MOST_SUSPECTS = 1000
_LOOK = 0.005, 0.1  # seconds from one look at what another worker has found to the next: the first, and the longest
_PATIENCE = 2.0  # times the timeout of a question, after which no other worker is waited for

_NO_DOMAIN = aiodns.error.ARES_ENOTFOUND
_NO_DATA = aiodns.error.ARES_ENODATA
_BAD_NAME = aiodns.error.ARES_EBADNAME
_BAD_ANSWER = aiodns.error.ARES_EBADRESP
_TYPES = {
    "MX": pycares.QUERY_TYPE_MX,
    "A": pycares.QUERY_TYPE_A,
    "AAAA": pycares.QUERY_TYPE_AAAA,
    "TXT": pycares.QUERY_TYPE_TXT,
}


class _Found(NamedTuple):
    """The result of a question: records (none = the name has no such records), or the failure."""

    records: tuple[Any, ...] = ()
    missing: bool = False  # the name does not exist
    failure: str = ""  # no usable answer: try later


def _key(name: str, kind: str) -> Question:
    return Question(name.rstrip(".").lower(), kind)


class DnsResolver:
    """Implements `ports.Resolver`. `servers`: "ip" or "ip:port"; none = those of the system."""

    def __init__(
        self,
        servers: Sequence[str] = (),
        *,
        timeout: float = 10.0,  # seconds for a question, all tries together
        tries: int = 6,
        clock: Callable[[], float] = time.monotonic,
        shuffle: Callable[[list[Any]], None] = random.shuffle,
        shared: SharedAnswers | None = None,
    ) -> None:
        """`shared`: the answers of all workers of the node, None: this process asks for itself."""
        self._servers = list(servers)
        self._timeout = timeout
        self._tries = tries
        self._clock = clock
        self._shuffle = shuffle
        self._shared = shared
        self._client: aiodns.DNSResolver | None = None
        self._cache: dict[Question, tuple[float, _Found]] = {}
        self._asking: dict[Question, asyncio.Task[_Found]] = {}
        self._pace = Pace(MOST_IN_A_TURN)
        self._alone = asyncio.Semaphore(MOST_ALONE)
        self._suspects: dict[Question, float] = {}  # question -> until when it is asked alone

    async def mx(self, domain: str) -> MxAnswer:
        found = await self._look_up(domain, "MX")
        if found.failure:
            return MxAnswer((), f"no usable answer about {domain}: {found.failure}", True, "4.4.3")
        if found.missing:
            return MxAnswer((), f"the domain {domain} does not exist", False, "5.1.2")
        return MxAnswer(*choose_hosts(domain, found.records, self._shuffle))

    async def addresses(self, host: str) -> AddressAnswer:
        known = self._cached(host, "AAAA"), self._cached(host, "A")
        if known[0] is not None and known[1] is not None:  # no task is needed
            six, four = known[0], known[1]
        else:
            six, four = await asyncio.gather(self._look_up(host, "AAAA"), self._look_up(host, "A"))
        addresses = six.records + four.records
        if addresses:
            return AddressAnswer(addresses)
        failure = six.failure or four.failure
        if failure:
            return AddressAnswer((), f"no usable answer about {host}: {failure}", True)
        what = "does not exist" if six.missing or four.missing else "has no address"
        return AddressAnswer((), f"the host {host} {what}")

    async def texts(self, name: str) -> TextAnswer:
        found = await self._look_up(name, "TXT")
        return TextAnswer(found.records, bool(found.failure))

    def has_texts(self, name: str) -> bool:
        return self._cached(name, "TXT") is not None

    async def close(self) -> None:
        for task in list(self._asking.values()):
            task.cancel()
        if self._client is not None:
            await self._client.close()
            self._client = None

    def __repr__(self) -> str:
        return f"<DnsResolver cached={len(self._cache)} asking={len(self._asking)}>"

    def _cached(self, name: str, kind: str) -> _Found | None:
        cached = self._cache.get(_key(name, kind))
        return cached[1] if cached is not None and cached[0] > self._clock() else None

    async def _look_up(self, name: str, kind: str) -> _Found:
        cached = self._cached(name, kind)
        if cached is not None:
            return cached
        key = _key(name, kind)
        task = self._asking.get(key)
        if task is None:
            task = self._asking[key] = asyncio.get_running_loop().create_task(self._ask(key))
            task.add_done_callback(lambda _: self._asking.pop(key, None))
        return await asyncio.shield(task)

    async def _ask(self, key: Question) -> _Found:
        shared = self._shared
        if shared is None:
            return await self._ask_dns(key)
        known = await self._of_others(shared, key)
        if known is not None:
            self._keep(key, *known)
            return known[1]
        try:
            found = await self._ask_dns(key)
            until, _ = self._cache[key]
            shared.put(key, until, found)
        finally:
            shared.unlock(key)
        return found

    async def _of_others(self, shared: SharedAnswers, key: Question) -> tuple[float, _Found] | None:
        """Until when an answer holds that another worker has found, and the answer. None: this one has the lock, and
        asks."""
        begun, (wait, longest) = self._clock(), _LOOK
        while True:
            known = shared.get(key, self._clock())
            if known is not None:
                return known[0], _shared(known[1], key.kind)
            # A worker that stands still keeps its lock: it is not waited for without end.
            if shared.lock(key) or self._clock() - begun > _PATIENCE * self._timeout:
                known = shared.get(key, self._clock())  # it may have come in between
                if known is None:
                    return None
                shared.unlock(key)
                return known[0], _shared(known[1], key.kind)
            await asyncio.sleep(wait)
            wait = min(2 * wait, longest)

    async def _ask_dns(self, key: Question) -> _Found:
        await self._pace.turn()
        answer: tuple[_Found, float] | None = None
        if self._suspects.get(key, 0.0) <= self._clock():
            if self._client is None:
                self._client = self._new_client()
            answer = await self._query(self._client, key)
        found, ttl = answer or await self._query_alone(key)
        self._keep(key, self._clock() + ttl, found)
        return found

    def _keep(self, key: Question, until: float, found: _Found) -> None:
        if len(self._cache) >= MOST_CACHED:
            for stale in list(self._cache)[: MOST_CACHED // 10]:  # the oldest entries, in order of insertion
                del self._cache[stale]
        self._cache.pop(key, None)
        self._cache[key] = until, found

    async def _query(self, client: aiodns.DNSResolver, key: Question) -> tuple[_Found, float] | None:
        """The result, and its lifetime. None: the answer to this question or to another one was malformed; c-ares then
        fails all questions that share the socket."""
        name, kind = key
        try:
            async with asyncio.timeout(self._timeout):
                result = await _answer(client, name, kind)
        except TimeoutError:
            return _Found(failure=f"no answer in {self._timeout:g} s"), FAILURE_TTL
        except (aiodns.error.DNSError, UnicodeError) as error:
            return None if _code(error) == _BAD_ANSWER else _failed(error, kind)
        return _read(result, kind)

    async def _query_alone(self, key: Question) -> tuple[_Found, float]:
        """Ask with a client of its own, so that a malformed answer is sure to be the answer to this question. A client
        costs half a millisecond and a thread, so that no other question has one."""
        async with self._alone:
            client = self._new_client()
            try:
                answer = await self._query(client, key)
            finally:
                await client.close()
        if answer is not None:
            return answer
        if len(self._suspects) >= MOST_SUSPECTS:
            del self._suspects[next(iter(self._suspects))]
        self._suspects[key] = self._clock() + SUSPECT_FOR
        return _Found(failure="the answer is malformed"), FAILURE_TTL

    def _new_client(self) -> aiodns.DNSResolver:
        return aiodns.DNSResolver(self._servers or None, timeout=_FIRST_WAIT, tries=self._tries)


async def _answer(client: aiodns.DNSResolver, name: str, kind: str) -> pycares.DNSResult:
    """The first answer to a question, which is asked anew after a while."""
    asked = [client.query_dns(name, kind)]
    try:
        done, _ = await asyncio.wait(asked, timeout=ASKED_ANEW_AFTER)
        if not done:
            asked.append(client.query_dns(name, kind))
            done, _ = await asyncio.wait(asked, return_when=asyncio.FIRST_COMPLETED)
        return done.pop().result()
    finally:
        for question in asked:
            question.cancel()


def _shared(answer: Any, kind: str) -> _Found:
    """An answer as another worker has put it."""
    records, missing, failure = answer
    made = (MxRecord(*record) for record in records) if kind == "MX" else records
    return _Found(tuple(made), missing, failure)


def _code(error: Exception) -> int | None:
    return error.args[0] if isinstance(error, aiodns.error.DNSError) and error.args else None


def _failed(error: Exception, kind: str) -> tuple[_Found, float]:
    code, absent_for = _code(error), ABSENT_TTL.get(kind, NEGATIVE_TTL)
    if code == _NO_DATA:
        return _Found(), absent_for
    if code in (_NO_DOMAIN, _BAD_NAME) or isinstance(error, UnicodeError):
        return _Found(missing=True), absent_for
    words = str(error.args[1]) if len(error.args) > 1 else str(error)
    return _Found(failure=words), FAILURE_TTL


def _read(result: pycares.DNSResult, kind: str) -> tuple[_Found, float]:
    """The records of the wanted type (a CNAME before them is the server's to follow), and for how long they hold."""
    wanted: list[Any] = [record for record in result.answer if record.type == _TYPES[kind]]
    if not wanted:
        return _Found(), ABSENT_TTL.get(kind, NEGATIVE_TTL)
    ttl = min(max(float(min(record.ttl for record in result.answer)), LEAST_TTL), MOST_TTL)
    if kind == "MX":
        wanted.sort(key=lambda record: record.data.priority)
        return _Found(tuple(MxRecord(record.data.priority, record.data.exchange) for record in wanted[:MOST_KEPT])), ttl
    if kind == "TXT":
        return _Found(tuple(record.data.data.decode("latin-1") for record in wanted[:MOST_KEPT])), ttl
    return _Found(tuple(str(record.data.addr) for record in wanted[:MOST_KEPT])), ttl
