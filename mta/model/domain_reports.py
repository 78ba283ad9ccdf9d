"""Findings about a sender's domain in DNS: whether receivers will believe its mail."""

import msgspec


class IpFinding(msgspec.Struct, frozen=True):
    """A sending IP: its name, and whether it may send mail of the domain."""

    ip: str
    ok: bool  # it has a name that leads back to it
    names: tuple[str, ...]
    spf: str  # the SPF result of the domain for this IP
    text: str


class KeyFinding(msgspec.Struct, frozen=True):
    """A DKIM key that signs mail of the domain, or will."""

    domain: str
    selector: str
    state: str
    ok: bool  # DNS publishes it
    text: str


class Finding(msgspec.Struct, frozen=True):
    """One policy of a domain."""

    ok: bool
    text: str
    records: tuple[str, ...] = ()


class DmarcFinding(msgspec.Struct, frozen=True):
    """The DMARC policy, and the alignment of mail whose From and MAIL FROM have this domain."""

    ok: bool  # there is a policy, and the mail is aligned by SPF or DKIM
    text: str
    records: tuple[str, ...] = ()
    policy: str = ""  # none, quarantine or reject
    spf_aligned: bool = False
    dkim_aligned: bool = False


class DomainReport(msgspec.Struct, frozen=True):
    """All findings about one domain."""

    domain: str
    spf: Finding
    dkim: Finding
    keys: tuple[KeyFinding, ...]
    dmarc: DmarcFinding
    mta_sts: Finding
    ips: tuple[IpFinding, ...]

    @property
    def ok(self) -> bool:
        """MTA-STS is about mail to the domain, so mail from it does without."""
        return self.spf.ok and self.dkim.ok and self.dmarc.ok and all(one.ok for one in self.ips)
