"""Orders about parked mail, and parked mail as answers show it."""

from typing import Annotated, Final

from msgspec import UNSET, Meta, Struct, UnsetType

from control_api.schemas import values
from control_api.schemas.answers import Count, Time
from control_api.schemas.queries import WaitQuery
from control_api.schemas.reading import Body
from mta.model.ids import DeliveryId
from mta.ports.parked import ParkedPlace


class ParkedSelectors(WaitQuery, kw_only=True, frozen=True):
    """Parked mail by id, queue or tenant; `*` means any."""

    id: Annotated[frozenset[DeliveryId] | None, values.DELIVERIES, Meta(description="delivery ids; may repeat")] = None
    pool: Annotated[str | None, values.ONE_POOL, Meta(description="exactly this pool")] = None
    domain: Annotated[str | None, values.ONE_QUEUE, Meta(description="exactly this domain, in A-labels")] = None
    tenant: Annotated[str | None, values.ONE_TENANT, Meta(description="only mail of this tenant")] = None
    everything: Annotated[bool, Meta(description="must be true where nothing else selects")] = False
    cursor: Annotated[
        ParkedPlace | None, values.PARKED_CURSOR, Meta(description="of the answer before, to go on from there")
    ] = None


RELEASE: Final = Body("ReleaseOrder", ParkedSelectors, leaves_out=frozenset({"wait"}))


class Parked(Struct, kw_only=True, frozen=True):
    """One parked delivery; a delivery whose record cannot be read has no more than `id`, its queue and `why`."""

    id: str
    message_id: str
    pool: str
    domain: str
    since: Time
    why: str
    recipient: str | UnsetType = UNSET
    sender: str | UnsetType = UNSET
    tags: list[str] | UnsetType = UNSET
    tenant: str | UnsetType = UNSET
    size: Count | UnsetType = UNSET
    attempts: Count | UnsetType = UNSET
    accepted_at: Time | UnsetType = UNSET
    uncertain: bool


class ParkedList(Struct, kw_only=True, frozen=True):
    """A page of the parked mail; `cursor` is null on the last page."""

    as_of: Time
    parked: list[Parked]
    cursor: str | None


class ParkedReleased(Struct, kw_only=True, frozen=True):
    """The progress of a release."""

    released: Annotated[Count, Meta(description="deliveries that are due in their queues again")]
    unreadable: Annotated[Count, Meta(description="selected deliveries that stay, since they cannot be read")]
    cursor: Annotated[str | None, Meta(description="repeat the order with it to go on; null where nothing is left")]


class ParkedRemoved(Struct, kw_only=True, frozen=True):
    """The progress of a removal."""

    removed: Annotated[Count, Meta(description="deliveries that ended as canceled and are lost")]
    uncertain: Annotated[Count, Meta(description="of these, those that may have reached their recipients before")]
    lost: Annotated[list[Parked], Meta(description="the first 100 of them")]
    cursor: Annotated[str | None, Meta(description="repeat the order with it to go on; null where nothing is left")]
