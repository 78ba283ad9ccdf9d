"""The query strings of the API, one struct for each set of parameters; `*` as a whole value means absent."""

from typing import Annotated, Literal

from msgspec import Meta, Struct, field

from control_api.schemas import account_values, text_values, values
from mta.model.events import EventType
from mta.ports.parked import ParkedPlace
from mta.ports.queue_work import PagePlace


class NoQuery(Struct, frozen=True):
    """No parameter."""


class WaitQuery(Struct, kw_only=True, frozen=True):
    """How long to wait for the effect of an order."""

    wait: Annotated[
        float | None,
        values.WAIT,
        Meta(description='how long to wait, such as "2s", at most 10 minutes; default api.wait'),
    ] = None


class OrderQuery(WaitQuery, kw_only=True, frozen=True):
    """How long to wait, and for what."""

    until: Annotated[
        Literal["effective", "quiet", "swept"], Meta(description="the event that the answer waits for")
    ] = "effective"


class StatementQuery(Struct, kw_only=True, frozen=True):
    """The form of a statement."""

    format: Annotated[
        Literal["json", "text", "html"],
        Meta(description="json; or text, html: a page to hand on, the account in sentences, then the figures"),
    ] = "json"


class RulesQuery(Struct, kw_only=True, frozen=True):
    """A selection of rules, and the size of a page."""

    tag: Annotated[str | None, values.TAG, Meta(description="exactly this tag")] = None
    pool: Annotated[str | None, values.POOL, Meta(description="exactly this pool")] = None
    domain: Annotated[
        str | None, values.DOMAINS, Meta(description="exactly this domain, in A-labels, also in a list")
    ] = None
    site: Annotated[str | None, values.SITE, Meta(description="exactly this site")] = None
    enabled: Annotated[
        Literal["true", "false", "all"], Meta(description="false: those disabled or expired instead")
    ] = "true"
    limit: Annotated[int | None, values.LIMIT, Meta(description="items in one answer")] = None
    cursor: Annotated[
        tuple[str, ...] | None, values.RULE_CURSOR, Meta(description="opaque, from the answer before")
    ] = None


class PageQuery(Struct, kw_only=True, frozen=True):
    """The size of a page."""

    limit: Annotated[int, values.LIMIT, Meta(description="items in one answer")] = 1000
    cursor: Annotated[
        tuple[str, ...] | None, values.RULE_CURSOR, Meta(description="opaque, from the answer before")
    ] = None


class TenantsQuery(Struct, kw_only=True, frozen=True):
    """The size of a page."""

    limit: Annotated[int, values.LIMIT, Meta(description="items in one answer")] = 1000
    cursor: Annotated[str | None, account_values.TENANT_NAME, Meta(description="opaque, from the answer before")] = None


class QueuesQuery(Struct, kw_only=True, frozen=True):
    """A selection of queues, and the size of a page."""

    pool: Annotated[str | None, values.POOL, Meta(description="exactly this pool")] = None
    domain: Annotated[str | None, values.DOMAIN, Meta(description="exactly this domain, in A-labels")] = None
    site: Annotated[
        str | None, values.SITE, Meta(description="domains of this site; a page may be shorter than its limit")
    ] = None
    tag: Annotated[
        str | None, values.TAG, Meta(description="count mail with this tag alone; reads the mail of each queue")
    ] = None
    tenant: Annotated[str | None, values.ONE_TENANT, Meta(description="count mail of this tenant alone")] = None
    limit: Annotated[int, values.LIMIT, Meta(description="items in one answer")] = 100
    cursor: Annotated[
        tuple[str, ...] | None, values.QUEUE_CURSOR, Meta(description="opaque, from the answer before")
    ] = None


class WaitingQuery(Struct, kw_only=True, frozen=True):
    """A selection of waiting deliveries, and the size of a page."""

    pool: Annotated[str | None, values.POOL, Meta(description="exactly this pool")] = None
    domain: Annotated[str | None, values.DOMAIN, Meta(description="exactly this domain, in A-labels")] = None
    site: Annotated[str | None, values.SITE, Meta(description="domains of this site")] = None
    tag: Annotated[str | None, values.TAG, Meta(description="exactly this tag")] = None
    tenant: Annotated[str | None, values.ONE_TENANT, Meta(description="only mail of this tenant")] = None
    limit: Annotated[int, values.LIMIT, Meta(description="items in one answer, at most 1,000")] = 100
    cursor: Annotated[PagePlace | None, values.WAITING_CURSOR, Meta(description="opaque, from the answer before")] = (
        None
    )


class ParkedQuery(Struct, kw_only=True, frozen=True):
    """A selection of parked deliveries, and the size of a page."""

    pool: Annotated[str | None, values.POOL, Meta(description="exactly this pool")] = None
    domain: Annotated[str | None, values.DOMAIN, Meta(description="exactly this domain, in A-labels")] = None
    tenant: Annotated[str | None, values.ONE_TENANT, Meta(description="only mail of this tenant")] = None
    limit: Annotated[int, values.LIMIT, Meta(description="items in one answer, at most 1,000")] = 100
    cursor: Annotated[ParkedPlace | None, values.PARKED_CURSOR, Meta(description="opaque, from the answer before")] = (
        None
    )


class TagQuery(Struct, kw_only=True, frozen=True):
    """A tag that a path cannot carry."""

    tag: Annotated[str, values.TAG, Meta(description="the tag")]
    tenant: Annotated[str | None, values.ONE_TENANT, Meta(description="only mail of this tenant")] = None


class EventsQuery(Struct, kw_only=True, frozen=True):
    """A selection of events, their number, and the time that the stream lasts."""

    tag: Annotated[str | None, values.TAG, Meta(description="exactly this tag")] = None
    pool: Annotated[str | None, values.POOL, Meta(description="exactly this pool")] = None
    domain: Annotated[str | None, values.DOMAIN, Meta(description="exactly this domain, in A-labels")] = None
    tenant: Annotated[str | None, account_values.TENANT_NAME, Meta(description="only events of this tenant")] = None
    recipient: Annotated[
        str | None, text_values.RECIPIENT, Meta(description="exactly this recipient, without case")
    ] = None
    rule: Annotated[
        str | None, text_values.RULE_ID, Meta(description="events of this rule, and of mail that it decided about")
    ] = None
    types: Annotated[
        tuple[EventType, ...],
        values.several(values.choice(EventType, "is not a type of event; there are")),
        Meta(description="this type of event; may repeat, and one of them suffices"),
    ] = field(default=(), name="type")
    limit: Annotated[int | None, values.LIMIT, Meta(description="items in one answer")] = None
    lasting: Annotated[
        float | None,
        values.STREAM_TIME,
        Meta(description='how long, such as "10s"; default: until the watcher goes'),
    ] = field(default=None, name="for")
