"""Acceptance of messages: the calls of those that bring messages, and the calls that acceptance makes to delivery."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Final, NamedTuple, Protocol, runtime_checkable

import msgspec

from mta.model.idempotency import IdempotencyKey
from mta.model.ids import MessageId
from mta.model.injection import Hold, Injection
from mta.model.mail import Claimed, NewMessage, QueueKey
from mta.model.outcomes import Class, Reply
from mta.ports.idempotency import OncePart
from mta.ports.queueing import DecidedBy

SHUTTING_DOWN: Final = Reply(421, "4.3.2", "shutting down, try again later")  # said while this process stops

MOST_IN_A_PART: Final = 100  # messages that one step accepts

# Called once with the answer to a message: 250 after it was made durable, a refusal, or None: whether it was accepted
# cannot be found out, so the client must get no answer at all.
Done = Callable[[Reply | None], None]

# Called once with the answer to each message of a part, in order.
AllDone = Callable[[Sequence[Reply | None]], None]

# Given an id and the time at which it was made (Unix ms): the message with that id, or its refusal.
Prepare = Callable[[MessageId, int], NewMessage | Reply]


class SomeEnded(Reply, array_like=True, frozen=True, gc=False):
    """The 250 to a message of which deliveries ended as they were accepted: (number of the recipient, class) of
    each."""

    ended: tuple[tuple[int, Class], ...] = ()


class RefusedUntil(Reply, array_like=True, frozen=True, gc=False):
    """The refusal of a message that may be taken again at a time that is known."""

    until: int = 0  # Unix ms


class Ending(NamedTuple):
    """A delivery that a decider ends in the step that accepts it."""

    number: int  # of the recipient, from 1
    ended: Class  # FILTERED or THROTTLED
    by: DecidedBy
    reason: str = ""  # in the event; of FILTERED that of the suppression
    topic: str = ""  # of the suppression
    enhanced: str = ""  # in the event


class Undecided(NamedTuple):
    """A message of a batch, and the numbers of its recipients about which nothing is decided yet."""

    message: NewMessage
    numbers: Sequence[int]


class Decider(Protocol):
    """Decides beside the rules about mail that is accepted: suppressions, quotas, the simulation."""

    @property
    def is_on(self) -> bool:
        """Whether it may end a delivery now. Asked once for each batch; while it is off, nothing is done for mail."""
        ...

    async def decide(self, mail: Sequence[Undecided]) -> Mapping[MessageId, Sequence[Ending] | Reply]:
        """The deliveries that it ends, and the replies to messages that it refuses. Raises StoreError: the batch is not
        accepted now."""
        ...


@runtime_checkable
class ReservingDecider(Decider, Protocol):
    """A decider that reserves something for the mail that it lets in."""

    @property
    def has_reserved(self) -> bool:
        """Whether it holds something for mail that is not finished."""
        ...

    def finished(self, ids: Iterable[MessageId], accepted: bool) -> None:
        """Messages were accepted, or may have been; or they certainly were not. It has decided about some of them."""
        ...

    async def close(self) -> None:
        """Give everything back that is not used. No mail comes any more."""
        ...


class Requester(msgspec.Struct, frozen=True, gc=False):
    """The client that hands a message in, as the log and the trace header name it."""

    address: str  # IP
    name: str = ""  # as the client calls itself, "" = it did not say
    protocol: str = "SMTP"  # the "with" keyword of the trace header, RFC 3848


class Submission(msgspec.Struct, gc=False):
    """A message as a client handed it in: the client, the envelope, and the content with its injection headers."""

    requester: Requester
    sender: str  # "" is the null sender
    recipients: tuple[str, ...]
    content: bytes  # every line ends with CRLF
    hold: Hold | None = None


class Admission(Protocol):
    """Makes messages durable. The calls are synchronous; the replies come later, by callbacks."""

    def refusal(self) -> Reply | None:
        """The reply to MAIL while no message may come; None: it may come."""
        ...

    def admit(self, prepare: Prepare, done: Done, lane: int | None = None) -> Reply | None:
        """Accept the message that `prepare` makes. `admit` calls `prepare` at once, with an id in `lane`, or in the
        lane of the common batch. An idempotent injection names the lane of its key, a DSN the lane of its message.

        None: `done` will be called once, later. A Reply refuses the message.
        """
        ...

    def begin_call(self, lane: int | None = None) -> MessageId:
        """An id for the first message of a call, in `lane`, or in the lane of the common batch. The other messages of
        the call get the ids that follow (`id_in_row`), so all of them are in one lane."""
        ...

    def admit_part(self, messages: Sequence[NewMessage], done: AllDone, once: OncePart | None = None) -> Reply | None:
        """Accept 1 to MOST_IN_A_PART messages of one call in one step. They keep the ids that they have; of messages
        that a rule refuses only the others are stored. With `once` the part is that of an idempotent call. It has all
        of `messages`, and runs if the store says so.

        None: `done` will be called once, later, or `once.known` where the part may not run. A Reply refuses all of
        them.
        """
        ...


class Submissions(Protocol):
    """Prepares and admits the messages of clients."""

    def submit(self, submission: Submission, done: Done) -> Reply | None:
        """As `Admission.admit`. An implementation may prepare the message in the background, since replies come by
        `done`."""
        ...


class Draft(NamedTuple):
    """One message of a call, whose header has no injection headers and no trace header."""

    header: bytes  # fields, each with its CRLF
    rest: bytes  # the empty line and the body
    recipients: tuple[str, ...]
    properties: dict[str, str] | None = None  # besides those that the call asks for
    finish: "Callable[[MessageId], Draft] | None" = None  # makes header and rest, once the message has its id


class Handed(NamedTuple):
    """A draft that was handed in: its id, and the answer to it."""

    id: MessageId
    reply: Reply | None  # as `Done` is called with

    @property
    def is_accepted(self) -> bool:
        return self.reply is not None and self.reply.code == 250

    @property
    def ended(self) -> dict[int, Class]:
        """The deliveries that ended as they were accepted: class by number of the recipient."""
        return dict(self.reply.ended) if isinstance(self.reply, SomeEnded) else {}


class KeyedWork(Protocol):
    """A call with an idempotency key that this process works on."""

    note: bytes  # kept with the first part, for those who go on with the call

    @property
    def is_complete(self) -> bool:
        """Whether the call was accepted before: the answers to it are `earlier`."""
        ...

    @property
    def earlier(self) -> Sequence[Handed]:
        """The first messages of the call, which were accepted or refused before."""
        ...

    @property
    def began_at(self) -> int | None:
        """When the call was made first (Unix ms); None: now."""
        ...


class Call(Protocol):
    """The messages of one call. Their ids follow each other in one lane, in the order in which they are submitted."""

    async def submit(self, drafts: Sequence[Draft]) -> list[Handed]:
        """Sign, route and accept messages; returns, in order, once each has its answer. May be called again, for the
        messages that come next."""
        ...


class Calls(Protocol):
    """Takes mail that clients hand in by calls, each with one or many messages."""

    def refusal(self) -> Reply | None:
        """The reply to any call while no message may come; None: it may come."""
        ...

    def would_sign(self, header: bytes, tenant: str) -> bool:
        """Whether a message of the tenant ("" = of none) with this header would get a DKIM signature now."""
        ...

    def begin(self, requester: Requester, sender: str, asked: Injection, work: KeyedWork | None = None) -> Call:
        """A call whose messages all have this envelope sender ("" = the null sender), and ask for the same. With
        `work` it is submitted once, and gets the messages that come after the earlier ones; `submit` may raise
        KeyRefusal."""
        ...

    def work_on(self, key: IdempotencyKey) -> AbstractAsyncContextManager[KeyedWork]:
        """Work on the call with the key, alone of all processes. Raises KeyRefusal, StoreError."""
        ...


class ClaimOnAccept(Protocol):
    """Delivery in the accepting process: it may claim mail in the step that accepts it."""

    def reserve(self, queue: QueueKey, count: int) -> int:
        """Reserve room for up to `count` deliveries of the queue that are due now. Returns the number reserved."""
        ...

    def take(self, queue: QueueKey, reserved: int, claimed: Sequence[Claimed]) -> None:
        """The deliveries that were claimed under a reservation of `reserved`, possibly none. Called exactly once for
        each reservation that was not 0."""
        ...
