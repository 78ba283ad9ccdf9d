import asyncio
from concurrent.futures import Future

from mta.journal.site_book import SiteBook
from mta.model.errors import StoreAway


class Place:
    """The notes of the store, and history."""

    def __init__(self):
        self.notes, self.asked, self.kept, self.seen, self.now = {}, [], [], [], 1000.0
        self.away = False
        self.book = SiteBook(self, self, self.take, self.on_thread, clock=lambda: self.now)

    async def find(self, domains):
        if self.away:
            raise StoreAway("away")
        self.asked.append(list(domains))
        return {domain: self.notes[domain] for domain in domains if domain in self.notes}

    def keep_sites(self, sites):
        self.kept.append(dict(sites))

    def take(self):
        taken, self.seen = self.seen, []
        return taken

    def on_thread(self, call):
        done = Future()
        done.set_result(call())
        return done

    async def look(self, *domains):
        self.seen += domains
        self.book.look()
        for _ in range(5):
            await asyncio.sleep(0)
        return self.kept[-1] if self.kept else {}


async def test_a_site_is_written_once_and_again_when_it_changes():
    place = Place()
    place.notes = {"a.test": "big"}
    assert await place.look("a.test", "b.test") == {"a.test": "big"}
    await place.look("a.test")
    assert place.asked == [["a.test", "b.test"]], "the site of a.test is known"
    place.now += 1801
    await place.look("a.test")
    assert len(place.kept) == 1, "it is the same"
    place.notes = {"a.test": "other"}
    place.now += 1801
    assert await place.look("a.test") == {"a.test": "other"}


async def test_a_domain_whose_site_nobody_knows_is_asked_about_with_its_next_mail():
    place = Place()
    await place.look("a.test")
    place.notes = {"a.test": "big"}
    await place.look()
    assert not place.kept
    assert await place.look("a.test") == {"a.test": "big"}


async def test_a_site_that_stays_the_same_is_renewed_each_day_for_the_retention():
    place = Place()
    place.notes = {"a.test": "big"}
    await place.look("a.test")
    place.now += 86_401
    await place.look("a.test")
    assert place.kept == [{"a.test": "big"}] * 2


async def test_domains_wait_while_the_store_is_away():
    place = Place()
    place.away, place.notes = True, {"a.test": "big"}
    await place.look("a.test")
    assert not place.kept
    place.away = False
    assert await place.look() == {"a.test": "big"}
