"""SPF as receivers evaluate it, and the findings about a sender's domain."""

import pytest

from mta.model.dkim_keys import KeyState
from mta.signing.spf import SpfCheck
from tests.support.dkim_keys import KeysInMemory, RecordsInMemory, domain_check, entry_of

IP = "192.0.2.1"


def dns(**texts: str) -> RecordsInMemory:
    """TXT records by name; `_` stands for a dot."""
    found = RecordsInMemory()
    for name, text in texts.items():
        found.records[name.replace("_", "."), "TXT"] = (text,)
    return found


@pytest.mark.parametrize(
    ("record", "result"),
    [
        ("v=spf1 ip4:192.0.2.0/24 -all", "pass"),
        ("v=spf1 ip4:192.0.2.1 -all", "pass"),
        ("v=spf1 ip6:2001:db8::/32 ip4:198.51.100.0/24 -all", "fail"),
        ("v=spf1 ~all", "softfail"),
        ("v=spf1 ?ip4:192.0.2.1 -all", "neutral"),
        ("v=spf1", "neutral"),
        ("v=spf1 a -all", "pass"),
        ("v=spf1 a:other.test/24 -all", "pass"),
        ("v=spf1 a:other.test -all", "fail"),
        ("v=spf1 mx -all", "pass"),
        ("v=spf1 exists:other.test -all", "pass"),
        ("v=spf1 ptr:a.test -all", "pass"),
        ("v=spf1 include:inner.test -all", "pass"),
        ("v=spf1 include:nothing.test -all", "permerror"),
        ("v=spf1 redirect=inner.test", "pass"),
        ("v=spf1 redirect=nothing.test", "permerror"),
        ("v=spf1 ip4:192.0.2.999 -all", "permerror"),
        ("v=spf1 ipv4:192.0.2.1 -all", "permerror"),
        ("v=spf1 include: -all", "permerror"),
        ("v=spf1 a/33 -all", "permerror"),
        ("v=spf1 include:a.test -all", "permerror"),
        ("v=spf1 exists:%{i}.test ip4:192.0.2.1 -all", "pass"),
        ("v=spf1 IP4:192.0.2.1 -ALL", "pass"),
        ("v=spf10 ip4:192.0.2.1", "none"),
    ],
)
async def test_the_result_of_a_record(record: str, result: str) -> None:
    there = dns(a_test=record, inner_test="v=spf1 ip4:192.0.2.0/28 -all")
    there.records["a.test", "A"] = (IP,)
    there.records["other.test", "A"] = ("192.0.2.77",)
    there.records["a.test", "MX"] = ("mx.a.test",)
    there.records["mx.a.test", "A"] = ("198.51.100.1", IP)
    there.records[IP, "PTR"] = ("mx.a.test",)
    check = SpfCheck(there, IP)
    assert await check.result("a.test") == result
    assert bool(check.notes) is (result == "permerror" or "%" in record)


async def test_ten_look_ups_are_the_most() -> None:
    names = " ".join(f"a:h{number}.test" for number in range(10))
    there = dns(a_test=f"v=spf1 {names} ip4:{IP} -all", b_test=f"v=spf1 {names} a:h10.test ip4:{IP} -all")
    assert await SpfCheck(there, IP).result("a.test") == "pass"
    assert await SpfCheck(there, IP).result("b.test") == "permerror"


async def test_a_failure_of_dns_is_told() -> None:
    there = dns()
    there.failed.add("a.test")
    assert await SpfCheck(there, IP).result("a.test") == "temperror"
    report = await domain_check(dns=there, ips=(IP,)).report("a.test")
    assert not report.ok
    assert "no usable answer" in report.spf.text


async def test_a_domain_without_records() -> None:
    report = await domain_check(ips=(IP,)).report("a.test")
    assert not any((report.ok, report.spf.ok, report.dkim.ok, report.dmarc.ok, report.mta_sts.ok, report.ips[0].ok))


async def test_mail_is_aligned_by_the_key_of_a_parent_unless_dmarc_is_strict() -> None:
    entry = entry_of("a.test")
    there = dns(_dmarc="")
    there.records[entry.key.name, "TXT"] = (entry.key.record,)
    for adkim, aligned in (("r", True), ("s", False)):
        there.records["_dmarc.a.test", "TXT"] = (f"v=DMARC1; p=reject; sp=quarantine; adkim={adkim}",)
        report = await domain_check(KeysInMemory(entry), there).report("news.a.test")
        assert (report.dkim.ok, report.dmarc.dkim_aligned, report.dmarc.policy) == (True, aligned, "quarantine")
        assert report.dmarc.ok is aligned


async def test_the_default_domains_key_signs_and_does_not_align() -> None:
    entry, pending = entry_of("us.test"), entry_of("a.test", state=KeyState.PENDING)
    there = dns()
    there.records[entry.key.name, "TXT"] = (entry.key.record,)
    there.records["_dmarc.a.test", "TXT"] = ("v=DMARC1; p=none",)
    report = await domain_check(KeysInMemory(entry, pending), there, default="us.test").report("a.test")
    assert (report.dkim.text, report.dmarc.dkim_aligned) == ("signed as us.test with s1", False)
    report = await domain_check(KeysInMemory(pending), there).report("a.test")
    assert [(key.state, key.ok) for key in report.keys] == [("pending", False)]


async def test_two_records_are_as_bad_as_none() -> None:
    there = dns()
    there.records["a.test", "TXT"] = ("v=spf1 -all", "v=spf1 +all")
    there.records["_dmarc.a.test", "TXT"] = ("v=DMARC1; p=none", "v=DMARC1; p=reject")
    report = await domain_check(dns=there).report("a.test")
    assert (report.spf.ok, report.dmarc.ok) == (False, False)
    assert "leave one" in report.spf.text


async def test_a_name_that_does_not_lead_back_is_told() -> None:
    there = dns()
    there.records[IP, "PTR"] = ("mail.a.test",)
    report = await domain_check(dns=there, ips=(IP,)).report("a.test")
    assert (report.ips[0].ok, "does not lead back" in report.ips[0].text) == (False, True)
    there.records["mail.a.test", "A"] = (IP,)
    assert (await domain_check(dns=there, ips=(IP,)).report("a.test")).ips[0].ok
