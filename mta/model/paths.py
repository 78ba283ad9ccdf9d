"""Sending paths: from a pool's IP to the site of a domain."""

from typing import NamedTuple


class SendingPath(NamedTuple):
    """The way of mail of one queue. Limits hold for parts of it."""

    site: str
    domain: str
    pool: str
    ip: str = ""  # the sending IP, "" = the system chooses it
