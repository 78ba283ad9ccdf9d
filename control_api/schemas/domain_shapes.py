"""Findings about a sender's domain as answers show them."""

from typing import Annotated

from msgspec import Meta, Struct

from control_api.schemas.answers import Time

_OK = Meta(description="whether receivers find nothing wrong")
_TEXT = Meta(description="for people")


class Policy(Struct, kw_only=True, frozen=True):
    """One policy of a domain in DNS."""

    ok: Annotated[bool, _OK]
    text: Annotated[str, _TEXT]
    records: list[str]


class DkimPolicy(Struct, kw_only=True, frozen=True):
    """A DKIM key that signs mail of the domain, or will."""

    domain: str
    selector: str
    state: str
    ok: Annotated[bool, Meta(description="whether DNS publishes it")]
    text: Annotated[str, _TEXT]


class DmarcPolicy(Policy, kw_only=True, frozen=True):
    """The DMARC policy, and the alignment of mail whose From and MAIL FROM have the domain."""

    policy: Annotated[str, Meta(description="none, quarantine or reject; empty: there is none")]
    spf_aligned: bool
    dkim_aligned: bool


class SendingIp(Struct, kw_only=True, frozen=True):
    """An IP that the pools of this node send from."""

    ip: str
    ok: Annotated[bool, Meta(description="whether it has a name (PTR) that leads back to it")]
    names: list[str]
    spf: Annotated[str, Meta(description="the SPF result of the domain for this IP")]
    text: Annotated[str, _TEXT]


class DomainChecked(Struct, kw_only=True, frozen=True):
    """The records of a domain in DNS, as receivers of its mail find them."""

    domain: str
    as_of: Time | None
    ok: Annotated[bool, Meta(description="SPF, DKIM, DMARC and the names of our IPs are in order")]
    spf: Policy
    dkim: Policy
    keys: list[DkimPolicy]
    dmarc: DmarcPolicy
    mta_sts: Annotated[Policy, Meta(description="about mail to the domain; it does not count in `ok`")]
    ips: list[SendingIp]
