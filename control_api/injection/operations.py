"""The operations that hand mail in. The API forwards them; the process that takes mail serves them."""

from typing import Final

from control_api.http.keys import KEY, REPLAY
from control_api.http.operation import BODY_REFUSALS, Answer, Example, Operation, Parameter
from control_api.injection.forward import forward
from control_api.schemas.inject_shapes import INJECT
from control_api.schemas.sending_shapes import SEND, Sent
from mta.model.scopes import Scope

_LOCATION: Final = Parameter("Location", {"type": "string"}, "the record of the first message")
_HEADERS: Final = (_LOCATION, REPLAY)

SEND_MESSAGE: Final = Operation(
    "POST",
    "/v1/messages",
    forward,
    "sendMessage",
    "Hand in a message, or one for each recipient",
    (Answer(202, Sent, "stored, for at least one recipient", (_LOCATION, REPLAY), or_media=("application/x-ndjson",)),),
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
    "accepted has `error`; where none was accepted the answer is a refusal. 503: nothing was kept, try again later. "
    "A call with `Idempotency-Key` that is made again with the same body gets the same answer, with "
    "`Idempotent-Replay`, and sends nothing twice; one that stopped in the middle (503) goes on where it was. 409: it "
    "is under way; 422: another body had the key. The key stands for `messages.idempotency_window`, for its token and "
    "tenant. "
    "As `application/x-ndjson` the first line is the message without to, cc and bcc, and each line that follows is a "
    "recipient: an address, an object as in `to`, or a record as exports write them. Each gets a message of its own, "
    "and the answer has a line for each, in order. Such a body may have any length. A stream takes no key: "
    "one that is cut off may have sent mail to some of its recipients, and a repeat sends it to them again. Its answer "
    "comes once it has been read, and names who has mail; without an answer, history has them by a tag of the stream's "
    "own (`GET /v1/tags/{tag}/deliveries`). Where a recipient must not get two, make calls of up to "
    "`messages.max_batch` (1,000) recipients instead, with `separate` and a key each.",
    scope=Scope.MESSAGES_SEND,
    for_tenants=True,
    refusals=(*BODY_REFUSALS, 409, 422),
    headers=(KEY,),
    body=SEND,
)

INJECT_MESSAGE: Final = Operation(
    "POST",
    "/v1/inject",
    forward,
    "injectMessage",
    "Hand in a message as MailerQ's JSON has it",
    (Answer(202, Sent, "stored", _HEADERS),),
    Example(
        "/v1/inject",
        {
            "envelope": "bounces@example.com",
            "recipient": "ann@example.net",
            "mime": "From: shop@example.com\r\nTo: ann@example.net\r\nSubject: Your order\r\n\r\nIt is on its way.\r\n",
            "tags": ["orders"],
        },
        202,
    ),
    description="Fields that are not named here become properties of the message. Those that look like an order are "
    "refused: names a letter or its case away from one here, and those of `POST /v1/messages` and of headers.",
    scope=Scope.MESSAGES_SEND,
    for_tenants=True,
    refusals=(*BODY_REFUSALS, 409, 422),
    headers=(KEY,),
    body=INJECT,
)

INJECTING: Final = (SEND_MESSAGE, INJECT_MESSAGE)
