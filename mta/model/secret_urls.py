"""URLs that may carry a password, as they may be shown: in ready lines, logs, errors and listings."""

import re

_URL = re.compile(r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]*://)(?P<rest>.*)", re.DOTALL)
_SECRET = re.compile(r"([?&][^=&?]*(?:password|secret|token)[^=&?]*=)[^&]*", re.IGNORECASE)


def hide_password(url: str) -> str:
    """The text with `***` in place of each password that a URL in it carries.

    A password may hold what a parser takes for the end of the host (`/`, `?`, `#`, `@`), so everything between the
    user's name and the last `@` goes. A name without a password goes, too: often it is a password in the wrong place.
    """
    found = _URL.search(url)
    if found is None:
        return url
    before, rest = url[: found.end("scheme")], found["rest"]
    if not rest.startswith("/"):  # a path, as that of a socket, has no user
        user_info, at, where = rest.rpartition("@")
        if at:
            name, colon, _ = user_info.partition(":")
            rest = f"{name if colon else ''}{colon}***@{where}"
    return before + _SECRET.sub(r"\1***", rest)


def has_password(url: str) -> bool:
    """Whether the URL holds a password, by its user's name or as a parameter."""
    found = _URL.search(url)
    if found is None:
        return False
    user_info = "" if found["rest"].startswith("/") else found["rest"].rpartition("@")[0]
    return ":" in user_info or _SECRET.search(found["rest"]) is not None
