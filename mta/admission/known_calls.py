"""Idempotent parts of a batch: which messages they are, and how the answer to them is kept and read back."""

from collections.abc import Sequence
from typing import NamedTuple

import msgspec

from mta.model.ids import id_in_row, message_text, place_in_row
from mta.model.mail import NewMessage
from mta.model.outcomes import Class, Reply
from mta.ports.admission import SomeEnded
from mta.ports.idempotency import CallPart, KeepMode, KeptCall
from mta.ports.queueing import AcceptanceDecision


class _Difference(NamedTuple):
    """The reply to a message that is not just 250; in msgpack its fields in order."""

    place: int  # of the message in its call
    code: int
    enhanced: str
    text: str
    ended: Sequence[tuple[int, Class]] = ()


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(_Difference).decode


def reply_to(message: NewMessage, decision: AcceptanceDecision) -> Reply:
    """The answer to a message of a batch that was stored with `decision`."""
    if decision.rejected and (refused := decision.rejected.get(message.id)) is not None:
        return refused.reply
    if decision.ended and (ended := decision.ended.get(message.id)):
        words = f"queued as {message_text(message.id)}"
        return SomeEnded(250, "2.0.0", words, tuple((one.number, one.ended) for one in ended))
    return Reply(250, "2.0.0", f"queued as {message_text(message.id)}")


def part_to_keep(call: CallPart, messages: Sequence[NewMessage], decision: AcceptanceDecision) -> CallPart:
    """The part as the step keeps it, if `messages`, which are its own, are stored with `decision`. Of a call of which
    nothing is accepted nothing is kept."""
    if not decision.ended and not decision.rejected:
        return call
    places = [place_in_row(call.first, one.id) for one in messages]
    differences = [
        difference(place, reply_to(one, decision))
        for place, one in zip(places, messages, strict=True)
        if one.id in decision.ended or one.id in decision.rejected
    ]
    nothing = call.messages == call.total and all(one.id in decision.rejected for one in messages)
    keep = KeepMode.LOOK if nothing and call.keep is KeepMode.KEEP else call.keep
    return call._replace(keep=keep, differences=call.differences + b"".join(differences))


def difference(place: int, reply: Reply) -> bytes:
    """As it is kept: the answer to the message at `place` of a call, which is not just 250."""
    ended = reply.ended if isinstance(reply, SomeEnded) else ()
    raw = _encode(_Difference(place, reply.code, reply.enhanced, reply.text, ended))
    return len(raw).to_bytes(4, "big") + raw


def replies_of(kept: KeptCall) -> list[Reply]:
    """The answers to the messages of the call that are done, in order."""
    ids = (id_in_row(kept.first, place) for place in range(kept.done))
    replies = [Reply(250, "2.0.0", f"queued as {message_text(one)}") for one in ids]
    raw = kept.differences
    while raw:
        size = int.from_bytes(raw[:4], "big")
        place, code, enhanced, text, ended = _decode(raw[4 : 4 + size])
        raw = raw[4 + size :]
        replies[place] = SomeEnded(code, enhanced, text, tuple(ended)) if ended else Reply(code, enhanced, text)
    return replies
