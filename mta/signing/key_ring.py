"""The active keys of the cluster as one process has them: it follows the table of keys and opens a key at its first
use."""

import asyncio
import logging
import time
from typing import Final

from mta.content.dkim_pair import Sign, signer
from mta.model.dkim_keys import DkimKey, KeyState, SealedKey
from mta.model.errors import SealError, StoreError, severity
from mta.ports.dkim import DkimKeys
from mta.ports.secrets import Sealer
from mta.timing.alarm import Alarm
from mta.timing.follow import follow

log = logging.getLogger(__name__)

_AGAIN: Final = 5.0  # seconds for which a key that could not be opened is not tried again


class RingKey:
    """A key and, once it was used, its private part."""

    __slots__ = ("_entry", "_failed", "_private", "_sealer", "_sign")

    def __init__(self, entry: SealedKey, sealer: Sealer) -> None:
        self._entry = entry
        self._sealer = sealer
        self._private = b""
        self._sign: Sign | None = None
        self._failed: tuple[float, SealError] | None = None  # when, and why

    @property
    def key(self) -> DkimKey:
        return self._entry.key

    def sign(self, digest: bytes) -> bytes:
        """The signature of a SHA-256 digest. Raises SealError."""
        sign = self._sign
        if sign is None:
            private = self.private
            try:
                sign = self._sign = signer(private)
            except ValueError as error:
                raise self._fails(SealError(f"the key {self.key.name} is damaged: {error}")) from None
        return sign(digest)

    @property
    def private(self) -> bytes:
        """The private part (DER, PKCS #8). Raises SealError."""
        if self._private:
            return self._private
        if self._failed is not None and time.monotonic() < self._failed[0] + _AGAIN:
            raise self._failed[1]
        try:
            self._private = self._sealer.open(self._entry.sealed, f"dkim:{self.key.id}")
        except SealError as error:
            raise self._fails(error) from None
        return self._private

    def _fails(self, error: SealError) -> SealError:
        """The key is not tried again for a while."""
        self._private, self._failed = b"", (time.monotonic(), error)
        log.error("mail of %s cannot be signed: %s", self.key.domain, error)
        return error


class KeyRing:
    """Active keys by domain. It must be made before the process begins to listen to the store's hints."""

    def __init__(self, store: DkimKeys, sealer: Sealer) -> None:
        self._store = store
        self._sealer = sealer
        self._version = b""
        self._entries: dict[str, SealedKey] = {}  # active ones, by id
        self._by_domain: dict[str, tuple[RingKey, ...]] = {}
        self._alarm = Alarm()
        self._ready = asyncio.Event()
        store.on_change(self._alarm.ring)

    def __repr__(self) -> str:
        return f"<KeyRing {len(self._entries)} active keys of {len(self._by_domain)} domains>"

    @property
    def is_empty(self) -> bool:
        return not self._entries

    def keys(self, domain: str, tenant: str) -> list[RingKey]:
        """The active keys of the domain that may sign mail of the tenant."""
        return [one for one in self._by_domain.get(domain, ()) if one.key.tenant in ("", tenant)]

    async def ready(self) -> None:
        """Returns once the keys were read."""
        await self._ready.wait()

    async def run(self) -> None:
        """Follow the table until cancelled."""
        await follow(self._look_first, self._alarm, StoreError, _tell)

    async def _look_first(self) -> None:
        await self.look()
        self._ready.set()

    async def look(self) -> None:
        """Take over the changes since the last look. Raises StoreError."""
        found = await self._store.changes(self._version)
        if found is None:
            return
        if found.is_whole:
            self._entries, self._by_domain = {}, {}
        changed = set()
        for key_id in (*found.removed, *(entry.key.id for entry in found.keys)):
            gone = self._entries.pop(key_id, None)
            if gone is not None:
                changed.add(gone.key.domain)
        for entry in found.keys:
            if entry.key.state is KeyState.ACTIVE:
                self._entries[entry.key.id] = entry
                changed.add(entry.key.domain)
        self._version = found.version
        self._regroup(changed)

    def _regroup(self, domains: set[str]) -> None:
        """Make the groups of these domains anew."""
        groups: dict[str, list[SealedKey]] = {domain: [] for domain in domains}
        for entry in self._entries.values():
            if entry.key.domain in groups:
                groups[entry.key.domain].append(entry)
        for domain, entries in groups.items():
            if entries:
                self._by_domain[domain] = tuple(RingKey(entry, self._sealer) for entry in sorted(entries, key=_order))
            else:
                self._by_domain.pop(domain, None)


def _order(entry: SealedKey) -> tuple[str, str]:
    """RSA last, so that its signature stands below: some verifiers read the first fields only, and all know RSA."""
    return entry.key.algorithm, entry.key.selector


def _tell(error: StoreError) -> None:
    log.log(severity(error), "the DKIM keys cannot be read: %s", error)
