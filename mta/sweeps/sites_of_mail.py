"""The sites of waiting mail, found out before rules that ask for the site are asked about it."""

from collections.abc import Collection, Iterable
from typing import Final

from mta.policy.rule_table import RuleTable
from mta.ports.sites import SiteFinder
from mta.ports.sweeps import WaitingDelivery

SHORTLY: Final = 0.5  # seconds for the domains of one page


class SitesOfMail:
    """Costs nothing while no rule asks for the site."""

    def __init__(self, finder: SiteFinder | None = None) -> None:
        """None: this process knows no sites."""
        self._finder = finder

    async def find(
        self, table: RuleTable, some: Iterable[WaitingDelivery], seconds: float = SHORTLY
    ) -> Collection[str]:
        """Wait until the sites of these deliveries' domains are known, at most so long. Returns the domains whose site
        is not known: rules that ask for it do not match their mail before its attempt."""
        if self._finder is None or not table.asks_site:
            return ()
        return await self._finder.find_out({one.queue.domain for one in some}, seconds)


NO_SITES: Final = SitesOfMail()
