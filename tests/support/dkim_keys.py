"""DKIM keys without a store: made once for a test run, opened by nobody else."""

import asyncio
import functools
from collections.abc import Callable

from mta.content.dkim_pair import make_pair
from mta.content.header_block import header_end
from mta.model.dkim_keys import Algorithm, DkimKey, KeyState, NewPair, SealedKey, key_id
from mta.model.errors import SealError
from mta.model.outcomes import Reply
from mta.ports.dkim import KeyChanges, RecordLook, Signed, Unsigned
from mta.ports.dns_records import Found
from mta.signing.domain_check import DomainCheck
from mta.signing.key_book import KeyBook
from mta.signing.mail_signer import MailSigner


@functools.cache
def pair_of(algorithm: Algorithm) -> NewPair:
    """One pair for all keys of a kind: RSA takes its time."""
    return make_pair(algorithm)


def entry_of(
    domain: str,
    selector: str = "s1",
    algorithm: Algorithm = Algorithm.ED25519,
    state: KeyState = KeyState.ACTIVE,
    **more: object,
) -> SealedKey:
    """An entry that `OpenSeal` opens."""
    pair = pair_of(algorithm)
    key = DkimKey(
        id=key_id(domain, selector), domain=domain, selector=selector, algorithm=algorithm, bits=pair.bits,
        public=pair.public, state=state, **more,
    )  # fmt: skip
    return SealedKey(key, pair.private)


def records_of(*entries: SealedKey) -> dict[str, str]:
    """Their records in DNS."""
    return {entry.key.name: entry.key.record for entry in entries}


class OpenSeal:
    """Fulfils ports.secrets.Sealer without a key. Secrets under words in `broken` do not open."""

    def __init__(self) -> None:
        self.broken: set[str] = set()

    async def seal(self, secret: bytes, about: str) -> bytes:
        return secret

    def open(self, sealed: bytes, about: str) -> bytes:
        if about in self.broken:
            raise SealError(f"{about} does not open")
        return sealed


class KeysInMemory:
    """Fulfils ports.dkim.DkimKeys."""

    def __init__(self, *entries: SealedKey) -> None:
        self.entries = {entry.key.id: entry for entry in entries}
        self.changed: list[str] = list(self.entries)
        self.whole_reads = 0
        self.hooks: list[Callable[[], None]] = []

    async def changes(self, since: bytes) -> KeyChanges | None:
        known, version = int(since or 0), b"%d" % (len(self.changed) + 1)
        if since == version:
            return None
        if not since:
            self.whole_reads += 1
            return KeyChanges(version, list(self.entries.values()), (), True)
        ids = dict.fromkeys(self.changed[known - 1 :])
        there = [self.entries[one] for one in ids if one in self.entries]
        return KeyChanges(version, there, [one for one in ids if one not in self.entries], False)

    async def get(self, key_id: str) -> SealedKey | None:
        return self.entries.get(key_id)

    async def put(self, entry: SealedKey, was: SealedKey | None) -> bool:
        if self.entries.get(entry.key.id) != was:
            return False
        self.entries[entry.key.id] = entry
        self.changed.append(entry.key.id)
        return True

    async def remove(self, key_id: str) -> None:
        self.entries.pop(key_id, None)
        self.changed.append(key_id)

    def on_change(self, hook: Callable[[], None]) -> None:
        self.hooks.append(hook)

    def publish(self) -> None:
        """Tell those that follow the table of a change."""
        for hook in self.hooks:
            hook()


class LooksInMemory:
    """Fulfils ports.dkim.RecordLooks."""

    def __init__(self) -> None:
        self.found: dict[str, RecordLook] = {}
        self.leader = ""

    async def lead(self, owner: str, seconds: float) -> bool:
        self.leader = self.leader or owner
        return self.leader == owner

    async def note(self, key_id: str, look: RecordLook) -> None:
        self.found[key_id] = look

    async def looks(self) -> dict[str, RecordLook]:
        return dict(self.found)

    async def forget(self, key_id: str) -> None:
        self.found.pop(key_id, None)


class RecordsInMemory:
    """Fulfils ports.dns_records.DnsRecords: what is not here is not in DNS; a Found of `failed` names is a failure."""

    def __init__(self) -> None:
        self.records: dict[tuple[str, str], tuple[str, ...]] = {}
        self.failed: set[str] = set()
        self.asked: list[str] = []

    async def texts(self, name: str) -> Found:
        return self._found(name, "TXT")

    async def addresses(self, name: str) -> Found:
        return self._found(name, "A")

    async def hosts(self, domain: str) -> Found:
        return self._found(domain, "MX")

    async def names(self, address: str) -> Found:
        return self._found(address, "PTR")

    def _found(self, name: str, kind: str) -> Found:
        self.asked.append(name)
        return Found(failure="no answer") if name in self.failed else Found(self.records.get((name, kind), ()))


def key_book(
    keys: KeysInMemory | None = None,
    looks: LooksInMemory | None = None,
    dns: RecordsInMemory | None = None,
    clock: Callable[[], int] = lambda: 1_700_000_000_000,
) -> KeyBook:
    return KeyBook(keys or KeysInMemory(), looks or LooksInMemory(), OpenSeal(), dns or RecordsInMemory(), clock=clock)


def domain_check(
    keys: KeysInMemory | None = None, dns: RecordsInMemory | None = None, ips: tuple[str, ...] = (), default: str = ""
) -> DomainCheck:
    dns = dns or RecordsInMemory()
    return DomainCheck(key_book(keys, dns=dns), dns, lambda name: ".".join(name.split(".")[-2:]), ips, default)


async def answer_to(
    signer: MailSigner, message: bytes, tenant: str = "", tenant_domain: str = ""
) -> tuple[Signed | Reply, bool]:
    """The signer's answer to a message, and whether it came at once."""
    later: asyncio.Future[Signed | Reply] = asyncio.get_running_loop().create_future()
    end = header_end(message)
    found = signer.sign(Unsigned(message[:end], memoryview(message)[end:], tenant, tenant_domain), later.set_result)
    return (await later, False) if found is None else (found, True)


async def signed(signer: MailSigner, message: bytes, tenant: str = "", tenant_domain: str = "") -> bytes | Reply:
    """The message as it leaves, or the reply that refuses it."""
    found, _ = await answer_to(signer, message, tenant, tenant_domain)
    return found if isinstance(found, Reply) else b"".join((found.signatures, found.header, found.rest))
