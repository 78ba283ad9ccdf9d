"""Signs mail before it is accepted, with all active keys of the domain that answers for it."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Final

from mta.content.author import author_domain
from mta.content.canonical_form import HeaderFields, header_fields
from mta.content.dkim_signature import Covered, cover, digest_of, signature_field, signing_domains, unsigned_value
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

_WAITING_BYTES: Final = 64 * 1024 * 1024  # of messages that wait for their signatures
_FULL: Final = Reply(452, "4.3.1", "too much mail is waiting to be signed, try again later")
_CANNOT: Final = Reply(451, "4.7.5", "the message cannot be signed now, try again later")


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
        self._oversigned = tuple(name.lower().encode() for name in settings.oversign)
        self._ring = ring
        self._beside = beside
        self._clock = clock
        self._waiting_bytes = 0  # of messages whose signatures are made beside
        self.signatures = 0  # made
        self.refused = 0  # messages answered 4xx

    @property
    def is_on(self) -> bool:
        return self._is_required or not (self._is_off or self._ring.is_empty)

    def metrics(self) -> Mapping[str, float]:
        return {told.SIGNATURES.key: self.signatures, told.UNSIGNABLE.key: self.refused}

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
        body = bytes(mail.rest[2:])
        entity = Entity(mail.header, body)
        if not signed_by and not body.isascii():
            entity = made_seven_bit(entity)
            fields = header_fields(entity.header) or fields
        rest = mail.rest if entity.body is body else b"\r\n" + entity.body
        return self._started(entity, rest, fields, keys, done)

    def _started(
        self,
        entity: Entity,
        rest: bytes | memoryview,
        fields: HeaderFields,
        keys: Sequence[RingKey],
        done: Callable[[Signed | Reply], None],
    ) -> Signed | Reply | None:
        """The message, if all its signatures could be made at once; else `done` gets it."""
        answer: Signed | Reply | None = None
        is_later = False

        def made(signatures: bytes | None) -> None:
            nonlocal answer
            found = self._refused(_CANNOT) if signatures is None else Signed(signatures, entity.header, rest)
            if is_later:
                done(found)
            else:
                answer = found

        job = _Job(len(keys), len(entity.body), made)
        self._waiting_bytes += job.size
        self._begin(job, cover(fields, entity.body, self._oversigned), keys)
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


def _name(domain: str) -> str:
    """In A-labels; "" for an address literal and for what is no domain name."""
    try:
        return "" if domain.startswith("[") else queue_domain(domain)
    except BadValue:
        return ""
