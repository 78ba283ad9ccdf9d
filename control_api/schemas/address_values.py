"""Addresses of mail, as bodies and query strings give them."""

from typing import Any

from control_api.schemas.values import BLANKS, a_labels
from mta.model.errors import BadValue
from mta.policy.addresses import comparable
from mta.smtp.grammar import parse_mailbox


def read_address(value: Any, field: str) -> str:
    """As it was given, with a domain of other letters in A-labels. Raises BadValue."""
    local, domain = _parts(value, field)
    known = a_labels(domain, field)
    return parse_mailbox(f"{local}@{domain if domain.lower() == known else known}", field)


def read_comparable(value: Any, field: str) -> str:
    """In the form in which rules and suppressions compare addresses. Raises BadValue."""
    local, _ = _parts(value, field)
    if local == "*":
        raise BadValue(field, "is every address of a domain; give it as domain")
    return comparable(read_address(value, field))


def _parts(value: Any, field: str) -> tuple[str, str]:
    """Local part and domain."""
    text = value.strip(BLANKS) if isinstance(value, str) else ""
    local, at, domain = text.rpartition("@")
    if not at:
        raise BadValue(field, "is not an address; write local-part@domain")
    if not local.isascii():
        raise BadValue(field, "has letters before the @ that need SMTPUTF8, which this release has not; use ASCII")
    return local, domain
