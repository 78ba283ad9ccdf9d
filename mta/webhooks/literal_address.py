"""IP addresses that stand in URLs."""

import ipaddress
import socket
from urllib.parse import urlsplit


def literal_address(url: str) -> str | None:
    """The IP address that stands in a URL in place of a name, also as 127.1 or 0x7f000001; None: it has a name."""
    host = (urlsplit(url).hostname or "").partition("%")[0].rstrip(".")
    try:
        return str(ipaddress.ip_address(host))
    except ValueError:
        pass
    try:
        return socket.inet_ntoa(socket.inet_aton(host))
    except OSError:
        return None
