"""Sending paths: from a pool's IP to the site of a domain."""

from typing import NamedTuple


def fixed(pool: str, ip: str) -> str:
    """The name of the pool for mail of which this is the sending IP; only the outlets of a worker use it."""
    return f"{pool}@{ip}"


def pool_of(name: str) -> str:
    """The pool of a name that `fixed` may have made."""
    return name if name.startswith("@") else name.partition("@")[0]


class SendingPath(NamedTuple):
    """The way of mail of one queue. Limits hold for parts of it."""

    site: str
    domain: str
    pool: str
    ip: str = ""  # the sending IP, "" = the system chooses it
