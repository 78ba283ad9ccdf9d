"""Explanations: which rule decides about mail and why, and which limits hold it up."""

from typing import Annotated

from msgspec import Meta, Struct, field

from control_api.schemas import values
from control_api.schemas.answers import Count, Time
from control_api.schemas.queue_answers import Queue


class LimitsQuery(Struct, kw_only=True, frozen=True):
    """A queue."""

    pool: Annotated[str, values.POOL, Meta(description="the pool")]
    domain: Annotated[str, values.DOMAIN, Meta(description="the domain, in A-labels")]


class ExplainQuery(LimitsQuery, kw_only=True, frozen=True):
    """Mail by its queue and its labels."""

    tags: Annotated[tuple[str, ...], values.several(values.TAG), Meta(description="a tag of the mail; may repeat")] = (
        field(default=(), name="tag")
    )
    tenant: Annotated[str | None, values.ONE_TENANT, Meta(description="the account that it came in for")] = None
    mta: Annotated[str | None, values.ONE_ADDRESS, Meta(description="the sending IP of an attempt")] = None
    limit: Annotated[int, values.LIMIT, Meta(description="rules in the answer, the nearest ones")] = 50


class Limit(Struct, kw_only=True, frozen=True):
    """One limit, over all nodes. `closed`: no mail may leave."""

    name: str
    value: float
    used: Annotated[
        Count | None, Meta(description="connections that workers hold, or messages of the day; null for a rate")
    ]
    free_at: Annotated[Time | None, Meta(description="when a rate, or the next day of a warm-up, allows more")]
    binds: Annotated[bool, Meta(description="nothing more can begin now")]
    setting: Annotated[str, Meta(description="the setting that it comes from, on the node that answers; or `order`")]
    order: Annotated[str, Meta(description="the limit order that it comes from; empty: none, but a setting")]
    scope: Annotated[
        str,
        Meta(
            description="the mail that shares it: site, domain:<pool>:<domain>, pool:<pool>, ip:<IP>, node:<node>; "
            "queue = it holds for each connection"
        ),
    ]


class Limits(Struct, kw_only=True, frozen=True):
    """The limits of a queue, as the settings of the node that answers have them."""

    as_of: Time
    pool: str
    domain: str
    site: Annotated[str | None, Meta(description="the site of the domain; null: no worker has looked it up yet")]
    limits: list[Limit]
    ceiling: Annotated[str | None, Meta(description="the limit that holds mail up now; null: none does")]
    retries: Annotated[list[float], Meta(description="seconds between attempts, the last repeats")]
    max_attempts: Annotated[Count, Meta(description="0 = no limit")]


class ExplainedRule(Struct, kw_only=True, frozen=True):
    """A rule, and why it does or does not decide about the mail."""

    rule: str
    kind: str
    selectors: str
    effect: str
    matches: bool
    decides: bool
    why: list[str]


class Explanation(Struct, kw_only=True, frozen=True):
    """The rule and the limits that decide about mail of this kind, and the reasons."""

    as_of: Time
    decides: Annotated[str | None, Meta(description="the rule that wins; null: none matches")]
    effect: str
    rules: Annotated[list[ExplainedRule], Meta(description="those that match, then those that nearly do")]
    others: Annotated[Count, Meta(description="rules that are not in the list; none of them matches")]
    site: Annotated[str | None, Meta(description="the site of the domain; null: no worker has looked it up yet")]
    limits: list[Limit]
    ceiling: str | None
    queue: Annotated[Queue | None, Meta(description="its queue; null where nothing waits in it")]
    next_attempt: Annotated[Time | None, Meta(description="when the first delivery of the queue is due")]
