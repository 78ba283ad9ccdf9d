"""Which IP addresses this host holds."""

import socket


def holds(ip: str) -> bool:
    """Whether mail can be sent from `ip` here."""
    family = socket.AF_INET6 if ":" in ip else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_STREAM) as sock:
            sock.bind((ip, 0))
    except OSError:
        return False
    return True
