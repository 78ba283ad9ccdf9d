"""The terms of a tenant as requests order them and as answers show them."""

from typing import Annotated, Literal

from msgspec import UNSET, Meta, Struct, UnsetType

from control_api.schemas import account_values, dkim_values, values
from control_api.schemas.answers import Count, Time
from control_api.schemas.reading import Body
from control_api.schemas.rule_answers import Confirmations, PastDot
from mta.model.quotas import Quota
from mta.model.rules import TenantVar


class TenantBody(Struct, kw_only=True, frozen=True):
    """All terms of a tenant: a field that is absent has its default."""

    state: Annotated[
        Literal["active", "suspended"],
        Meta(description="suspended: its mail is refused with 550 5.7.1, and what waits is held"),
    ] = "active"
    weight: Annotated[
        int | None,
        account_values.WEIGHT,
        Meta(description="how many of its deliveries leave a queue for one of a tenant with weight 1; default 1"),
    ] = 1
    quota: Annotated[
        Quota | None,
        account_values.QUOTA,
        Meta(description="most deliveries of its mail that are accepted in an hour and in a day (UTC); default: any"),
    ] = None
    pool: Annotated[
        str | None, values.POOL, Meta(description="the pool of its mail that asks for none; default smtp.default_pool")
    ] = None
    senders: Annotated[
        tuple[str, ...] | None,
        account_values.SENDER_DOMAINS,
        Meta(description="domains, or *.domain, that MAIL FROM and From may have; default: any"),
    ] = None
    dkim_domain: Annotated[
        str | None,
        dkim_values.DOMAIN,
        Meta(description="signs its mail whose From domain has no DKIM key; default dkim.default_domain"),
    ] = None
    vars: Annotated[
        tuple[tuple[str, TenantVar], ...] | None,
        account_values.VARS,
        Meta(description="values that templates of its mail find under `tenant`, such as `{{ tenant.brand }}`"),
    ] = None
    reason: Annotated[str | None, values.LINE, Meta(description="for people; not sent")] = None


TENANT_TERMS = Body("TenantTerms", TenantBody, json_only=True)


class TenantQuota(Struct, kw_only=True, frozen=True):
    """A bound that is null does not exist."""

    per_hour: Count | None
    per_day: Count | None


class QuotaLeft(Struct, kw_only=True, frozen=True):
    """The deliveries that may still be accepted, by each bound; null where there is none."""

    hour: Count | None
    day: Count | None
    hour_ends_at: Time
    day_ends_at: Time


class Tenant(Struct, kw_only=True, frozen=True):
    """The terms of a tenant."""

    name: str
    state: str
    weight: Count
    quota: TenantQuota | None
    pool: str | None
    senders: list[str]
    dkim_domain: str | UnsetType = UNSET
    vars: dict[str, TenantVar] | UnsetType = UNSET
    reason: str | UnsetType = UNSET
    rule: Annotated[str, Meta(description="the id under which the log and the audit name the terms")]
    generation: Count
    created_at: Time | None
    created_by: str
    changed_by: str | UnsetType = UNSET


class TenantInForce(Tenant, kw_only=True, frozen=True):
    """The terms of a tenant, and whether they are in force everywhere."""

    quota_left: QuotaLeft | UnsetType = UNSET
    held: Annotated[Count, Meta(description="deliveries that wait because the tenant is suspended")]
    effective: bool
    effective_at: Time | UnsetType = UNSET
    effective_by: Time | UnsetType = UNSET
    past_dot: list[PastDot]
    quiet_at: Time | None
    workers: Confirmations


class Tenants(Struct, kw_only=True, frozen=True):
    """A page of the list of tenants that have terms, by name; `cursor` is null on the last page."""

    tenants: list[Tenant]
    cursor: str | None
