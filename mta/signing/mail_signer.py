"""Signs mail before it is accepted, with all active keys of the domain that answers for it."""

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Final, NamedTuple

from mta.content.author import author_domain
from mta.content.canonical_form import HeaderFields, header_fields
from mta.content.dkim_signature import (
    Covered,
    FieldNames,
    cover,
    digest_of,
    names_to_sign,
    signature_field,
    signing_domains,
    unsigned_value,
)
from mta.content.seven_bit import Entity, made_seven_bit
from mta.model import process_metrics as told
from mta.model.dkim_keys import Algorithm
from mta.model.errors import BadValue, SealError
from mta.model.outcomes import Reply
from mta.model.settings import DkimSettings
from mta.policy.routing import queue_domain
from mta.ports.dkim import SignBeside, Signed, Unsigned
from mta.signing.key_ring import KeyRing, RingKey
from mta.timing.clock import wall_seconds

log = logging.getLogger(__name__)

_LARGE: Final = 256 * 1024  # bytes, above which hashing would hold the loop for more than a millisecond
_WAITING_BYTES: Final = 64 * 1024 * 1024  # of messages that wait for their signatures
_FULL: Final = Reply(452, "4.3.1", "too much mail is waiting to be signed, try again later")
_CANNOT: Final = Reply(451, "4.7.5", "the message cannot be signed now, try again later")


class _Prepared(NamedTuple):
    """A message as it will leave, and the part of it that signatures cover."""

    header: bytes
    rest: bytes | memoryview
    covered: Covered


class _Job:
    """A message whose signatures are made one by one."""

    __slots__ = ("done", "fields", "left", "refused", "size")

    def __init__(self, count: int, size: int, done: Callable[[bytes | None], None]) -> None:
        self.fields = [b""] * count
        self.left = count
        self.size = size  # of the message, in bytes
        self.refused = False
        self.done = done  # with the fields of all signatures, None = one could not be made


class MailSigner:
    """Fulfils ports.dkim.SignMail."""

    def __init__(
        self,
        settings: DkimSettings,
        ring: KeyRing,
        beside: SignBeside | None = None,
        *,
        clock: Callable[[], float] = wall_seconds,
    ) -> None:
        """`beside` signs with RSA keys; None: this process does. `clock` gives Unix seconds."""
        self._is_off = settings.sign == "off"
        self._is_required = settings.sign == "required"
        self._default = settings.default_domain.lower()
        self._names = names_to_sign(settings.oversign)
        self._ring = ring
        self._beside = beside
        self._clock = clock
        self._waiting_bytes = 0  # of messages whose signatures are made beside
        self._tasks: set[asyncio.Task[None]] = set()
        self.signatures = 0  # made
        self.refused = 0  # messages answered 4xx

    @property
    def is_on(self) -> bool:
        return self._is_required or not (self._is_off or self._ring.is_empty)

    def metrics(self) -> Mapping[str, float]:
        return {told.SIGNATURES.key: self.signatures, told.UNSIGNABLE.key: self.refused}

    def would_sign(self, mail: Unsigned) -> bool:
        fields = None if self._is_off else header_fields(mail.header)
        if fields is None or b"from" not in fields:
            return False
        keys = self._keys(fields, mail)
        return bool(keys) and keys[0].key.domain not in signing_domains(fields.get(b"dkim-signature", ()))

    def sign(self, mail: Unsigned, done: Callable[[Signed | Reply], None]) -> Signed | Reply | None:
        fields = header_fields(mail.header)
        if fields is None:
            return self._unsigned(mail, "its header has a line that is no field")
        if b"from" not in fields:
            return self._unsigned(mail, "it has no From header")
        keys = self._keys(fields, mail)
        if not keys:
            return self._unsigned(mail, "no domain that may sign it has an active key")
        signed_by = signing_domains(fields.get(b"dkim-signature", ()))
        if keys[0].key.domain in signed_by:
            return Signed(b"", mail.header, mail.rest)
        if self._waiting_bytes >= _WAITING_BYTES:
            return self._refused(_FULL)
        work = partial(_prepared, mail, fields, not signed_by, self._names)
        size = len(mail.rest)
        if size <= _LARGE:
            return self._started(work(), size, keys, done)
        self._waiting_bytes += size
        task = asyncio.get_running_loop().create_task(self._start_later(work, size, keys, done))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return None

    async def _start_later(
        self, work: Callable[[], _Prepared], size: int, keys: Sequence[RingKey], done: Callable[[Signed | Reply], None]
    ) -> None:
        """A large message is canonicalised and hashed in a thread, piece by piece."""
        try:
            found = self._started(await asyncio.to_thread(work), size, keys, done)
        except Exception:
            log.exception("a message could not be prepared for its signatures")
            found = self._refused(_CANNOT)
        finally:
            self._waiting_bytes -= size
        if found is not None:
            done(found)

    def _started(
        self, prepared: _Prepared, size: int, keys: Sequence[RingKey], done: Callable[[Signed | Reply], None]
    ) -> Signed | Reply | None:
        """The message, if all its signatures could be made at once; else `done` gets it."""
        answer: Signed | Reply | None = None
        is_later = False

        def made(signatures: bytes | None) -> None:
            nonlocal answer
            refused = signatures is None
            found = self._refused(_CANNOT) if refused else Signed(signatures or b"", prepared.header, prepared.rest)
            if is_later:
                done(found)
            else:
                answer = found

        job = _Job(len(keys), size, made)
        self._waiting_bytes += size
        self._begin(job, prepared.covered, keys)
        is_later = True
        return answer

    def _begin(self, job: _Job, covered: Covered, keys: Sequence[RingKey]) -> None:
        at = int(self._clock())
        for place, one in enumerate(keys):
            key = one.key
            value = unsigned_value(covered, key.domain, key.selector, key.algorithm.tag, at)
            digest = digest_of(covered, value)
            took = partial(self._take, job, place, one, value, digest)
            try:
                if self._beside is None or key.algorithm is not Algorithm.RSA:
                    took(one.sign(digest))
                else:
                    self._beside.sign(one.private, digest, took)
            except SealError:
                self._end(job, place, None)

    def _take(self, job: _Job, place: int, one: RingKey, value: bytes, digest: bytes, signature: bytes | None) -> None:
        """A signature; None: it could not be made beside."""
        try:
            field = signature_field(value, one.sign(digest) if signature is None else signature)
        except SealError:
            self._end(job, place, None)
        else:
            self._end(job, place, field)

    def _end(self, job: _Job, place: int, field: bytes | None) -> None:
        job.left -= 1
        if field is None:
            job.refused = True
        else:
            self.signatures += 1
            job.fields[place] = field
        if not job.left:
            self._waiting_bytes -= job.size
            job.done(None if job.refused else b"".join(job.fields))

    def _keys(self, fields: HeaderFields, mail: Unsigned) -> Sequence[RingKey]:
        """Those of the domain of From, or of its nearest parent that has some; else of the tenant's, else of ours."""
        domain = _name(author_domain(fields[b"from"]))
        while "." in domain:
            if keys := self._ring.keys(domain, mail.tenant):
                return keys
            domain = domain.partition(".")[2]
        for domain in (mail.tenant_domain, self._default):
            if domain and (keys := self._ring.keys(domain, mail.tenant)):
                return keys
        return ()

    def _unsigned(self, mail: Unsigned, why: str) -> Signed | Reply:
        if not self._is_required:
            return Signed(b"", mail.header, mail.rest)
        return self._refused(Reply(451, "4.7.5", f"the message cannot be signed: {why}"))

    def _refused(self, reply: Reply) -> Reply:
        self.refused += 1
        return reply


def _prepared(mail: Unsigned, fields: HeaderFields, may_convert: bool, names: FieldNames) -> _Prepared:
    """The message with 7-bit content, if it may be converted. It needs nothing that changes, so any thread may call."""
    body = bytes(mail.rest[2:])
    if not may_convert or body.isascii():
        return _Prepared(mail.header, mail.rest, cover(fields, body, names))
    entity = made_seven_bit(Entity(mail.header, body))
    covered = cover(header_fields(entity.header) or fields, entity.body, names)
    return _Prepared(entity.header, b"\r\n" + entity.body, covered)


def _name(domain: str) -> str:
    """In A-labels; "" for an address literal and for what is no domain name."""
    try:
        return "" if domain.startswith("[") else queue_domain(domain)
    except BadValue:
        return ""
