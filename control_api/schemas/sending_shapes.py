"""Messages that are handed in over HTTP as requests describe them, and the answers."""

from typing import Annotated

from msgspec import UNSET, Meta, Struct, UnsetType, field

from control_api.schemas import account_values, attachment_values, message_values, sending_values, values
from control_api.schemas.message_answers import RemoteReply
from control_api.schemas.reading import Body
from control_api.schemas.sending_values import Addressee, TemplateName, Track
from control_api.schemas.suppression_shapes import TOPIC
from mta.content.compose import Attachment, Mailbox
from mta.content.template_data import Assignments
from mta.model.status import Status


class SendBody(Struct, kw_only=True, frozen=True):
    """A message, and the recipients that get it."""

    sender: Annotated[
        Mailbox | None,
        sending_values.ADDRESS,
        Meta(
            description="author: ann@example.com, Ann <ann@example.com>, or an object with email and name; its address "
            "is the envelope sender"
        ),
    ] = field(name="from", default=None)
    envelope_from: Annotated[
        str | None,
        sending_values.ENVELOPE,
        Meta(description='envelope sender, where it is another address than that of from; "" = the null sender'),
    ] = None
    to: Annotated[
        list[Addressee] | None,
        sending_values.ADDRESSEES,
        Meta(description="recipients: addresses, or objects with email, name, data and, with separate, metadata"),
    ] = None
    cc: Annotated[list[Addressee] | None, sending_values.ADDRESSEES, Meta(description="further recipients")] = None
    bcc: Annotated[
        list[Addressee] | None, sending_values.ADDRESSEES, Meta(description="recipients that no header names")
    ] = None
    reply_to: Annotated[
        tuple[Mailbox, ...] | None, sending_values.ADDRESSES, Meta(description="addresses for answers")
    ] = None
    subject: Annotated[str | None, sending_values.SUBJECT, Meta(description="one line")] = None
    text: Annotated[str | None, sending_values.TEXT, Meta(description="the message as plain text")] = None
    html: Annotated[str | None, sending_values.TEXT, Meta(description="the message as HTML")] = None
    headers: Annotated[
        tuple[tuple[str, str], ...] | None,
        sending_values.HEADERS,
        Meta(description="further header fields by name; a list of texts repeats the field"),
    ] = None
    attachments: Annotated[
        tuple[Attachment, ...] | None,
        attachment_values.ATTACHMENTS,
        Meta(description="files: content in base64; one with a content_id can be shown inside html"),
    ] = None
    template: Annotated[
        TemplateName | None,
        sending_values.TEMPLATE,
        Meta(
            description="a published template instead of subject, text and html: its name, or an object with name and "
            "version; default: the version that is published now"
        ),
    ] = None
    data: Annotated[
        Assignments | None,
        sending_values.DATA,
        Meta(
            description="values by name: subject, text and html are templates then. A recipient of to may have data of "
            "its own, which come before these, and gets a message of its own; a name without a value is refused"
        ),
    ] = None
    mime: Annotated[
        str | None,
        sending_values.TEXT,
        Meta(description="the whole message, header and body, instead of subject, text, html, headers, attachments"),
    ] = None
    separate: Annotated[
        bool,
        Meta(
            description="true: each recipient of to gets a message of its own, whose To names nobody else; an address "
            "that is there twice gets two. Without it each address gets one"
        ),
    ] = False
    tags: Annotated[tuple[str, ...] | None, sending_values.TAGS, Meta(description="labels; at most 64")] = None
    pool: Annotated[str | None, values.POOL, Meta(description="IP pool, or @<ip>; default smtp.default_pool")] = None
    tenant: Annotated[
        str | None, account_values.TENANT_NAME, Meta(description="the account on whose behalf it is sent")
    ] = None
    priority: Annotated[int | None, sending_values.PRIORITY, Meta(description="class: 0 (bulk, default) to 2")] = None
    delay: Annotated[
        float | None, values.DURATION, Meta(description="how long it waits before it is sent; at most 10 years")
    ] = None
    send_at: Annotated[
        str | None,
        values.MOMENT,
        Meta(description="when it is sent: RFC 3339, or +2h from now, within 10 years; instead of delay"),
    ] = None
    window: Annotated[
        str | None,
        message_values.SCHEDULE,
        Meta(
            description='the times of the week at which it may be sent, such as "Mo-Fr 09:00-17:00"; outside it waits '
            "until the next of them begins, and so does a retry"
        ),
    ] = None
    timezone: Annotated[
        str | None, message_values.TIMEZONE, Meta(description='of the window, such as "Europe/Berlin"; default UTC')
    ] = None
    max_age: Annotated[
        float | None,
        values.DURATION,
        Meta(
            description="how long delivery is tried, from the time at which it is to be sent; default delivery.max_age"
        ),
    ] = None
    simulate: Annotated[
        bool,
        Meta(description="true: a rehearsal; it goes through the queues, and the simulation takes it at their end"),
    ] = False
    track: Annotated[
        Track | None,
        sending_values.TRACK,
        Meta(
            description="true: opens are heard of by a pixel in html, and clicks by links that lead over tracking.url; "
            "or an object with opens and clicks. Several recipients need separate or data"
        ),
    ] = None
    topic: Annotated[
        str | None, TOPIC, Meta(description="subject of the mail, such as news: suppressions may be for a topic alone")
    ] = None
    unsubscribe: Annotated[
        bool,
        Meta(
            description="true: the message has List-Unsubscribe for one click (RFC 8058) over tracking.url, which "
            "suppresses the recipient for tenant and topic. It needs an active DKIM key that signs the message. "
            "Several recipients need separate or data"
        ),
    ] = False
    metadata: Annotated[
        dict[str, str] | None,
        sending_values.METADATA,
        Meta(description="properties that records, log and webhooks show; names are in lower case"),
    ] = None


SEND = Body("NewMessage", SendBody, json_only=True)


class SentRecipient(Struct, kw_only=True, frozen=True):
    """A recipient of a call. One that was not accepted has `error`."""

    id: Annotated[str | UnsetType, Meta(description="of the delivery")] = UNSET
    message_id: str | UnsetType = UNSET
    recipient: str
    status: Annotated[Status | UnsetType, Meta(description="of a delivery that ended at its acceptance")] = UNSET
    error: RemoteReply | UnsetType = UNSET


class Sent(Struct, kw_only=True, frozen=True):
    """The first message that was accepted, and all recipients in the order of to, cc, bcc."""

    id: str
    recipients: list[SentRecipient]
