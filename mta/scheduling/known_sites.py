"""The sites of the domains that a worker has mail for: found by settings, by the notes of others, or by DNS."""

import asyncio
import contextlib
import logging
from collections.abc import Callable, Collection, Sequence
from typing import Final

from mta.model.errors import StoreError, severity
from mta.policy.sites import SiteTable
from mta.ports.delivery import Resolver
from mta.ports.sites import SiteNote, SiteNotes
from mta.timing.clock import wall_ms

_NOTED_FOR_MS: Final = 3_600_000
_UNSURE_FOR_MS: Final = 60_000  # DNS gave no host: the domain is a site of its own for so long
_FOR_EVER: Final = 1 << 62
_MOST_KNOWN: Final = 100_000
_MOST_ASKED: Final = 50  # domains about which DNS is asked at a time
_AT_ONCE: Final = 100  # domains in one question to the store

_log = logging.getLogger(__name__)


class KnownSites:
    """Fulfils ports.delivery.Sites and ports.sites.SiteFinder. A domain is asked about in the background when its mail
    is looked at."""

    def __init__(
        self, table: SiteTable, resolver: Resolver, notes: SiteNotes, *, clock: Callable[[], int] = wall_ms
    ) -> None:
        """`clock` gives Unix milliseconds."""
        self._table = table
        self._resolver = resolver
        self._notes = notes
        self._clock = clock
        self._known: dict[str, SiteNote] = {}
        self._asking: set[str] = set()  # domains that are being found out
        self._wanted: dict[str, None] = {}  # those of them that the store has not been asked about
        self._found: dict[str, str] = {}  # those of them whose site is not noted yet
        self._unresolved: set[str] = set()  # known domains of which DNS gave no host
        self._news = asyncio.Event()  # set when more is known
        self._tasks: set[asyncio.Task[None]] = set()
        self._looking = self._noting = False
        self._room = asyncio.Semaphore(_MOST_ASKED)
        self._tell: Callable[[Sequence[str]], None] = lambda domains: None

    def on_known(self, tell: Callable[[Sequence[str]], None]) -> None:
        self._tell = tell

    def of(self, domain: str) -> str | None:
        known = self._known.get(domain)
        if known is not None and known.until > self._clock():
            return known.site
        site = self._table.of_domain(domain)
        if site is not None:
            self._keep(domain, SiteNote(site, _FOR_EVER))
            return site
        if domain not in self._asking:
            self._asking.add(domain)
            self._wanted[domain] = None
            if not self._looking:
                self._looking = True
                self._start(self._look())
        return None if known is None else known.site

    async def find_out(self, domains: Collection[str], seconds: float) -> Collection[str]:
        loop = asyncio.get_running_loop()
        until = loop.time() + seconds
        unknown = [domain for domain in domains if self.of(domain) is None]
        while unknown and (left := until - loop.time()) > 0:
            self._news.clear()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(left):
                    await self._news.wait()
            unknown = [domain for domain in unknown if self.of(domain) is None]
        return {*unknown, *(domain for domain in domains if domain in self._unresolved)}

    def of_target(self, domain: str, host: str) -> str:
        return self._table.of_target(domain, host)

    async def close(self) -> None:
        """Ask nothing more."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def __repr__(self) -> str:
        return f"<KnownSites known={len(self._known)} asking={len(self._asking)}>"

    def _start(self, work: "asyncio._CoroutineLike[None]") -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _look(self) -> None:
        """Ask the store about the domains that are wanted, and DNS about those that it does not know."""
        await asyncio.sleep(0)  # domains of the same look at the queues are asked about together
        while self._wanted:
            some = list(self._wanted)[:_AT_ONCE]
            for domain in some:
                del self._wanted[domain]
            noted: dict[str, SiteNote] = {}
            try:
                noted = await self._notes.find(some)
            except StoreError as error:
                _log.log(severity(error), "the noted sites of %d domains are not read: %s", len(some), error)
            self._are_known(noted)
            for domain in some:
                if domain not in noted:
                    self._start(self._ask(domain))
        self._looking = False

    async def _ask(self, domain: str) -> None:
        # Only the first second counts, so that names without an answer do not hold up the others.
        await self._room.acquire()
        asking = asyncio.ensure_future(self._resolver.mx(domain))
        try:
            await asyncio.wait((asking,), timeout=1.0)
        finally:
            self._room.release()
        answer = await asking
        if not answer.hosts:
            self._are_known({domain: SiteNote(domain, self._clock() + _UNSURE_FOR_MS)})
            self._unresolved.add(domain)
            return
        self._found[domain] = self._table.of_host(domain, answer.hosts[0])
        if not self._noting:
            self._noting = True
            self._start(self._note())

    async def _note(self) -> None:
        while self._found:
            found, self._found = self._found, {}
            until = self._clock() + _NOTED_FOR_MS
            in_force = {domain: SiteNote(site, self._clock() + _UNSURE_FOR_MS) for domain, site in found.items()}
            try:
                in_force = await self._notes.note(found, until)
            except StoreError as error:
                _log.log(severity(error), "the sites of %d domains are not noted: %s", len(found), error)
            self._are_known(in_force)
        self._noting = False

    def _are_known(self, notes: dict[str, SiteNote]) -> None:
        for domain, note in notes.items():
            self._asking.discard(domain)
            self._keep(domain, note)
        if notes:
            self._news.set()
            self._tell(list(notes))

    def _keep(self, domain: str, note: SiteNote) -> None:
        if len(self._known) >= _MOST_KNOWN:
            for old in list(self._known)[: _MOST_KNOWN // 10]:  # those that were found out first
                del self._known[old]
                self._unresolved.discard(old)
        self._known.pop(domain, None)
        self._unresolved.discard(domain)
        self._known[domain] = note
