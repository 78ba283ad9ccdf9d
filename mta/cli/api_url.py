"""The URL of the REST API: FLOODGATE_URL, else the URL that the node of the data directory wrote, else the default."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

from mta.settings_file import default_data_dir

DEFAULT_URL = "http://127.0.0.1:8080"
VARIABLE = "FLOODGATE_URL"
FILE = "api.url"  # in the data directory: the URL and a newline, written when the node is ready


# The part without secrets: scheme, host and port, where a slash, a query, a fragment or the end follows. A user name
# and a password before the host are left out.
_SAFE = re.compile(
    r"(?:[^/?#]*(?://)?[^/?#]*@(?=[^@]*\Z))?((?:[a-z][a-z0-9+.-]*://)?(?:\[[0-9a-f:.]*\]|[\w.-]*)(?::[0-9]*)?)(?=[/?#]|\Z)",
    re.IGNORECASE,
)


class BadUrl(Exception):
    """FLOODGATE_URL or the file holds no URL of an API; the text says why, and shows no password."""


class ApiUrl(NamedTuple):
    """An address, and for people where it was found and how to give another."""

    url: str
    source: str
    advice: str


def data_dir(environ: Mapping[str, str]) -> Path:
    """The data directory of the node on this machine."""
    return Path(environ.get("FLOODGATE_DATA_DIR") or default_data_dir(environ))


def find_url(environ: Mapping[str, str]) -> ApiUrl:
    """Raises BadUrl."""
    given = environ.get(VARIABLE, "").strip()
    if given:
        advice = f"check that the node runs and that {VARIABLE} is the api of its ready line"
        return ApiUrl(_checked(given, VARIABLE), f"from {VARIABLE}", advice)
    path = data_dir(environ) / FILE
    try:
        written = path.read_text().strip()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not text"
        source = f"the default, since {VARIABLE} is not set and {path} cannot be read ({reason})"
        return ApiUrl(DEFAULT_URL, source, f"start the node, or set {VARIABLE} to the api of its ready line")
    advice = f"start the node whose data directory this is, or set {VARIABLE} to the api of another one's ready line"
    return ApiUrl(_checked(written, str(path)), f"from {path}", advice)


def moved(environ: Mapping[str, str], known: str) -> str:
    """Where an API that was at `known` and does not answer is to be looked for: a node that comes back with another
    port says so in its file; a node that is away has none."""
    try:
        where = find_url(environ)
    except BadUrl:  # half written
        return known
    return known if where.url == DEFAULT_URL else where.url


def _checked(text: str, source: str) -> str:
    """`text` without a slash at its end; nothing of it is shown where it may hold a password."""
    found = _SAFE.match(text)
    shown = found[1] if found is not None else "it"
    if not text.isprintable() or " " in text:
        raise BadUrl(f"{source}: is not a URL; write http://HOST:PORT")
    if "@" in text:
        raise BadUrl(f"{source}: holds a user name or a password, which the API does not take; remove what stands "
                     f"before {shown}, and give the token as FLOODGATE_TOKEN")  # fmt: skip
    if "://" not in text:
        raise BadUrl(f"{source}: {shown} has no scheme; write http://{shown} (or https://)")
    try:
        parts = urlsplit(text)
        known = parts.scheme.lower() in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        known = False
    if not known:
        raise BadUrl(f"{source}: {shown} is not the URL of an API; write http://HOST:PORT or https://HOST:PORT")
    if parts.query or parts.fragment:
        raise BadUrl(f"{source}: {shown} has a query or a fragment; write http://HOST:PORT alone")
    return text.rstrip("/")
