"""The notes about the sites of domains; raises StoreAway, StoreError."""

from collections.abc import Iterable, Mapping
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


class SiteNotes(Protocol):
    """One note for each domain, the same for all processes, so that all count its mail in the same place."""

    async def find(self, domains: Iterable[str]) -> dict[str, SiteNote]:
        """The notes in force of those that have one."""
        ...

    async def note(self, found: Mapping[str, str], until: int) -> dict[str, SiteNote]:
        """Note the site of each domain `until` then (Unix ms), unless a note of it is in force. Returns the notes that
        are."""
        ...
