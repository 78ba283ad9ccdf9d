"""The notes about the sites of domains; raises StoreAway, StoreError."""

from collections.abc import Collection, Iterable, Mapping
from typing import NamedTuple, Protocol


class SiteNote(NamedTuple):
    """The site that the MX hosts of a domain were found to be."""

    site: str
    until: int  # Unix ms


class SiteLookup(Protocol):
    """The sites of domains, for processes that do not deliver."""

    async def find(self, domains: Iterable[str]) -> dict[str, str]:
        """The site of each domain of which the settings or a worker know it."""
        ...


class SiteArchive(Protocol):
    """The sites of domains in history, as the journal writes them. Blocking calls, on the thread that writes history;
    they raise HistoryAway."""

    def keep_sites(self, sites: Mapping[str, str]) -> None:
        """The site of each of these domains from now on. Durable on return. May be repeated."""
        ...


async def of_site(lookup: SiteLookup, site: str | None, domains: Iterable[str]) -> Collection[str]:
    """Those of the domains that are of this site; None = all."""
    if site is None:
        return frozenset(domains)
    return {domain for domain, found in (await lookup.find(domains)).items() if found == site}


class SiteFinder(Protocol):
    """The sites of domains, for a process that asks about mail which waits."""

    async def find_out(self, domains: Collection[str], seconds: float) -> Collection[str]:
        """Find out the sites of the domains: by settings, by the notes of others, by DNS. Returns those whose site is
        not known after so many seconds, and those of which DNS gives no host."""
        ...


class SiteNotes(Protocol):
    """One note for each domain, the same for all processes, so that all count its mail in the same place."""

    async def find(self, domains: Iterable[str]) -> dict[str, SiteNote]:
        """The notes in force of those that have one."""
        ...

    async def note(self, found: Mapping[str, str], until: int) -> dict[str, SiteNote]:
        """Note the site of each domain `until` then (Unix ms), unless a note of it is in force. Returns the notes that
        are."""
        ...
