"""Orders about waiting mail as requests describe them."""

from typing import Annotated, Final

from msgspec import Meta, Struct

from control_api.schemas import values
from control_api.schemas.reading import Body
from mta.ports.queue_work import WorkPlace


class MailSelectors(Struct, kw_only=True, frozen=True):
    """Mail by its queue and its labels; `*` means any."""

    pool: Annotated[str | None, values.ONE_POOL, Meta(description="exactly this pool")] = None
    domain: Annotated[str | None, values.ONE_QUEUE, Meta(description="exactly this domain, in A-labels")] = None
    site: Annotated[str | None, values.ONE_SITE, Meta(description="domains of this site")] = None
    tag: Annotated[str | None, values.ONE_TAG, Meta(description="mail that carries this tag")] = None
    tenant: Annotated[str | None, values.ONE_TENANT, Meta(description="only mail of this tenant")] = None
    everything: Annotated[bool, Meta(description="must be true where no selector is given")] = False


class RetryOrder(MailSelectors, kw_only=True, frozen=True):
    """Mail whose next attempt is due now."""

    cursor: Annotated[
        WorkPlace | None, values.WORK_CURSOR, Meta(description="of the answer before, to go on from there")
    ] = None


class MoveOrder(RetryOrder, kw_only=True, frozen=True):
    """Mail that goes to the queues of another pool."""

    to_pool: Annotated[str, values.POOL, Meta(description="the pool that it goes to; a node must serve it")]


RETRY: Final = Body("RetryOrder", RetryOrder)
MOVE: Final = Body("MoveOrder", MoveOrder)
