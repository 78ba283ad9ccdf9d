"""The SPF result of an IP address for a domain, as a receiver finds it (RFC 7208 4)."""

import ipaddress
from typing import Final

from mta.model.errors import BadValue
from mta.policy.spf_record import Mechanism, is_spf, parse_spf
from mta.ports.dns_records import DnsRecords

_MOST_LOOK_UPS: Final = 10  # RFC 7208 4.6.4
_MOST_HOSTS: Final = 10  # of an MX record

Address = ipaddress.IPv4Address | ipaddress.IPv6Address


class _BrokenRecord(Exception):
    """Receivers find "permerror" or "temperror"."""

    def __init__(self, result: str, reason: str) -> None:
        super().__init__(reason)
        self.result = result


class SpfCheck:
    """One evaluation. Mechanisms with macros do not match, and `notes` says so."""

    def __init__(self, dns: DnsRecords, ip: str) -> None:
        self._dns = dns
        self._ip: Address = ipaddress.ip_address(ip)
        self._look_ups = 0
        self.notes: list[str] = []

    async def result(self, domain: str) -> str:
        """pass, fail, softfail, neutral, none, temperror or permerror; `notes` has the reason of the last two."""
        try:
            return await self._of(domain)
        except _BrokenRecord as broken:
            self.notes.append(str(broken))
            return broken.result

    async def _of(self, domain: str) -> str:
        found = await self._dns.texts(domain)
        if found.failure:
            raise _BrokenRecord("temperror", f"no usable answer about {domain}: {found.failure}")
        records = [text for text in found.records if is_spf(text)]
        if not records:
            return "none"
        if len(records) > 1:
            raise _BrokenRecord("permerror", f"{domain} has {len(records)} SPF records; leave one")
        try:
            record = parse_spf(records[0])
        except BadValue as bad:
            raise _BrokenRecord("permerror", f"the record of {domain}: {bad.reason}") from None
        for mechanism in record.mechanisms:
            if await self._matches(mechanism, domain):
                return mechanism.result
        if not record.redirect:
            return "neutral"
        self._count(record.redirect)
        result = await self._of(record.redirect)
        if result == "none":
            raise _BrokenRecord("permerror", f"redirect={record.redirect} has no SPF record")
        return result

    async def _matches(self, mechanism: Mechanism, domain: str) -> bool:
        name, value = mechanism.name, mechanism.value or domain
        if name == "all":
            return True
        if name in ("ip4", "ip6"):
            return self._is_in(value)
        self._count(f"{name}:{value}")
        if "%" in value:
            self.notes.append(f"{name}:{value} has macros and was not evaluated")
            return False
        if name == "include":
            result = await self._of(value)
            if result == "none":
                raise _BrokenRecord("permerror", f"include:{value} has no SPF record")
            return result == "pass"
        if name == "exists":
            return bool((await self._dns.addresses(value)).records)
        if name == "ptr":
            return await self._has_name_below(value)
        hosts = (await self._dns.hosts(value)).records[:_MOST_HOSTS] if name == "mx" else (value,)
        for host in hosts:
            for address in (await self._dns.addresses(host)).records:
                if self._is_near(address, mechanism):
                    return True
        return False

    def _count(self, term: str) -> None:
        self._look_ups += 1
        if self._look_ups > _MOST_LOOK_UPS:
            raise _BrokenRecord("permerror", f"more than {_MOST_LOOK_UPS} terms need DNS; {term} is one too many")

    def _is_in(self, network: str) -> bool:
        try:
            return self._ip in ipaddress.ip_network(network, strict=False)
        except ValueError:
            raise _BrokenRecord("permerror", f"{network} is no network") from None

    def _is_near(self, address: str, mechanism: Mechanism) -> bool:
        """Whether the address of a host has the same network as ours."""
        prefix = mechanism.prefix4 if ":" not in address else mechanism.prefix6
        return self._is_in(f"{address}/{prefix}")

    async def _has_name_below(self, domain: str) -> bool:
        for name in (await self._dns.names(str(self._ip))).records[:_MOST_HOSTS]:
            if (name == domain or name.endswith(f".{domain}")) and str(self._ip) in (
                await self._dns.addresses(name)
            ).records:
                return True
        return False
