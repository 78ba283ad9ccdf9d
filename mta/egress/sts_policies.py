"""The MTA-STS policies in force: looked for in DNS, fetched once, shared by all nodes, refreshed before they expire."""

import asyncio
import logging
from collections.abc import Callable
from typing import Final, NamedTuple

from mta.model.errors import StoreError
from mta.policy.mta_sts import BadPolicy, StsMode, StsPolicy, read_policy, record_id
from mta.ports.delivery import Resolver
from mta.ports.mta_sts import StsFetcher, StsStore
from mta.timing.clock import wall_ms

RELOAD_EVERY: Final = 300.0  # seconds between two looks at the policies that other processes fetched
ASK_AGAIN: Final = 300_000  # milliseconds for which a fetch that failed is not tried again (RFC 8461 3.3)
_REFRESH_AFTER: Final = 86_400_000  # milliseconds, or half of the policy's life
_MOST_FAILURES: Final = 10_000

_log = logging.getLogger(__name__)


class StsParts(NamedTuple):
    """The ports that policies come from."""

    store: StsStore
    fetcher: StsFetcher


class StsPolicies:
    """The policies of one worker. A policy host that fails leaves the policy that is known in force (RFC 8461 5.1)."""

    def __init__(
        self,
        resolver: Resolver,
        parts: StsParts,
        loop: asyncio.AbstractEventLoop,
        failed: Callable[[str, str], None],
        *,
        clock: Callable[[], int] = wall_ms,
    ) -> None:
        """`failed` is told the domain and the kind of each failure to get its policy. `clock` gives Unix ms."""
        self._resolver = resolver
        self._store, self._fetcher = parts
        self._loop = loop
        self._tell = failed
        self._clock = clock
        self._known: dict[str, StsPolicy] = {}
        self._not_before: dict[str, int] = {}  # domain -> when the next fetch may be tried (Unix ms)
        self._doubted: set[str] = set()  # domains whose hosts broke the policy: it may have changed
        self._fetches: dict[str, asyncio.Task[None]] = {}
        self._loaded_at = float("-inf")  # loop time
        self._loading: asyncio.Task[None] | None = None

    async def of(self, domain: str) -> StsPolicy | None:
        """The policy that mail of the domain must follow; None: it has none."""
        if self._loop.time() - self._loaded_at >= RELOAD_EVERY:
            await self._load()
        answer = await self._resolver.texts(_record_name(domain))
        record = record_id(answer.texts)
        known, now = self._in_force(domain), self._clock()
        if record is not None:
            if known is None or known.id != record or domain in self._doubted:
                await self._fetch(domain, record)
            elif now - known.fetched_at >= min(_REFRESH_AFTER, known.max_age * 500):
                self._start(domain, record)
            known = self._in_force(domain)
        return known if known is not None and known.mode is not StsMode.NONE else None

    def is_asked(self, domain: str) -> bool:
        """Whether DNS was asked lately about the domain's record."""
        return self._resolver.has_texts(_record_name(domain))

    def doubt(self, domain: str) -> None:
        """No host of the domain could follow its policy: look whether the policy has changed (RFC 8461 5)."""
        known = self._known.get(domain)
        if known is not None and self._clock() - known.fetched_at >= ASK_AGAIN:
            self._doubted.add(domain)

    async def close(self) -> None:
        for task in (*self._fetches.values(), self._loading):
            if task is not None:
                task.cancel()
        await self._fetcher.close()

    def __repr__(self) -> str:
        return f"<StsPolicies known={len(self._known)} fetching={len(self._fetches)}>"

    def _in_force(self, domain: str) -> StsPolicy | None:
        known = self._known.get(domain)
        return known if known is not None and known.expires_at > self._clock() else None

    async def _load(self) -> None:
        if self._loading is None:
            self._loading = self._loop.create_task(self._read_all())
        await asyncio.shield(self._loading)

    async def _read_all(self) -> None:
        """A store that is away leaves the policies that are known here in force."""
        try:
            stored, now = await self._store.all(), self._clock()
            for domain, policy in stored.items():
                self._learn(domain, policy)
            over = [domain for domain, policy in stored.items() if policy.expires_at <= now]
            if over:
                await self._store.drop(over)
        except StoreError as error:
            _log.debug("the MTA-STS policies of other processes cannot be read: %s", error)
        finally:
            self._loaded_at = self._loop.time()
            self._loading = None
            self._known = {domain: policy for domain, policy in self._known.items() if self._in_force(domain)}

    def _learn(self, domain: str, policy: StsPolicy) -> None:
        known = self._known.get(domain)
        if known is None or known.fetched_at <= policy.fetched_at:
            self._known[domain] = policy

    async def _fetch(self, domain: str, record: str) -> None:
        """Return when the fetch is over; a mail that gives up does not end it for the others."""
        task = self._start(domain, record)
        if task is not None:
            await asyncio.shield(task)

    def _start(self, domain: str, record: str) -> asyncio.Task[None] | None:
        task = self._fetches.get(domain)
        if task is None and self._not_before.get(domain, 0) <= self._clock():
            if len(self._not_before) >= _MOST_FAILURES:
                self._not_before.clear()
            self._not_before[domain] = self._clock() + ASK_AGAIN
            task = self._fetches[domain] = self._loop.create_task(self._get(domain, record))
            task.add_done_callback(lambda _: self._fetches.pop(domain, None))
        return task

    async def _get(self, domain: str, record: str) -> None:
        doubted = domain in self._doubted
        self._doubted.discard(domain)
        try:
            if not doubted and await self._is_shared(domain, record):
                return
            fetched = await self._fetcher.fetch(domain)
            if fetched.failure:
                self._tell(domain, "sts-webpki-invalid" if fetched.bad_certificate else "sts-policy-fetch-error")
                _log.info("the MTA-STS policy of %s is not fetched: %s", domain, fetched.failure)
                return
            policy = read_policy(fetched.text, record, self._clock())
            self._known[domain] = policy
            self._not_before.pop(domain, None)
            await self._store.put(domain, policy)
        except BadPolicy as error:
            self._tell(domain, "sts-policy-invalid")
            _log.info("the MTA-STS policy of %s cannot be used: %s", domain, error)
        except StoreError as error:
            _log.debug("the MTA-STS policy of %s is not shared: %s", domain, error)

    async def _is_shared(self, domain: str, record: str) -> bool:
        """Whether another process has fetched the policy lately; it is known then."""
        try:
            stored = await self._store.get(domain)
        except StoreError:
            return False
        if stored is None or stored.id != record or stored.expires_at <= self._clock():
            return False
        self._learn(domain, stored)
        is_fresh = self._clock() - stored.fetched_at < min(_REFRESH_AFTER, stored.max_age * 500)
        if is_fresh:
            self._not_before.pop(domain, None)
        return is_fresh


def _record_name(domain: str) -> str:
    return f"_mta-sts.{domain}"
