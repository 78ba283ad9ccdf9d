"""The site book: history learns the sites of the domains of its mail, for lists and statistics by site."""

import asyncio
import logging
import time
from collections.abc import Callable, Iterable
from concurrent.futures import Future
from typing import Any, Final

from mta.model.errors import HistoryError, StoreError, severity
from mta.ports.sites import SiteArchive, SiteLookup

_AGAIN: Final = 1800.0  # seconds after which a domain is looked at again: notes about sites live for an hour
_RENEW: Final = 86_400.0  # seconds after which a site that stayed the same is written again
_AT_ONCE: Final = 1000  # domains in one question, and in one transaction
_MOST_KNOWN: Final = 200_000  # domains

_log = logging.getLogger(__name__)


class SiteBook:
    """A domain is asked about when a round with mail of it is written, until its site is known."""

    def __init__(
        self,
        lookup: SiteLookup,
        archive: SiteArchive,
        take_domains: Callable[[], Iterable[str]],
        on_thread: Callable[[Callable[[], Any]], "Future[Any]"],
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`take_domains` gives those of the rounds that were written since the last call; `on_thread` calls on the
        thread that writes history."""
        self._lookup = lookup
        self._archive = archive
        self._take_domains = take_domains
        self._on_thread = on_thread
        self._clock = clock
        self._asked: dict[str, float] = {}
        self._written: dict[str, tuple[str, float]] = {}
        self._waiting: dict[str, None] = {}
        self._task: asyncio.Task[None] | None = None

    def look(self) -> None:
        """Go on in the background, where there is something to do."""
        if self._task is not None and not self._task.done():
            return
        again = self._clock() - _AGAIN
        for domain in self._take_domains():
            if self._asked.get(domain, again) <= again:
                self._waiting[domain] = None
        if self._waiting:
            self._task = asyncio.create_task(self._write())

    async def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _write(self) -> None:
        try:
            while self._waiting:
                await self._write_some(list(self._waiting)[:_AT_ONCE])
        except (StoreError, HistoryError) as error:
            _log.log(severity(error), "the sites of domains come into history later: %s", error)

    async def _write_some(self, domains: list[str]) -> None:
        found = await self._lookup.find(domains)
        now = self._clock()
        news = {domain: site for domain, site in found.items() if self._is_new(domain, site, now)}
        if news:
            await asyncio.wrap_future(self._on_thread(lambda: self._archive.keep_sites(news)))
        if len(self._written) + len(domains) > _MOST_KNOWN:
            self._written.clear()
            self._asked.clear()
        for domain in domains:
            self._waiting.pop(domain, None)
        for domain, site in found.items():
            self._asked[domain] = now
            if domain in news:
                self._written[domain] = site, now

    def _is_new(self, domain: str, site: str, now: float) -> bool:
        known, written = self._written.get(domain, ("", 0.0))
        return known != site or now - written > _RENEW
