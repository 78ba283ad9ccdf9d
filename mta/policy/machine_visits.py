"""Visits of machines: programs that fetch the pixel of a mail, or follow its links, before or without a reader."""

import re
from typing import Final

SOON: Final = 2.0  # seconds after the mail was made: nobody has read it by then

# Programs that look at links and images for a provider or for a user's safety, and generic clients.
_PROGRAMS: Final = re.compile(
    r"googleimageproxy|yahoomailproxy|ggpht|bot\b|crawler|spider|preview|scanner|proofpoint|mimecast|barracuda|"
    r"safelinks|symantec|fortinet|trend ?micro|headless|phantomjs|curl/|wget/|python-|go-http-client|java/|okhttp|"
    r"libwww|httpclient|apache-|ruby|perl",
    re.IGNORECASE,
)
_APPLE: Final = "Mozilla/5.0"  # all that Apple's Mail Privacy Protection says of itself


def machine_of(method: str, agent: str, purpose: str, age: float) -> str:
    """The kind of machine that a request comes from; "" = it may be a reader. `purpose` is the value of a header field
    such as Sec-Purpose; `age` in seconds, since the mail was made."""
    if method == "HEAD":
        return "head"
    if "prefetch" in purpose.lower() or "preview" in purpose.lower():
        return "prefetch"
    if agent.strip() == _APPLE:
        return "apple_mpp"
    if not agent.strip():
        return "no_agent"
    if _PROGRAMS.search(agent) is not None:
        return "program"
    return "too_soon" if age < SOON else ""
