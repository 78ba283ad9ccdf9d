"""The terms of its tenant, as they refuse a message at the end of data."""

from mta.content.from_domains import from_domains
from mta.model.errors import BadValue
from mta.model.outcomes import Reply
from mta.model.rules import Rule
from mta.policy.routing import queue_domain
from mta.policy.tenant_terms import NOT_ITS_FROM, NOT_ITS_SENDER, SUSPENDED, is_suspended, may_send_from


def refusal_by_terms(terms: Rule, sender: str, content: bytes) -> Reply | None:
    """The reply that refuses a message of the tenant; None: it may come in. Of mail from the null sender only the From
    header counts."""
    if is_suspended(terms):
        return SUSPENDED
    if not terms.senders:
        return None
    if sender and not _is_its(terms, sender.rpartition("@")[2]):
        return NOT_ITS_SENDER
    named = from_domains(content)
    if not named and not sender:
        return NOT_ITS_FROM
    if not all(_is_its(terms, domain.decode("utf-8", "replace")) for domain in named):
        return NOT_ITS_FROM
    return None


def _is_its(terms: Rule, domain: str) -> bool:
    try:
        return may_send_from(terms, queue_domain(domain))
    except BadValue:
        return False
