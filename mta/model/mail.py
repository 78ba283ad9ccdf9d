"""A message on its way in, and a delivery as the queue holds it."""

import functools
from typing import NamedTuple

import msgspec

from mta.model.ids import DeliveryId, MessageId
from mta.model.outcomes import Reply
from mta.model.placed_content import PlacedContent
from mta.model.quotas import CallQuota
from mta.model.sending_window import SendingWindow
from mta.model.shares import share_of


class QueueKey(NamedTuple):
    """The name of a queue: IP pool (or `@<ip>`) and destination domain (lower case, A-labels)."""

    pool: str
    domain: str


class QueueShare(NamedTuple):
    """The deliveries of one queue that wait in one of its shares (mta/model/shares.py)."""

    queue: QueueKey
    share: str = ""


@functools.lru_cache(maxsize=16384)  # mail that goes round more domains than that finds none of them here
def queue_share(pool: str, domain: str, share: str) -> QueueShare:
    """Made once for many deliveries."""
    return QueueShare(QueueKey(pool, domain), share)


class Recipient(NamedTuple):
    """One recipient of a new message: the address as the client gave it, and the domain of its queue."""

    address: str
    domain: str


def tenant_mark(tenant: str) -> str:
    """The tenant as a label among the tags that rules look at; no tag has a control character."""
    return "\0" + tenant


def pass_mark(passed: str) -> str:
    """An entry of `Record.passed` as a label: the pause that it names does not match mail that has it."""
    return "\1" + passed


def site_mark(site: str) -> str:
    """The site of a delivery's domain as a label, likewise."""
    return "\3" + site


def tenants_tag(tag: str, tenant: str) -> str:
    """The counter of a tag that counts mail of one tenant only."""
    return f"{tag}\0{tenant}"


class _Tagged:
    """Values derived from the tags, the tenant and the priority of a message, before and after its acceptance."""

    __slots__ = ()

    tags: tuple[str, ...]
    tenant: str
    priority: int

    @property
    def share(self) -> str:
        return share_of(self.tenant, self.priority)

    @property
    def counted_tags(self) -> tuple[str, ...]:
        """The names of the counters that the message moves: its tags, and where it has a tenant its tags as the tenant
        sees them."""
        tags, tenant = self.tags, self.tenant
        return (*tags, *[tenants_tag(tag, tenant) for tag in tags]) if tenant else tags

    @property
    def labels(self) -> tuple[str, ...]:
        """The labels that rules select by: the tags, and the mark of the tenant."""
        return (*self.tags, tenant_mark(self.tenant)) if self.tenant else self.tags


class NewMessage(_Tagged, msgspec.Struct, gc=False):
    """A message that was read completely and waits to be accepted; times are Unix milliseconds, sizes bytes."""

    id: MessageId
    sender: str  # "" is the null sender
    recipients: tuple[Recipient, ...]
    pool: str
    tags: tuple[str, ...]
    content: bytes  # as it will be sent, before dot-stuffing: trace header first, injection headers gone
    needs_8bit: bool  # some octet has its high bit set (RFC 6152)
    accepted_at: int
    due_at: int  # = accepted_at, or the scheduled time
    expires_at: int
    max_attempts: int  # 0 = no limit
    retries: tuple[int, ...]  # seconds between attempts, the last repeats; () = the node's schedule
    client: str  # IP address of the client that injected it
    properties: dict[str, str] | None = None
    tenant: str = ""  # the account on whose behalf it was injected
    priority: int = 0  # its class: 0 (bulk) to 2
    window: SendingWindow | None = None  # None: it may be sent at any time of the week
    simulated: bool = False  # it goes to the simulation, which needs no content
    call: CallQuota | None = None  # of the call over HTTP that brought it, where its tenant has a quota
    topic: str = ""  # for suppressions
    placed: PlacedContent | None = None  # its content, where that is large and in the store already


class IpWish(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """The sending IP that the next attempt is to have, or not to have."""

    ip: str
    avoid: bool = False  # another IP of the pool, where it has one
    retries: int = 0  # retries from this IP so far, the next one included


class Record(_Tagged, msgspec.Struct, array_like=True, frozen=True, gc=False):
    """The record of a live delivery in the store, without its id, pool and domain (msgpack; new fields only at the
    end)."""

    sender: str
    recipient: str
    tags: tuple[str, ...]
    size: int  # bytes of content
    accepted_at: int
    expires_at: int
    needs_8bit: bool = False
    attempts: int = 0  # attempts that ended
    max_attempts: int = 0
    retries: tuple[int, ...] = ()
    client: str = ""
    last: Reply | None = None  # the reply that the last attempt ended with
    uncertain: bool = False  # an earlier attempt may have reached the recipient (crash or lost reply after the dot)
    store: str = ""  # where the content is: "" = Redis, in the message's lane
    key: str = ""  # its address there: "" = the message id
    properties: dict[str, str] | None = None
    deferred_by: str = ""  # the rule that counts this delivery as deferred
    tenant: str = ""
    held_at: int = 0  # Unix ms since which a pause holds it, 0 = none does
    recipients: int = 1  # of its message
    scheduled_at: int = 0  # Unix ms that the sender asked for, 0 = at once
    unintelligible: int = 0  # attempts at which the server did not speak the protocol
    seq: int = 1  # states of the delivery so far: accepted is 1, and each change of the record counts
    priority: int = 0  # its class: 0 (bulk) to 2
    known: tuple[str, str] | None = None  # category and fault of the last failure; None: not known
    wish: IpWish | None = None
    passed: tuple[str, ...] = ()  # "<pause>.<generation>" of each pause that let it go while it held other mail
    window: SendingWindow | None = None  # None: at any time of the week
    simulated: bool = False  # it goes to the simulation, whatever its domain is
    topic: str = ""  # for suppressions

    @property
    def labels(self) -> tuple[str, ...]:
        """The labels that rules select by, and the marks of the pauses that it has passed."""
        labels = (*self.tags, tenant_mark(self.tenant)) if self.tenant else self.tags
        return (*labels, *map(pass_mark, self.passed)) if self.passed else labels


class Addressed(NamedTuple):
    """The fields that rules read of a delivery that has no record yet."""

    sender: str
    recipient: str
    accepted_at: int


class Claimed(msgspec.Struct, gc=False):
    """A delivery that this process may attempt, and the fencing token that settling it needs."""

    id: DeliveryId
    token: bytes
    queue: QueueKey
    record: Record
    content: bytes | None  # None: too large for the claim's answer, ask `Content.get`
    reclaims: int = 0  # how many processes died holding it
    canceled_by: str | None = None  # the author of a cancellation that was ordered while a process held it that is gone
    share: str = ""  # the share of the queue that it was claimed from, and goes back to
