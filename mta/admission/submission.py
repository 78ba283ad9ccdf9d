"""Prepares a submitted message for acceptance: injection headers, loop check, signatures."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Final, NamedTuple

from mta.admission.making import MessageMaker
from mta.admission.once import OncePerKey
from mta.content.header_block import has_received, take_header
from mta.content.injection_headers import held, read_injection, refuse_strays
from mta.model.errors import BadValue
from mta.model.idempotency import TRUSTED_NETWORKS, idempotency_key
from mta.model.ids import MessageId
from mta.model.injection import Injection
from mta.model.mail import NewMessage
from mta.model.outcomes import Reply
from mta.model.rules import Rule
from mta.model.settings import Settings
from mta.ports.admission import Admission, Done, Prepare, Submission
from mta.ports.dkim import Signed, SignMail, Unsigned
from mta.smtp.grammar import parse_mailbox
from mta.timing.clock import wall_seconds

MAX_RECEIVED: Final = 100  # RFC 5321 6.3

_LOOP: Final = Reply(554, "5.4.6", f"{MAX_RECEIVED} Received headers: the message goes in circles")


class _Read(NamedTuple):
    """A submission without its injection headers, and what these asked for."""

    header: bytes
    rest: bytes | memoryview
    injection: Injection
    sender: str


class TrustedSubmissions:
    """Fulfils ports.admission.Submissions for clients of trusted networks: they choose pool, tags and times."""

    def __init__(
        self,
        settings: Settings,
        admission: Admission,
        tenants: Callable[[], Mapping[str, Rule]] = dict,
        signer: SignMail | None = None,
        *,
        once: OncePerKey,
        clock: Callable[[], float] = wall_seconds,
    ) -> None:
        """`once` admits messages with an idempotency key. `tenants` gives the terms of tenants, by name; `signer` None:
        nothing is signed. `clock` gives Unix seconds."""
        smtp, maker = settings.smtp, MessageMaker(settings, tenants)
        self._admission = admission
        self._signing_domain = maker.signing_domain
        self._make = maker.make
        self._signer = signer
        self._once = once
        self._clock = clock
        self._prefixes = tuple(prefix.lower() for prefix in smtp.header_prefixes)
        self._ignored = frozenset(name.lower() for name in smtp.ignore_headers)

    def submit(self, submission: Submission, done: Done) -> Reply | None:
        read = self._read(submission, int(self._clock() * 1000))
        if isinstance(read, Reply):
            return self._refuse(read, done)
        signer = self._signer
        if signer is None or not signer.is_on:
            make = partial(self._made, submission, read, b"")
            if read.injection.idempotency_key:
                return self._admit_once(submission, read.injection, make, done)
            return self._admission.admit(make, done)
        tenant = read.injection.tenant
        mail = Unsigned(read.header, read.rest, tenant, self._signing_domain(tenant))
        signed = signer.sign(mail, partial(self._signed, submission, read, done))
        return None if signed is None else self._admit_signed(submission, read, signed, done)

    def _signed(self, submission: Submission, read: _Read, done: Done, signed: Signed | Reply) -> None:
        """Called by the signer where it takes its time."""
        reply = self._admit_signed(submission, read, signed, done)
        if reply is not None:
            done(reply)

    def _admit_signed(self, submission: Submission, read: _Read, signed: Signed | Reply, done: Done) -> Reply | None:
        if isinstance(signed, Reply):
            return self._refuse(signed, done)
        read = read._replace(header=signed.header, rest=signed.rest)
        make = partial(self._made, submission, read, signed.signatures)
        if read.injection.idempotency_key:
            return self._admit_once(submission, read.injection, make, done)
        return self._admission.admit(make, done)

    def _admit_once(self, submission: Submission, asked: Injection, make: Prepare, done: Done) -> Reply | None:
        """All clients of trusted networks are one scope: a client may come by IPv4 and by IPv6."""
        envelope = "\0".join((submission.sender, *submission.recipients)).encode()
        key = idempotency_key((TRUSTED_NETWORKS, asked.tenant), asked.idempotency_key, (envelope, submission.content))
        return self._once.admit(key, make, done)

    def _refuse(self, refusal: Reply, done: Done) -> Reply | None:
        """The admission counts what is refused."""
        return self._admission.admit(lambda message_id, now_ms: refusal, done)

    def _read(self, submission: Submission, now_ms: int) -> _Read | Reply:
        content = submission.content
        block, asked, rest, strays = take_header(content, self._prefixes)
        if has_received(block, MAX_RECEIVED):
            return _LOOP
        sender = submission.sender
        try:
            if strays:
                refuse_strays(strays, self._prefixes, self._ignored)
            injection = read_injection(asked, self._prefixes, self._ignored, now_ms)
            if submission.hold is not None:
                injection = held(injection, submission.hold, now_ms)
            if injection.sender is not None:
                sender = parse_mailbox(injection.sender, "X-MQ-Envelope") if injection.sender else ""
        except BadValue as bad:
            return Reply(550, "5.6.0", str(bad))
        return _Read(block, memoryview(content)[rest:], injection, sender)

    def _made(
        self, submission: Submission, read: _Read, signatures: bytes, message_id: MessageId, now_ms: int
    ) -> NewMessage | Reply:
        """`signatures` are header fields that stand below the trace header."""
        block, rest, injection, sender = read
        parts = signatures, block, rest
        return self._make(submission.requester, sender, submission.recipients, injection, parts, message_id, now_ms)
