import asyncio

from mta.model.errors import StoreAway
from mta.model.settings import DeliverySettings, SiteSettings
from mta.policy.routes import Routes
from mta.policy.sites import SiteTable
from mta.ports.delivery import MxAnswer
from mta.ports.sites import SiteNote
from mta.scheduling.known_sites import KnownSites
from tests.support.scheduling import until

BIG = {"big": SiteSettings(mx=("*.big.test",))}


class Resolver:
    def __init__(self):
        self.asked = []
        self.stalled = set()

    async def mx(self, domain):
        self.asked.append(domain)
        if domain in self.stalled:
            await asyncio.sleep(3600)
        if domain == "gone.test":
            return MxAnswer((), "it does not exist")
        return MxAnswer((f"mx.{domain}",) if domain.startswith("own") else ("mx1.big.test",))


class Notes:
    def __init__(self):
        self.noted = {}
        self.away = False

    async def find(self, domains):
        if self.away:
            raise StoreAway("away")
        return {domain: self.noted[domain] for domain in domains if domain in self.noted}

    async def note(self, found, until):
        if self.away:
            raise StoreAway("away")
        return {domain: self.noted.setdefault(domain, SiteNote(site, until)) for domain, site in found.items()}


def sites(now=lambda: 1000):
    resolver, notes = Resolver(), Notes()
    table = SiteTable(BIG, Routes(DeliverySettings(), {}), lambda host: ".".join(host.split(".")[-2:]))
    return KnownSites(table, resolver, notes, clock=now), resolver, notes


async def test_a_domain_is_found_out_once_noted_and_told():
    known, resolver, notes = sites()
    told = []
    known.on_known(told.extend)
    assert (known.of("a.test"), known.of("a.test"), known.of("own.test")) == (None, None, None)
    await until(lambda: len(told) == 2)
    assert (known.of("a.test"), known.of("own.test")) == ("big", "own.test")
    assert sorted(resolver.asked) == ["a.test", "own.test"]
    assert notes.noted["a.test"].site == "big"


async def test_a_note_of_another_process_spares_the_question_and_wins():
    known, resolver, notes = sites()
    notes.noted["a.test"] = SiteNote("other", 5000)
    known.of("a.test")
    await until(lambda: known.of("a.test") == "other")
    assert resolver.asked == []


async def test_the_sites_of_waiting_mail_are_found_out_and_those_without_a_host_or_an_answer_are_named():
    known, resolver, notes = sites()
    notes.noted["noted.test"] = SiteNote("other", 5000)
    resolver.stalled.add("slow.test")
    asked = {"a.test", "own.test", "noted.test", "gone.test"}
    assert await known.find_out(asked, 20.0) == {"gone.test"}
    assert [known.of(domain) for domain in ("a.test", "own.test", "noted.test")] == ["big", "own.test", "other"]
    assert await known.find_out({"a.test", "slow.test"}, 0.01) == {"slow.test"}
    assert await known.find_out({"slow.test"}, 0.0) == {"slow.test"}
    await known.close()


async def test_a_site_that_is_over_is_used_until_it_is_known_anew():
    now = [1000]
    known, resolver, notes = sites(lambda: now[0])
    notes.noted["a.test"] = SiteNote("other", 5000)
    known.of("a.test")
    await until(lambda: known.of("a.test") == "other")
    now[0] = 5000
    notes.noted.clear()
    assert known.of("a.test") == "other"
    await until(lambda: known.of("a.test") == "big")
    assert resolver.asked == ["a.test"]


async def test_names_without_an_answer_do_not_hold_up_the_others():
    known, resolver, _ = sites()
    resolver.stalled = {f"slow{n}.test" for n in range(120)}
    for domain in (*sorted(resolver.stalled), "a.test"):
        known.of(domain)
    await until(lambda: known.of("a.test") == "big")
    await known.close()


async def test_without_dns_or_the_store_a_domain_is_delivered_all_the_same():
    known, _, notes = sites()
    notes.away = True
    known.of("a.test")
    known.of("gone.test")
    await until(lambda: known.of("a.test") == "big")
    await until(lambda: known.of("gone.test") == "gone.test")
