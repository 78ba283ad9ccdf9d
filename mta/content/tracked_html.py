"""The HTML of tracked mail: its links lead over the listener for clicks, and a pixel tells of the open.

Links to other schemes than http and https, relative ones, those of the listener itself, and those with the attribute
`data-track="off"` stay as they are.
"""

import html
import re
from typing import Final

from mta.content.tracking_links import TrackingLinks

_LINK: Final = re.compile(
    r"""(<(?:a|area)\s(?:[^<>"']|"[^"]*"|'[^']*')*?(?<![\w-])href\s*=\s*)("[^"]*"|'[^']*'|[^\s"'<>=`]+)([^<>]*>)""",
    re.IGNORECASE,
)
_LEFT_ALONE: Final = re.compile(r"""data-track\s*=\s*["']?(?:off|false|no)\b""", re.IGNORECASE)
_END: Final = re.compile(r"</body\s*>", re.IGNORECASE)
_LONGEST: Final = 4000  # characters of an address: a longer one would make a link that browsers refuse


def with_links(text: str, links: TrackingLinks, mail: str) -> str:
    """The links lead over the listener; `mail` is that of `TrackingLinks.mail`."""

    def lead(found: re.Match[str]) -> str:
        before, quoted, after = found.groups()
        quote = quoted[0] if quoted[0] in "\"'" else ""
        address = html.unescape(quoted.strip(quote) if quote else quoted).strip()
        if not _is_web(address) or links.is_own(address) or len(address) > _LONGEST:
            return found[0]
        if _LEFT_ALONE.search(before) or _LEFT_ALONE.search(after):
            return found[0]
        return f'{before}"{links.click(mail, address)}"{after}'

    return _LINK.sub(lead, text)


def with_pixel(text: str, links: TrackingLinks, mail: str) -> str:
    """The pixel is the last element of the body."""
    pixel = f'<img src="{links.pixel(mail)}" width="1" height="1" alt="" style="border:0;width:1px;height:1px">'
    ends = list(_END.finditer(text))
    if not ends:
        return text + pixel
    at = ends[-1].start()
    return f"{text[:at]}{pixel}{text[at:]}"


def _is_web(address: str) -> bool:
    scheme, colon, rest = address.partition("://")
    return bool(colon) and scheme.lower() in ("http", "https") and bool(rest) and address.isprintable()
