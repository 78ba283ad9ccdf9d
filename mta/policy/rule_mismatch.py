"""Why a rule does not match mail that is described by its pool, domain, tags and what else is known of it."""

from collections.abc import Collection
from typing import NamedTuple

from mta.model.mail import tenant_mark
from mta.model.rules import Kind, Rule, Selectors
from mta.policy.rule_effect import is_on
from mta.policy.rule_table import RuleTable, covers_one


class MailDescription(NamedTuple):
    """Mail that somebody asks about; "" = not known, or none."""

    pool: str
    domain: str
    tags: tuple[str, ...] = ()
    tenant: str = ""
    mta: str = ""  # the sending IP of an attempt
    site: str = ""  # of the domain

    @property
    def labels(self) -> tuple[str, ...]:
        """The labels that rules select by."""
        return (*self.tags, tenant_mark(self.tenant)) if self.tenant else self.tags


def mismatches(rule: Rule, mail: MailDescription, table: RuleTable, now: int) -> list[str]:
    """The reasons, for people, at `now` (Unix ms); [] = the rule matches, even if another one wins."""
    chosen = rule.selectors
    found = [] if rule.enabled else ["it is disabled"]
    if rule.expires_at and now >= rule.expires_at:
        found.append("it has expired")
    elif not is_on(rule, now):
        found.append("its schedule is off now")
    if not chosen.cluster and chosen.node != table.node:
        found.append(f"it is in force on node {chosen.node} only")
    found += _of_the_place(chosen, mail)
    protected = () if rule.kind is Kind.TENANT else table.protected  # a suspension holds all mail of its tenant
    found += _of_the_labels(chosen, mail, protected)
    return found + _of_the_message(chosen)


def _of_the_place(chosen: Selectors, mail: MailDescription) -> list[str]:
    found = []
    if chosen.pool not in (None, mail.pool):
        found.append(f"it asks for pool {chosen.pool}")
    if not covers_one(chosen, mail.domain):
        found.append(f"it asks for domain {' or '.join(chosen.names)}")
    if chosen.site not in (None, mail.site or None):
        found.append(
            f"it asks for site {chosen.site}" + ("" if mail.site else ", and that of the domain is not known yet")
        )
    if chosen.mta not in (None, mail.mta or None):
        found.append(f"it asks for sending IP {chosen.mta}" + ("" if mail.mta else ", which an attempt alone tells"))
    if chosen.ip is not None:
        found.append(f"it asks for the peer {chosen.ip}, which an attempt alone tells")
    if chosen.mx is not None:
        found.append(f"it asks for the peer {chosen.mx}, which an attempt alone tells")
    return found


def _of_the_labels(chosen: Selectors, mail: MailDescription, protected: Collection[str]) -> list[str]:
    found = []
    if chosen.tag is not None and chosen.tag not in mail.tags:
        found.append(f"it asks for tag {chosen.tag}")
    missing = [tag for tag in chosen.tags_all or () if tag not in mail.tags]
    if missing:
        found.append(f"it asks for all of its tags, and {', '.join(missing)} is missing")
    spared = [tag for tag in chosen.except_tags or () if tag in mail.tags]
    if spared:
        found.append(f"it spares mail with tag {', '.join(spared)}")
    if chosen.tenant not in (None, mail.tenant or None):
        found.append(f"it asks for tenant {chosen.tenant}")
    safe = [tag for tag in mail.tags if tag in protected]
    if safe and chosen.tag not in protected:
        found.append(f"tag {safe[0]} is protected (rules.protected_tags): only a rule whose tag is protected matches")
    return found


def _of_the_message(chosen: Selectors) -> list[str]:
    """Selectors that ask for one message, which the description has not."""
    found = []
    for name, value in (("sender", chosen.sender), ("recipient", chosen.recipient)):
        if value is not None:
            found.append(f"it asks for {name} {value}, which each message alone tells")
    if chosen.accepted_before is not None or chosen.accepted_after is not None:
        found.append("it asks for the time of acceptance, which each message alone tells")
    return found
