"""Signs mail before it is accepted, with all active keys of the domain that answers for it."""

import logging
from collections.abc import Callable, Sequence
from typing import Final

from mta.content.author import author_domain
from mta.content.canonical_form import HeaderFields, header_fields
from mta.content.dkim_signature import cover, digest_of, signature_field, signing_domains, unsigned_value
from mta.content.seven_bit import Entity, made_seven_bit
from mta.model.errors import BadValue, SealError
from mta.model.outcomes import Reply
from mta.model.settings import DkimSettings
from mta.policy.routing import queue_domain
from mta.ports.dkim import Signed, Unsigned
from mta.signing.key_ring import KeyRing, RingKey
from mta.timing.clock import wall_seconds

log = logging.getLogger(__name__)

_CANNOT: Final = Reply(451, "4.7.5", "the message cannot be signed now, try again later")


class MailSigner:
    """Fulfils ports.dkim.SignMail."""

    def __init__(self, settings: DkimSettings, ring: KeyRing, *, clock: Callable[[], float] = wall_seconds) -> None:
        """`clock` gives Unix seconds."""
        self._is_off = settings.sign == "off"
        self._is_required = settings.sign == "required"
        self._default = settings.default_domain.lower()
        self._oversigned = tuple(name.lower().encode() for name in settings.oversign)
        self._ring = ring
        self._clock = clock
        self.signatures = 0  # made
        self.refused = 0  # messages answered 451

    @property
    def is_on(self) -> bool:
        return self._is_required or not (self._is_off or self._ring.is_empty)

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
        body = bytes(mail.rest[2:])
        entity = Entity(mail.header, body)
        if not signed_by and not body.isascii():
            entity = made_seven_bit(entity)
            fields = header_fields(entity.header) or fields
        made = self._signatures(entity, fields, keys)
        if isinstance(made, Reply):
            return made
        rest = mail.rest if entity.body is body else b"\r\n" + entity.body
        return Signed(made, entity.header, rest)

    def _signatures(self, entity: Entity, fields: HeaderFields, keys: Sequence[RingKey]) -> bytes | Reply:
        """One field for each key."""
        covered = cover(fields, entity.body, self._oversigned)
        at, made = int(self._clock()), []
        for one in keys:
            key = one.key
            value = unsigned_value(covered, key.domain, key.selector, key.algorithm.tag, at)
            try:
                made.append(signature_field(value, one.sign(digest_of(covered, value))))
            except SealError:
                self.refused += 1
                return _CANNOT
        self.signatures += len(made)
        return b"".join(made)

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
        self.refused += 1
        return Reply(451, "4.7.5", f"the message cannot be signed: {why}")


def _name(domain: str) -> str:
    """In A-labels; "" for an address literal and for what is no domain name."""
    try:
        return "" if domain.startswith("[") else queue_domain(domain)
    except BadValue:
        return ""
