"""A preview as answers show it: the deliveries that a rule would match, before anybody orders it."""

from typing import Annotated, Literal

from msgspec import UNSET, Meta, Struct, UnsetType

from control_api.schemas.answers import Count, Seconds, Time


class PreviewCounts(Struct, kw_only=True, frozen=True):
    """The deliveries that match, by what distinguishes them."""

    domain: Annotated[dict[str, int], Meta(description="the 100 domains with most deliveries")]
    pool: Annotated[dict[str, int], Meta(description="the 100 pools with most deliveries")]
    state: Annotated[dict[str, int], Meta(description="queued (a worker may have claimed it), held by a pause")]
    age: Annotated[dict[str, int], Meta(description="the time since acceptance: <1m, <1h, <1d, >=1d")]


class PreviewProgress(Struct, kw_only=True, frozen=True):
    """How far the walk over the queues is."""

    seen: Count
    share: Annotated[float, Meta(ge=0, le=1)]
    eta: Seconds | None


class SampleDelivery(Struct, kw_only=True, frozen=True):
    """One of the deliveries that match."""

    id: str
    message_id: str
    recipient: str
    sender: str
    status: Literal["ENQUEUED", "HELD"]
    tags: list[str]
    tenant: str | UnsetType = UNSET
    pool: str
    attempts: Count
    accepted_at: Time | None


class Preview(Struct, kw_only=True, frozen=True):
    """The deliveries that a rule would match if it were ordered now. `preview_token` is there once they are counted."""

    id: str
    as_of: Time
    state: Literal["counting", "done"]
    matched: Count
    by: PreviewCounts
    domains: Annotated[Count, Meta(description="how many domains the deliveries go to, of which by.domain names 100")]
    sample: list[SampleDelivery]
    preview_token: str | UnsetType = UNSET
    expires_at: Annotated[Time, Meta(description="until when the preview and its token can be used")]
    progress: PreviewProgress
    warnings: list[str]
