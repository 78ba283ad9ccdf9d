"""One message as answers show it: the headline, and a record of each recipient."""

from typing import Annotated

from msgspec import UNSET, Meta, Struct, UnsetType

from control_api.schemas.answers import Count, Time
from mta.model.outcomes import Stage
from mta.model.replies import Fault
from mta.model.status import Reason, Status


class RemoteReply(Struct, kw_only=True, frozen=True):
    """The reply that the last attempt ended with."""

    code: int | UnsetType = UNSET
    enhanced: str | UnsetType = UNSET
    text: str | UnsetType = UNSET


class ForcedBy(Struct, kw_only=True, frozen=True):
    """The rule that ended a delivery, or that deferred it last."""

    rule: str
    generation: Count | UnsetType = UNSET
    by: str | UnsetType = UNSET
    stage: Stage | UnsetType = UNSET


class Recipient(Struct, kw_only=True, frozen=True):
    """One delivery."""

    id: str
    message_id: str | UnsetType = UNSET
    recipient: str | UnsetType = UNSET
    sender: str | UnsetType = UNSET
    status: Status
    reason: Reason | UnsetType = UNSET
    topic: str | UnsetType = UNSET
    error: RemoteReply | UnsetType = UNSET
    category: str | UnsetType = UNSET
    fault: Fault | UnsetType = UNSET
    forced: ForcedBy | UnsetType = UNSET
    tags: list[str] | UnsetType = UNSET
    tenant: str | UnsetType = UNSET
    pool: str | UnsetType = UNSET
    mta: str | UnsetType = UNSET
    mx: str | UnsetType = UNSET
    attempts: Count | UnsetType = UNSET
    next_attempt: Time | UnsetType = UNSET
    accepted_at: Time | UnsetType = UNSET
    sent_at: Time | UnsetType = UNSET
    delivered_at: Time | UnsetType = UNSET
    cancel_asked_at: Time | UnsetType = UNSET
    effective_by: Time | UnsetType = UNSET
    canceled_at: Time | UnsetType = UNSET
    ended_at: Time | UnsetType = UNSET
    updated_at: Time | UnsetType = UNSET
    metadata: dict[str, str] | UnsetType = UNSET
    opened_at: Annotated[Time | UnsetType, Meta(description="the first open by a reader")] = UNSET
    clicked_at: Annotated[Time | UnsetType, Meta(description="the first click by a reader")] = UNSET
    uncertain: bool | UnsetType = UNSET
    waits: str | UnsetType = UNSET
    seq: Count | UnsetType = UNSET


class NewDelivery(Struct, kw_only=True, frozen=True):
    """A delivery that was accepted."""

    id: str
    message_id: str
    recipient: str


class Resent(Struct, kw_only=True, frozen=True):
    """The message that a resend made."""

    id: str
    recipients: list[NewDelivery]


class Message(Struct, kw_only=True, frozen=True):
    """A message and its recipients."""

    id: str
    status: Status
    accepted_at: Time
    tenant: str | UnsetType = UNSET
    tags: list[str] | UnsetType = UNSET
    sender: str | UnsetType = UNSET
    canceled_at: Time | UnsetType = UNSET
    reason: Reason | UnsetType = UNSET
    error: RemoteReply | UnsetType = UNSET
    effective_by: Time | UnsetType = UNSET
    recipients: list[Recipient]
