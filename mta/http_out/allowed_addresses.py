"""Sockets to the addresses to which a client of URLs that others name may connect."""

import logging
import socket
from collections.abc import Sequence
from typing import Any

import aiohttp

from mta.policy.public_addresses import Network, is_public, is_within

log = logging.getLogger(__name__)


class AddressRefused(OSError):
    """The address is not one that a request may go to. The text does not name it: senders read it, who shall not learn
    the addresses of names inside."""


class GuardedSockets:
    """Makes the sockets of a connector. The address is checked that the socket will connect to, whatever a name meant
    when somebody looked it up before."""

    def __init__(self, allow: Sequence[Network], *, only_allowed: bool) -> None:
        """`only_allowed`: public addresses are refused as well."""
        self._allow = tuple(allow)
        self._only_allowed = only_allowed
        self.refusal = "the name has no public address"
        if only_allowed:
            self.refusal = "the name has no address in webhooks.allow_networks, which http:// needs"

    def __call__(self, info: aiohttp.AddrInfoType) -> socket.socket:
        """Raises AddressRefused."""
        family, kind, protocol, _, where = info
        address = str(where[0]).partition("%")[0]
        if not self._may(address):
            public = "" if self._only_allowed else "no public address and "
            log.info("no connection to %s: it is %snot in webhooks.allow_networks", address, public)
            raise AddressRefused(None, self.refusal)
        made = socket.socket(family, kind, protocol)
        made.setblocking(False)
        return made

    def _may(self, address: str) -> bool:
        if is_within(address, self._allow):
            return True
        return not self._only_allowed and is_public(address)


def guarded(sockets: GuardedSockets, **more: Any) -> aiohttp.TCPConnector:
    """A connector that connects to allowed addresses only."""
    return aiohttp.TCPConnector(socket_factory=sockets, **more)
