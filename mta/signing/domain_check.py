"""The records of a sender's domain as receivers find them: SPF, DKIM, DMARC, MTA-STS, and the names of our IPs."""

import asyncio
from collections.abc import Callable, Collection, Sequence

from mta.model.dkim_keys import DkimKey, KeyState
from mta.model.domain_reports import DmarcFinding, DomainReport, Finding, IpFinding, KeyFinding
from mta.policy.dkim_record import tags_of, verdict
from mta.policy.spf_record import is_spf
from mta.ports.dkim import KeyOrders
from mta.ports.dns_records import DnsRecords
from mta.signing.spf import SpfCheck


class DomainCheck:
    """Fulfils ports.domains.DomainChecks."""

    def __init__(
        self,
        keys: KeyOrders,
        dns: DnsRecords,
        organisation: Callable[[str], str],
        ips: Collection[str],
        default_domain: str,
    ) -> None:
        """`organisation` gives the organisational domain; `ips` are ours; `default_domain` is dkim.default_domain."""
        self._keys = keys
        self._dns = dns
        self._organisation = organisation
        self._ips = sorted(ips)
        self._default = default_domain

    async def report(self, domain: str) -> DomainReport:
        """Raises StoreError."""
        signing = _signing(await self._keys.keys(), domain, self._default)
        ips, keys, mta_sts, spf = await asyncio.gather(
            asyncio.gather(*(self._ip(ip, domain) for ip in self._ips)),
            asyncio.gather(*(self._key(key) for key in signing)),
            self._mta_sts(domain),
            self._spf_records(domain),
        )
        spf = self._spf(spf, ips)
        dmarc = await self._dmarc(domain, spf.ok, keys)
        return DomainReport(domain, spf, _dkim(keys), tuple(keys), dmarc, mta_sts, tuple(ips))

    async def _spf_records(self, domain: str) -> Finding:
        found = await self._dns.texts(domain)
        records = tuple(text for text in found.records if is_spf(text))
        if found.failure:
            return Finding(False, f"no usable answer about {domain}: {found.failure}")
        if len(records) > 1:
            return Finding(False, f"there are {len(records)} SPF records; receivers take none; leave one", records)
        return Finding(bool(records), "" if records else f"there is no SPF record (TXT, v=spf1) at {domain}", records)

    def _spf(self, found: Finding, ips: Sequence[IpFinding]) -> Finding:
        if not found.ok:
            return found
        if not ips:
            words = "there is a record; the settings name no sending IP, so none was compared"
            return Finding(True, words, found.records)
        refused = [one.ip for one in ips if one.spf != "pass"]
        if refused:
            return Finding(False, f"the record does not let us send from {', '.join(refused)}", found.records)
        return Finding(True, "the record lets us send from each of our IPs", found.records)

    async def _ip(self, ip: str, domain: str) -> IpFinding:
        check = SpfCheck(self._dns, ip)
        spf = await check.result(domain)
        names = await self._dns.names(ip)
        confirmed = [name for name in names.records if ip in (await self._dns.addresses(name)).records]
        if names.failure:
            words = f"no usable answer about the name of {ip}: {names.failure}"
        elif not names.records:
            words = f"{ip} has no name (PTR)"
        elif not confirmed:
            words = f"{ip} is named {', '.join(names.records)}, which does not lead back to it"
        else:
            words = f"{ip} is {confirmed[0]}"
        return IpFinding(ip, bool(confirmed), names.records, spf, "; ".join([words, f"SPF: {spf}", *check.notes]))

    async def _key(self, key: DkimKey) -> KeyFinding:
        found = await self._dns.texts(key.name)
        if found.failure:
            return KeyFinding(key.domain, key.selector, key.state, False, f"no usable answer: {found.failure}")
        publishes, words = verdict(found.records, key)
        return KeyFinding(key.domain, key.selector, key.state, publishes, words)

    async def _dmarc(self, domain: str, spf_ok: bool, keys: Sequence[KeyFinding]) -> DmarcFinding:
        organisation = self._organisation(domain) or domain
        records: tuple[str, ...] = ()
        for name in dict.fromkeys((domain, organisation)):
            found = await self._dns.texts(f"_dmarc.{name}")
            if found.failure:
                return DmarcFinding(False, f"no usable answer about _dmarc.{name}: {found.failure}")
            records = tuple(text for text in found.records if tags_of(text).get("v") == "DMARC1")
            if records:
                break
        if len(records) != 1:
            said = f"there are {len(records)} DMARC records; receivers take none" if records else "there is no policy"
            return DmarcFinding(False, f"{said} (TXT, v=DMARC1) at _dmarc.{domain}", records)
        tags = tags_of(records[0])
        strict = tags.get("adkim", "r") == "s"
        signers = {key.domain for key in keys if key.ok and key.state == KeyState.ACTIVE}
        aligned = domain in signers or (
            not strict and any((self._organisation(signer) or signer) == organisation for signer in signers)
        )
        policy = tags.get("sp", tags.get("p", "")) if name != domain else tags.get("p", "")
        how = [word for word, is_so in (("SPF", spf_ok), ("DKIM", aligned)) if is_so]
        by = " and ".join(how) or "neither SPF nor DKIM"
        words = f"policy {policy or 'none'}; mail from {domain} is aligned by {by}"
        return DmarcFinding(bool(how), words, records, policy, spf_ok, aligned)

    async def _mta_sts(self, domain: str) -> Finding:
        found = await self._dns.texts(f"_mta-sts.{domain}")
        records = tuple(text for text in found.records if tags_of(text).get("v") == "STSv1")
        if found.failure:
            return Finding(False, f"no usable answer about _mta-sts.{domain}: {found.failure}")
        if len(records) == 1 and tags_of(records[0]).get("id"):
            return Finding(True, f"mail to {domain} has a policy (id {tags_of(records[0])['id']})", records)
        if records:
            return Finding(False, "the record is broken: there must be one, with an id", records)
        return Finding(False, f"mail to {domain} has no policy", records)


def _dkim(keys: Sequence[KeyFinding]) -> Finding:
    active = [key for key in keys if key.state == KeyState.ACTIVE]
    if not active:
        return Finding(False, "no active key signs its mail")
    missing = [f"{key.selector}._domainkey.{key.domain}" for key in active if not key.ok]
    if missing:
        return Finding(False, f"receivers do not find {', '.join(missing)}")
    return Finding(True, f"signed as {active[0].domain} with {', '.join(key.selector for key in active)}")


def _signing(keys: Sequence[DkimKey], domain: str, default: str) -> list[DkimKey]:
    """The keys, pending ones too, of the domain that signs its mail."""
    known: dict[str, list[DkimKey]] = {}
    for key in keys:
        if key.state is not KeyState.RETIRED:
            known.setdefault(key.domain, []).append(key)
    names = domain.split(".")
    parents = [".".join(names[at:]) for at in range(len(names) - 1)]
    by_active = [one for one in (*parents, default) if any(key.state is KeyState.ACTIVE for key in known.get(one, ()))]
    chosen = by_active[0] if by_active else next((one for one in parents if one in known), "")
    return known.get(chosen, [])
