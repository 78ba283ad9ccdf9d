"""The kinds of values of DKIM keys: domain, selector, private key."""

import re
from typing import Any, Final

from control_api.schemas import patterns
from control_api.schemas.values import NO_CURSOR, Value, a_text, read_domain
from mta.model.errors import BadValue

_MAX_PRIVATE: Final = 20_000  # characters
_SELECTOR: Final = re.compile(
    r"[A-Za-z0-9](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9])?(?:\.[A-Za-z0-9](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9])?)*"
)
_MAX_SELECTOR: Final = 63
_KEY_CURSOR: Final = r"[a-z0-9._-]{1,253}~[a-z0-9._-]{1,63}"


def _read_domain(value: Any, field: str) -> str:
    """Lower-case A-labels, two or more."""
    name = read_domain(value, field) if isinstance(value, str) else ""
    if "." not in name or name.startswith("[") or name.rpartition(".")[2].isdigit():
        raise BadValue(field, "is not a domain that can sign mail; give one such as example.com")
    return name


def _read_selector(value: Any, field: str) -> str:
    """Lower case: DNS does not tell the cases apart."""
    if not isinstance(value, str) or len(value) > _MAX_SELECTOR or not _SELECTOR.fullmatch(value):
        raise BadValue(field, "is not a selector: 1 to 63 letters, digits, -, _ and dots, such as s2026")
    return value.lower()


def _read_private(value: Any, field: str) -> str:
    if not isinstance(value, str) or not value.strip() or len(value) > _MAX_PRIVATE:
        raise BadValue(field, f"is not a private key in PEM of at most {_MAX_PRIVATE} characters")
    return value


def _read_cursor(value: Any, field: str) -> tuple[str, ...]:
    if not isinstance(value, str) or not re.fullmatch(_KEY_CURSOR, value):
        raise BadValue(field, NO_CURSOR)
    return tuple(value.split("~"))


DOMAIN = Value(_read_domain, a_text(patterns.SIGNING_DOMAIN), "give a domain")
SELECTOR = Value(_read_selector, a_text("[A-Za-z0-9]([A-Za-z0-9-]{0,20}[A-Za-z0-9])?"), "give a selector such as s2026")
PRIVATE_KEY = Value(_read_private, {"type": "string", "minLength": 1, "maxLength": _MAX_PRIVATE})
KEY_CURSOR = Value(_read_cursor, a_text(_KEY_CURSOR))
