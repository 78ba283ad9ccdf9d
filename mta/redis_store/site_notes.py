"""The notes about the sites of domains."""

from collections.abc import Callable, Iterable, Mapping
from typing import Final

from mta.policy.sites import SiteTable
from mta.ports.sites import SiteNote, SiteNotes
from mta.redis_store import keys
from mta.redis_store.link import Link
from mta.timing.clock import wall_ms

_AT_ONCE: Final = 50  # domains in one step
_MOST_READ: Final = 1000  # domains in one question


class StoredSiteNotes:
    """Fulfils ports.sites.SiteNotes."""

    def __init__(self, link: Link, clock: Callable[[], int] = wall_ms) -> None:
        """`clock` gives Unix milliseconds."""
        self._link = link
        self._clock = clock

    async def find(self, domains: Iterable[str]) -> dict[str, SiteNote]:
        asked = list(domains)
        if not asked:
            return {}
        now = self._clock()
        notes = await self._link.command("HMGET", keys.META_SITES, *asked)
        found = ((domain, _read(note)) for domain, note in zip(asked, notes, strict=True) if note is not None)
        return {domain: note for domain, note in found if note.until > now}

    async def note(self, found: Mapping[str, str], until: int) -> dict[str, SiteNote]:
        in_force: dict[str, SiteNote] = {}
        domains = list(found)
        for at in range(0, len(domains), _AT_ONCE):
            some = domains[at : at + _AT_ONCE]
            args: list[bytes | str | int] = [self._clock(), until]
            for domain in some:
                args += (domain, found[domain])
            notes = await self._link.call(b"sites_note", [keys.META_SITES], args)
            in_force.update(zip(some, map(_read, notes), strict=True))
        return in_force


class NotedSites:
    """Fulfils ports.sites.SiteLookup: by the settings, else by the notes."""

    def __init__(self, table: SiteTable, notes: SiteNotes) -> None:
        self._table = table
        self._notes = notes

    async def find(self, domains: Iterable[str]) -> dict[str, str]:
        asked = list(dict.fromkeys(domains))
        decided = {domain: site for domain in asked if (site := self._table.of_domain(domain)) is not None}
        others = [domain for domain in asked if domain not in decided]
        for at in range(0, len(others), _MOST_READ):
            found = await self._notes.find(others[at : at + _MOST_READ])
            decided |= {domain: note.site for domain, note in found.items()}
        return decided


def _read(note: bytes) -> SiteNote:
    until, _, site = note.decode().partition(" ")
    return SiteNote(site, int(until))
