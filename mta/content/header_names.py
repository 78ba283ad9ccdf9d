"""The names of injection headers: which are known, which are refused, and which unknown name is a known one mistyped.

All names here are without their prefix; except where a name is shown, they are lower case.
"""

import functools
from collections.abc import Mapping
from typing import Final

_SHOWN: Final = (
    "Tag", "Tenant", "Pool", "IP", "Envelope", "Delayed", "MaxDeliverTime", "MaxAttempts", "Retries", "Topic",
    "Priority", "Idempotency-Key", "DSN-Notify", "DSN-Ret", "DSN-Orcpt", "DSN-Envid",
)  # fmt: skip
KNOWN: Final = {name.lower(): name for name in _SHOWN}

# Headers of features that this release does not have, and MailerQ's that Floodgate never obeys.
_UNSUPPORTED: Final = frozenset((
    "dsn-notify",
    "dsn-ret",
    "dsn-orcpt",
    "dsn-envid",
    "keepmime",
    "inlinecss",
))  # fmt: skip
_BEGINS: Final = "smarthost"  # MailerQ: hostname, port, username, password
_ENDS: Final = "queue"  # MailerQ: results, failure, success, retry
_SHORTEST: Final = 3  # letters of a name that may be a mistyped one


def is_unsupported(name: str) -> bool:
    """Whether Floodgate refuses a message with this header, because it lacks the feature."""
    return name in _UNSUPPORTED or (
        "-" in name and (name.startswith(f"{_BEGINS}-") or name.endswith(f"-{_ENDS}") or _is_nearly_secret(name))
    )


@functools.lru_cache(maxsize=1024)
def nearest(name: str) -> str:
    """The known name, as it is shown, that an unknown one is a single slip away from; "" = none."""
    return "" if name in KNOWN else nearest_of(name, KNOWN)


def nearest_of(name: str, known: Mapping[str, str]) -> str:
    """As `nearest`, of names that `known` has in lower case, each with what is shown for it.

    A slip is one letter too many, too few or wrong, two neighbours swapped, or hyphens and underscores put elsewhere.
    Names of two letters have no slips: nearly everything is near them."""
    lowered = name.lower()
    if lowered in known or len(name) < _SHORTEST:
        return known.get(lowered, "")
    plain = _plain(lowered)
    alike = next((shown for one, shown in known.items() if _plain(one) == plain), "")
    return alike or next((shown for one, shown in known.items() if _is_one_slip(lowered, one)), "")


def _plain(name: str) -> str:
    return name.replace("-", "").replace("_", "")


def _is_nearly_secret(name: str) -> bool:
    """Whether a name may be a mistyped `-Smarthost-Password`. It must not become a property, since properties are
    logged."""
    return _is_one_slip(name.partition("-")[0], _BEGINS)


def _is_one_slip(written: str, meant: str) -> bool:
    longer, shorter = (written, meant) if len(written) >= len(meant) else (meant, written)
    if len(longer) - len(shorter) > 1:
        return False
    at = next((i for i, (a, b) in enumerate(zip(longer, shorter, strict=False)) if a != b), len(shorter))
    if len(longer) > len(shorter):
        return longer[at + 1 :] == shorter[at:]
    swapped = longer[at : at + 2] == shorter[at : at + 2][::-1]
    return longer[at + 1 :] == shorter[at + 1 :] or (swapped and longer[at + 2 :] == shorter[at + 2 :])
