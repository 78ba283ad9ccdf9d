"""The mail that a rule selects, as history has it: a filter for the database, and a look at each row."""

from collections.abc import AsyncGenerator, Sequence
from typing import Final, NamedTuple

from msgspec import structs

from control_api.history.selection import Selection, of_class
from control_api.history.streams import Rows, streamed_pages
from mta.model.events import EventType
from mta.model.ids import DeliveryId, delivery_id, parse_id
from mta.model.mail import tenant_mark
from mta.model.rules import Rule
from mta.model.status import DeliveryRow
from mta.policy.rule_table import RuleTable
from mta.ports.history import History, RowFilter
from mta.ports.orders import Effect
from mta.ports.sites import SiteLookup, of_site

BY_RULE: Final = ("intercepted", "held", "uncertain")  # classes whose deliveries name the rule


class _Message(NamedTuple):
    """The facts of a delivery that rules ask for beside its queue and its labels."""

    sender: str
    recipient: str
    accepted_at: int


class MailOfRule:
    """Mail that the selectors of a rule match, whether or not the rule is in force."""

    def __init__(self, effect: Effect, table: RuleTable, sites: SiteLookup, tenant: str = "") -> None:
        """`table` knows this node and the protected tags; `tenant`: only its mail, "" = all."""
        chosen = effect.rule.selectors
        self._site, self._sites = chosen.site, sites
        anywhere = structs.replace(chosen, site=None)  # each page of rows is asked for the site at once
        self._rule = structs.replace(effect.rule, selectors=anywhere, enabled=True, expires_at=0)
        self._node = chosen.node
        self._table = RuleTable.empty(chosen.node or table.node, table.protected)
        self._effect = effect
        self.after = frozenset(_delivery(entry.id) for entry in effect.past_dot)
        self._tenant = tenant or None
        wanted = filter_of(effect.rule)
        self.wanted = structs.replace(wanted, tenant=tenant) if tenant else wanted

    async def of_its_site(self, rows: Rows) -> Rows:
        """The rows whose domain is of the site that the rule asks for, as it is known now. Raises StoreError."""
        if self._site is None:
            return rows
        domains = await of_site(self._sites, self._site, {row.last.domain for row in rows})
        return [row for row in rows if row.last.domain in domains]

    def matches(self, row: DeliveryRow) -> bool:
        """Whether the rule matches, where its site does."""
        event = row.last
        labels = (*event.tags, tenant_mark(event.tenant)) if event.tenant else event.tags
        message = _Message(event.sender or "", event.recipient, row.accepted_at)
        return self._node in (None, event.node) and self._table.matches(
            self._rule, event.pool, event.mta, event.domain, labels, event.remote_ip, event.mx, message
        )

    def is_before(self, row: DeliveryRow, until: int | None) -> bool:
        """Whether a delivery that was delivered was so before the rule was effective. `until` (Unix ms): the time at
        which the rule ceased to act; None: it still acts."""
        event = row.last
        if row.id in self.after or event.type is EventType.LATE_OUTCOME:
            return False
        return until is None or event.time < until

    def selection(self, name: str | None, until: int | None) -> Selection:
        """The deliveries of one class; None: those whose record names the rule. Deliveries past their dot are in
        `after`."""
        if name is None or name in BY_RULE:
            return of_class(RowFilter(rule=self._rule.id, tenant=self._tenant), name)
        if name == "before":
            delivered = of_class(self.wanted, "delivered")
            return Selection(delivered.wanted, lambda row: self.matches(row) and self.is_before(row, until))
        chosen = of_class(self.wanted, name)
        return Selection(chosen.wanted, lambda row: (chosen.keeps is None or chosen.keeps(row)) and self.matches(row))

    async def pages(self, history: History, name: str | None, until: int | None) -> AsyncGenerator[Rows, None]:
        if name in (None, "after"):
            yield await self._past_dot(history)
        if name != "after":
            async for rows in streamed_pages(history, self.selection(name, until)):
                if name is None:
                    yield [row for row in rows if row.id not in self.after]
                else:
                    yield rows if name in BY_RULE else await self.of_its_site(rows)

    async def _past_dot(self, history: History) -> Sequence[DeliveryRow]:
        """The deliveries whose final dot had been handed over when the rule became effective, and that arrived."""
        rows = [await history.row(delivery) for delivery in sorted(self.after)]
        delivered = of_class(RowFilter(), "delivered").wanted.statuses
        return [
            row
            for row in rows
            if row is not None and row.standing.status in delivered and self._tenant in (None, row.last.tenant)
        ]


def filter_of(rule: Rule) -> RowFilter:
    """The conditions that the database can check. `MailOfRule.matches` checks all of them for each row."""
    chosen = rule.selectors
    (domain,) = chosen.names if len(chosen.names) == 1 else (None,)
    exact = {name: value for name in ("sender", "recipient") if (value := getattr(chosen, name)) and "*" not in value}
    return RowFilter(
        tag=chosen.tag or (chosen.tags_all[0] if chosen.tags_all else None),
        tenant=chosen.tenant,
        pool=chosen.pool,
        domain=None if domain is None or domain.startswith("*.") else domain,
        accepted_from=chosen.accepted_after,
        accepted_until=chosen.accepted_before,
        **exact,
    )


def _delivery(text: str) -> DeliveryId:
    return delivery_id(*parse_id(text))
