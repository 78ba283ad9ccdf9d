"""Suppressions: recipients to which no mail is sent, by address or domain, for all mail or one tenant's or topic's."""

from collections.abc import Sequence
from typing import NamedTuple

import msgspec

from mta.model.status import Reason

MOST_TOPIC = 128  # bytes of a topic


class SuppressionKey(NamedTuple):
    """The identity of a suppression."""

    subject: str  # an address in comparable form, or a domain in A-labels
    tenant: str = ""  # "" = mail of every tenant, and of none
    topic: str = ""  # "" = mail with any topic, and without

    @property
    def name(self) -> bytes:
        """As the store and the fingerprints have it."""
        return "\0".join(self).encode()


class Suppression(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """The value of a suppression (msgpack; new fields only at the end). Times are Unix milliseconds."""

    reason: Reason
    created_at: int
    created_by: str = ""
    expires_at: int = 0  # 0 = never
    note: str = ""  # for people
    extended: str = ""  # the enhanced code in the event of a delivery that it ends

    def in_force(self, now: int) -> bool:
        return not self.expires_at or now < self.expires_at


class Suppressed(NamedTuple):
    """A suppression with its identity."""

    key: SuppressionKey
    value: Suppression


def key_of(name: bytes) -> SuppressionKey:
    return SuppressionKey(*name.decode().split("\0"))


def keys_for(address: str, domain: str, tenant: str, topic: str) -> Sequence[SuppressionKey]:
    """The suppressions that would meet a delivery, the narrowest first. `address` is in comparable form."""
    return [
        SuppressionKey(subject, of_tenant, of_topic)
        for subject in (address, domain)
        for of_tenant in ((tenant, "") if tenant else ("",))
        for of_topic in ((topic, "") if topic else ("",))
    ]
