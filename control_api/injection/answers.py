"""The answer to a call: each recipient with its delivery, or with the reason why it has none."""

from collections.abc import Sequence
from typing import Final

from aiohttp import web
from msgspec import UNSET, UnsetType

from control_api.http.keys import REPLAYED
from control_api.http.problems import Problem, json_response
from control_api.http.times import now_ms
from control_api.injection.plan import Place
from control_api.schemas.message_answers import RemoteReply
from control_api.schemas.sending_shapes import Sent, SentRecipient
from control_api.schemas.sending_values import BadData
from mta.model.ids import delivery_id, delivery_text, message_text
from mta.model.outcomes import Class, Reply
from mta.model.status import Status
from mta.policy.tenant_terms import NOT_ITS_FROM, NOT_ITS_SENDER, SUSPENDED
from mta.ports.admission import Handed, RefusedUntil

RETRY_AFTER: Final = "1"

_ENDED: Final = {
    Class.INTERCEPTED: Status.UNDELIVERABLE,
    Class.FILTERED: Status.FILTERED,
    Class.THROTTLED: Status.THROTTLED,
    Class.SIMULATED: Status.SIMULATED,
}
_QUOTA: Final = "4.7.28"  # the enhanced code where the quota of the tenant is used up
_FORBIDDEN: Final = (SUSPENDED, NOT_ITS_SENDER, NOT_ITS_FROM)
_BAD_ADDRESS: Final = (553, "5.1.3")
_BAD_DATA: Final = (554, "5.6.0")
_UNKNOWN: Final = RemoteReply(
    code=451, enhanced="4.3.0", text="it is not known whether the message was accepted; look for it by a tag"
)


class Unanswerable(Exception):
    """It is not known of any message of the call whether it was accepted: no answer may be given."""


def shown(places: Sequence[Place], handed: Sequence[Handed]) -> list[SentRecipient]:
    """The recipients in order."""
    ended = [message.ended for message in handed]
    return [_shown(place, handed, ended[place.draft] if place.draft >= 0 else {}) for place in places]


def _shown(place: Place, handed: Sequence[Handed], ended: dict[int, Class]) -> SentRecipient:
    addressee = place.addressee
    if addressee.problem is not None:
        code, enhanced = _BAD_DATA if isinstance(addressee.problem, BadData) else _BAD_ADDRESS
        error = RemoteReply(code=code, enhanced=enhanced, text=str(addressee.problem))
        return SentRecipient(recipient=addressee.given, error=error)
    message = handed[place.draft]
    if not message.is_accepted:
        return SentRecipient(recipient=addressee.mailbox.address, error=_error(message.reply))
    status: Status | UnsetType = _ENDED[ended[place.number]] if place.number in ended else UNSET
    return SentRecipient(
        id=delivery_text(delivery_id(message.id, place.number)),
        message_id=message_text(message.id),
        recipient=addressee.mailbox.address,
        status=status,
    )


def _error(reply: Reply | None) -> RemoteReply:
    return _UNKNOWN if reply is None else RemoteReply(code=reply.code, enhanced=reply.enhanced, text=reply.text)


def answer(places: Sequence[Place], handed: Sequence[Handed]) -> web.Response:
    """202 if at least one recipient was accepted. Raises Problem and Unanswerable."""
    first = next((one for one in handed if one.is_accepted), None)
    if first is None:
        raise refusal(places, handed)
    text = message_text(first.id)
    found = Sent(id=text, recipients=shown(places, handed))
    return json_response(found, 202, {"Location": f"/v1/messages/{text}"})


def replay(places: Sequence[Place], handed: Sequence[Handed]) -> web.Response:
    """The answer to a call that was answered before. Raises Problem."""
    try:
        response = answer(places, handed)
    except Problem as problem:
        problem.headers |= REPLAYED
        raise
    response.headers.update(REPLAYED)
    return response


def refusal(places: Sequence[Place], handed: Sequence[Handed]) -> Problem:
    """Of a call none of whose recipients was accepted. Raises Unanswerable."""
    if handed:
        replies = [message.reply for message in handed if message.reply is not None]
        if len(replies) < len(handed):
            raise Unanswerable
        return problem_of(replies[0])
    problem = next(place.addressee.problem for place in places if place.addressee.problem is not None)
    return Problem(422 if isinstance(problem, BadData) else 400, problem.reason, problem.field)


def problem_of(reply: Reply) -> Problem:
    """A refusal as SMTP says it, in the words of HTTP."""
    if reply in _FORBIDDEN:
        return Problem(403, reply.text)
    if reply.code >= 500:
        return Problem(422, reply.text)
    retry_after = RETRY_AFTER
    if isinstance(reply, RefusedUntil):
        retry_after = str(max(1, -((now_ms() - reply.until) // 1000)))  # whole seconds, rounded up
    return Problem(429 if reply.enhanced == _QUOTA else 503, reply.text, headers={"Retry-After": retry_after})
