"""Domains of senders, as receivers of their mail see them in DNS."""

from typing import Protocol

from mta.model.domain_reports import DomainReport


class DomainChecks(Protocol):
    async def report(self, domain: str) -> DomainReport:
        """Ask DNS now. A failure of DNS is a finding. Raises StoreError."""
        ...
