"""The content of a message, and sending it once more."""

from aiohttp import web

from control_api import dependencies
from control_api.access.actor import actor_of
from control_api.dependencies import Dependencies
from control_api.http.bodies import read_fields
from control_api.http.operation import BODY_REFUSALS, Answer, Example, Operation, a_parameter
from control_api.http.problems import Problem, json_response
from control_api.http.query import read_no_query
from control_api.messages.show import unknown
from control_api.schemas.message_answers import NewDelivery, Resent
from control_api.schemas.values import ANY_ID
from mta.model.actor import Actor
from mta.model.audit import Deed
from mta.model.errors import BadValue
from mta.model.ids import MessageId, delivery_id, delivery_text, message_text, parse_id
from mta.model.scopes import Scope
from mta.ports.stored_mail import ContentGone, KeptMail, StillWaits

_MEDIA = "message/rfc822"


async def show_content(request: web.Request) -> web.Response:
    """The message as it is sent, with the trace header of its acceptance and without injection headers."""
    read_no_query(request)
    message, _ = parse_id(request.match_info["id"])
    kept = await _kept(dependencies.of(request), actor_of(request), message)
    if kept.content is None:
        raise Problem(
            404,
            "the content of this message is not kept any more: the store keeps it while a delivery of the message "
            "waits, and for rules.undo_window after a forced error",
        )
    return web.Response(body=kept.content, content_type=_MEDIA)


async def resend(request: web.Request) -> web.Response:
    """Accept a new message of the same content for the recipients whose delivery has ended."""
    read_no_query(request)
    message, number = parse_id(request.match_info["id"])
    if request.body_exists:
        for name in await read_fields(request):
            raise BadValue(name[:100], "is not a field of a resend; it has none")
    deps, actor = dependencies.of(request), actor_of(request)
    kept = await _kept(deps, actor, message)
    await deps.audit.note(actor, Deed("message.resend", request.match_info["id"], tenant=kept.tenant))
    try:
        made = await deps.stored_mail.resend(message, number, actor.address)
    except (ContentGone, StillWaits) as error:
        raise Problem(409, str(error)) from error
    if made is None:
        raise unknown()
    text = message_text(made.message)
    recipients = [
        NewDelivery(id=delivery_text(delivery_id(made.message, at)), message_id=text, recipient=recipient)
        for at, recipient in enumerate(made.recipients, 1)
    ]
    return json_response(Resent(id=text, recipients=recipients), 202, {"Location": f"/v1/messages/{text}"})


async def _kept(deps: Dependencies, actor: Actor, message: MessageId) -> KeptMail:
    """Raises Problem 404 where the store does not know it, or it belongs to another tenant than the actor."""
    kept = await deps.stored_mail.read(message)
    if kept is None or not actor.sees(kept.tenant):
        raise unknown()
    return kept


_ID = a_parameter("id", ANY_ID)

OPERATIONS = (
    Operation(
        "GET",
        "/v1/messages/{id}/content",
        show_content,
        "messageContent",
        "The content of a message",
        (Answer(200, {"type": "string"}, "as it is sent", media=_MEDIA),),
        Example("/v1/messages/$MESSAGE/content"),
        scope=Scope.MESSAGES_CONTENT,
        for_tenants=True,
        description="The store keeps it while a delivery of the message waits, and for rules.undo_window after a "
        "forced error.",
        refusals=(404,),
        path_values=(_ID,),
    ),
    Operation(
        "POST",
        "/v1/messages/{id}/resend",
        resend,
        "resendMessage",
        "Send the content once more, as a new message",
        (Answer(202, Resent, "accepted; the old message stays as it is"),),
        Example("/v1/messages/$MESSAGE/resend", status=409),
        scope=Scope.MESSAGES_SEND,
        for_tenants=True,
        description="It goes to the recipients whose delivery has ended, or to the one of the delivery in the path. "
        "409: its content is gone, or none of its deliveries has ended. Rules in force apply to the new message, too.",
        refusals=(404, 409, *BODY_REFUSALS),
        path_values=(_ID,),
    ),
)
