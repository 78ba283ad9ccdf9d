"""URLs of a store whose master sentinels name:
`redis+sentinel://[user:password@]host:port[,host:port…]/NAME[?options]`.

`rediss+sentinel://` speaks TLS with sentinels and servers. Options: `db` (a number), `sentinel_username` and
`sentinel_password` (for sentinels that want a password).
"""

import re
from typing import Final, NamedTuple
from urllib.parse import parse_qsl, unquote

from mta.model.errors import BadValue

SENTINEL_SCHEMES: Final = ("redis+sentinel", "rediss+sentinel")
_PORT: Final = 26379
_OPTIONS: Final = ("db", "sentinel_username", "sentinel_password")
_HOST = re.compile(r"(?P<host>[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])(?::(?P<port>[0-9]{1,5}))?", re.ASCII)
_EXAMPLE: Final = "redis+sentinel://host:26379,host:26379/NAME"


class SentinelUrl(NamedTuple):
    """The parts of such a URL."""

    sentinels: tuple[tuple[str, int], ...]
    master: str  # the name that the sentinels know it by
    tls: bool
    username: str
    password: str | None
    db: int
    sentinel_username: str
    sentinel_password: str | None


def is_sentinel_url(url: str) -> bool:
    return url.partition("://")[0] in SENTINEL_SCHEMES


def parse_sentinel_url(url: str) -> SentinelUrl:
    """Raises BadValue; its reason shows no part of the URL that may be a password."""
    scheme, _, rest = url.partition("://")
    rest, _, query = rest.partition("?")
    authority, _, master = rest.partition("/")
    user_info, _, hosts = authority.rpartition("@")
    if "@" in master or "@" in query or "#" in rest:
        raise BadValue("redis.url", f"cannot be read; write {_EXAMPLE}, and characters of a password as %XX")
    sentinels = tuple(_sentinel(host) for host in hosts.split(",")) if hosts else ()
    if not sentinels:
        raise BadValue("redis.url", f"names no sentinel; write {_EXAMPLE}")
    if not master or "/" in master:
        raise BadValue("redis.url", f"names no master; write the name that the sentinels know it by: {_EXAMPLE}")
    username, colon, password = user_info.partition(":")
    options = dict(parse_qsl(query, keep_blank_values=True))
    for name in options:
        if name not in _OPTIONS:
            raise BadValue("redis.url", f"has an option that is not known; known are {', '.join(_OPTIONS)}")
    db = options.get("db", "0")
    if not re.fullmatch("[0-9]{1,5}", db, re.ASCII):
        raise BadValue("redis.url", "db is not a number")
    return SentinelUrl(
        sentinels,
        unquote(master),
        scheme == "rediss+sentinel",
        unquote(username),
        unquote(password) if colon else None,
        int(db),
        options.get("sentinel_username", ""),
        options.get("sentinel_password"),
    )


def _sentinel(text: str) -> tuple[str, int]:
    found = _HOST.fullmatch(text)
    port = int(found["port"] or _PORT) if found else 0
    if found is None or not 0 < port < 65536:
        raise BadValue("redis.url", f"a sentinel is no host:port; write {_EXAMPLE}")
    return found["host"].strip("[]"), port
