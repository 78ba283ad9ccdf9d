"""How a delivery ended, as it is kept for `status.retention`: small, since there are far more of these than live ones.

Most deliveries that end have sender, tags, pool, sending IP and peer in common with many others. A process stores a
combination that it has met before once for each hour and lane, and names it by a digest. It writes a new combination in
place, so that mail whose every sender or tag is another costs nothing more.
"""

import hashlib
from typing import ClassVar, NamedTuple

import msgspec

from mta.model.outcomes import Forced, Reply

ACCEPTED_AND_ENDED_SEQ = 2  # of a delivery that one step accepted and ended: each is a change of its record
_MOST = 4096  # met, and remembered
_SAID_AT_MOST = 1024  # characters of a reply that are kept

_encode = msgspec.msgpack.Encoder().encode


class Common(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """The fields that many ended deliveries have in common (msgpack; new fields only at the end)."""

    sender: str
    tags: tuple[str, ...]
    pool: str
    tenant: str = ""
    mta: str = ""  # the sending IP of the last attempt, "" = none began
    mx: str = ""  # the peer of the last attempt
    forced: Forced | None = None
    reply: Reply | None = None  # the forced error's


class Final(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """The final status of a delivery that has ended (msgpack; new fields only at the end)."""

    recipient: str
    ended_at: int  # Unix ms
    recipients: int = 1  # of its message
    relayed: bool = False  # delivered to a relay, not to the recipient's own MX
    reply: Reply | None = None  # None where it was delivered, or where `common` has the reply of a forced error
    unroutable: bool = False  # bounced because there is nowhere to deliver to
    attempts: int = 0
    common: Common | bytes | None = None  # in place, or the digest of one that is kept elsewhere
    properties: dict[str, str] | None = None
    known: tuple[str, str] | None = None  # category and fault of its failure; None: not known, or delivered
    uncertain: bool = False  # not delivered as far as is known, but an attempt may have reached the recipient
    seq: int = 0  # of the record, with this end; 0 = not known. After a boolean and last, see settle.lua
    suppressed: ClassVar[tuple[str, str] | None] = None  # only a FilteredFinal has it


class FilteredFinal(Final, array_like=True, frozen=True, gc=False):
    """The final status of a delivery whose recipient is suppressed; every one can be read as one."""

    suppressed: tuple[str, str] | None = None  # type: ignore[misc]  # reason and topic of the suppression


class Shared(NamedTuple):
    """Common fields, as they are kept once."""

    digest: bytes
    raw: bytes


class Commons:
    """The combinations that this process has met before."""

    __slots__ = ("_met",)

    def __init__(self) -> None:
        self._met: dict[tuple[object, ...], Shared | None] = {}

    def share(
        self,
        sender: str,
        tags: tuple[str, ...],
        pool: str,
        tenant: str,
        mta: str = "",
        mx: str = "",
        forced: Forced | None = None,
        reply: Reply | None = None,
    ) -> tuple[Common | bytes, Shared | None]:
        """The value for `Final.common`, and the common fields to store beside the Final, None = none."""
        key = (sender, tags, pool, tenant, mta, mx, forced, reply)
        try:
            shared = self._met[key]
        except KeyError:
            if len(self._met) >= _MOST:
                self._met.clear()
            self._met[key] = None
            return Common(*key), None
        if shared is None:
            raw = _encode(Common(*key))
            shared = self._met[key] = Shared(hashlib.blake2b(raw, digest_size=8).digest(), raw)
        return shared.digest, shared


def short(reply: Reply) -> Reply:
    """The reply as it is kept: long texts of a peer would cost memory for a day."""
    if len(reply.text) <= _SAID_AT_MOST:
        return reply
    return Reply(reply.code, reply.enhanced, reply.text[:_SAID_AT_MOST])


def filtered(final: Final, reason: str, topic: str) -> FilteredFinal:
    """The same end, by the suppression with this reason and topic."""
    fields = {name: getattr(final, name) for name in final.__struct_fields__}
    return FilteredFinal(**fields, suppressed=(reason, topic))
