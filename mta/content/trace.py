"""The trace header that is prepended to a message (RFC 5321 4.4, RFC 3848)."""

import email.utils
import functools
import re

_UNSAFE = re.compile(r"[^A-Za-z0-9._:\[\]-]")
_LINE = 78  # RFC 5322 2.1.1, where the parts allow it


def trace_header(
    name: str, client: str, hostname: str, protocol: str, message_id: str, recipients: tuple[str, ...], now_ms: int
) -> bytes:
    """`name` is how the client calls itself, `client` its IP address, `protocol` a keyword of RFC 3848; a single
    recipient is named."""
    origin, by = _origin(name, client, hostname, protocol)
    identity = f"{by} id {message_id}"
    if len(identity) > _LINE:
        identity = f"{by}\r\n\tid {message_id}"
    date = _date(now_ms // 1000)
    if len(recipients) == 1:
        return f"{origin}\r\n\t{identity}\r\n\tfor <{recipients[0]}>;\r\n\t{date}\r\n".encode()
    return f"{origin}\r\n\t{identity};\r\n\t{date}\r\n".encode()


@functools.lru_cache(maxsize=1024)
def _origin(name: str, client: str, hostname: str, protocol: str) -> tuple[str, str]:
    name = _UNSAFE.sub("?", name)[:255] or "unknown"
    literal = f"[IPv6:{client}]" if ":" in client else f"[{client}]"
    origin = f"Received: from {name} ({literal})"
    if len(origin) > _LINE:
        origin = f"Received: from {name}\r\n\t({literal})"
    return origin, f"by {hostname} with {protocol}"


@functools.lru_cache(maxsize=4)
def _date(seconds: int) -> str:
    return email.utils.formatdate(seconds)
