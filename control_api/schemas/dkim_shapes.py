"""DKIM keys as requests order them and as answers show them."""

from typing import Annotated, Literal

from msgspec import UNSET, Meta, Struct, UnsetType

from control_api.schemas import account_values, dkim_values, values
from control_api.schemas.answers import Count, Time
from control_api.schemas.reading import Body


class NewKeyBody(Struct, kw_only=True, frozen=True):
    """A new key."""

    domain: Annotated[str, dkim_values.DOMAIN, Meta(description="the domain that signs (`d=`)")]
    selector: Annotated[
        str, dkim_values.SELECTOR, Meta(description="its name in DNS is `<selector>._domainkey.<domain>`")
    ]
    algorithm: Annotated[Literal["rsa", "ed25519"], Meta(description="of the key; rsa has 2048 bits")] = "rsa"
    private_key: Annotated[
        str | None,
        dkim_values.PRIVATE_KEY,
        Meta(description="PEM without a password; default: a new one. No answer shows it"),
    ] = None
    tenant: Annotated[
        str | None, account_values.TENANT_NAME, Meta(description="it signs the mail of this tenant only; default: any")
    ] = None
    state: Annotated[
        Literal["pending", "active"],
        Meta(description="pending: it signs once DNS shows its record; active: it signs from now on"),
    ] = "pending"


class RotationBody(Struct, kw_only=True, frozen=True):
    """A key that takes the place of another one."""

    selector: Annotated[
        str | None, dkim_values.SELECTOR, Meta(description="of the new key; default: one made of today's date")
    ] = None
    algorithm: Annotated[
        Literal["rsa", "ed25519"] | None, Meta(description="of the new key; default: that of the old one")
    ] = None
    private_key: Annotated[
        str | None, dkim_values.PRIVATE_KEY, Meta(description="PEM without a password; default: a new one")
    ] = None
    state: Annotated[
        Literal["pending", "active"],
        Meta(description="pending: the old key signs until DNS shows the record of the new one"),
    ] = "pending"


NEW_KEY = Body("NewDkimKey", NewKeyBody)
ROTATION = Body("DkimRotation", RotationBody)


class DnsRecord(Struct, kw_only=True, frozen=True):
    """A record to be published in DNS."""

    name: str
    type: str
    value: Annotated[str, Meta(description="one string, unquoted and unsplit")]


class DnsLook(Struct, kw_only=True, frozen=True):
    """The last look at a record in DNS."""

    shows: Annotated[bool, Meta(description="whether DNS publishes the key")]
    text: Annotated[str, Meta(description="for people")]
    at: Time | None


class DkimKey(Struct, kw_only=True, frozen=True):
    """A DKIM key without its private part."""

    id: str
    domain: str
    selector: str
    algorithm: str
    bits: Count
    state: Annotated[
        str, Meta(description="pending, active, or retired: another key took its place, its record must stay a week")
    ]
    tenant: str | UnsetType = UNSET
    record: DnsRecord
    dns: DnsLook | UnsetType = UNSET
    replaces: Annotated[str | UnsetType, Meta(description="id of the key that retires once this one is active")] = UNSET
    created_at: Time | None
    created_by: str
    active_at: Time | UnsetType = UNSET
    retired_at: Time | UnsetType = UNSET
    keep_until: Annotated[
        Time | UnsetType, Meta(description="until when the record of a retired key must stay in DNS")
    ] = UNSET
    warnings: list[str] | UnsetType = UNSET


class DkimKeys(Struct, kw_only=True, frozen=True):
    """A page of the list of keys, by domain and selector; `cursor` is null on the last page."""

    keys: list[DkimKey]
    cursor: str | None


class DkimKeysQuery(Struct, kw_only=True, frozen=True):
    """A selection of keys, and the size of a page."""

    domain: Annotated[str | None, dkim_values.DOMAIN, Meta(description="exactly this domain")] = None
    tenant: Annotated[str | None, account_values.TENANT_NAME, Meta(description="keys of this tenant")] = None
    limit: Annotated[int, values.LIMIT, Meta(description="items in one answer")] = 100
    cursor: Annotated[
        tuple[str, ...] | None, dkim_values.KEY_CURSOR, Meta(description="opaque, from the answer before")
    ] = None
