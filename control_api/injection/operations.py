"""The operations that hand mail in. The API forwards them; the process that takes mail serves them."""

from typing import Final

from control_api.http.operation import BODY_REFUSALS, Answer, Example, Operation, Parameter
from control_api.injection.forward import forward
from control_api.schemas.sending_shapes import SEND, Sent
from mta.model.scopes import Scope

_LOCATION: Final = Parameter("Location", {"type": "string"}, "the record of the first message")

SEND_MESSAGE: Final = Operation(
    "POST",
    "/v1/messages",
    forward,
    "sendMessage",
    "Hand in a message, or one for each recipient",
    (Answer(202, Sent, "stored, for at least one recipient", (_LOCATION,)),),
    Example(
        "/v1/messages",
        {
            "from": {"email": "shop@example.com", "name": "The shop"},
            "to": ["ann@example.net"],
            "subject": "Your order",
            "text": "It is on its way.",
            "tags": ["orders"],
        },
        202,
    ),
    description="The answer comes when the messages are stored durably, as the 250 of SMTP. A recipient that was not "
    "accepted has `error`; where none was accepted the answer is a refusal. 503: nothing was kept, try again later.",
    scope=Scope.MESSAGES_SEND,
    for_tenants=True,
    refusals=(*BODY_REFUSALS, 422),
    body=SEND,
)

INJECTING: Final = (SEND_MESSAGE,)
