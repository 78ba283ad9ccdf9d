"""The parameters of MAIL: SIZE (RFC 1870) and BODY (RFC 6152), and nothing else."""

from mta.model.errors import BadValue
from mta.smtp import replies
from mta.smtp.grammar import parse_parameters


def read_mail_parameters(text: str, esmtp: bool, max_size: int) -> tuple[bytes | None, str]:
    """The reply that refuses the parameters, or None; and the value of BODY, "" = none given."""
    if not esmtp:
        return b"555 5.5.4 parameters need EHLO\r\n", ""
    try:
        parameters = parse_parameters(text)
    except BadValue as bad:
        return f"501 5.5.4 {bad}\r\n".encode(), ""
    for keyword in parameters:
        if keyword not in ("SIZE", "BODY"):
            return b"555 5.5.4 parameter not recognized\r\n", ""
    size = parameters.get("SIZE")
    if size is not None:
        if not size.isdigit() or len(size) > 20:  # RFC 1870 section 5
            return b"501 5.5.4 SIZE takes a number of octets\r\n", ""
        if int(size) > max_size:
            return replies.TOO_LARGE, ""
    body = parameters.get("BODY")
    if body is None:
        return None, ""
    body = body.upper()
    if body not in ("7BIT", "8BITMIME"):
        return b"501 5.5.4 BODY takes 7BIT or 8BITMIME\r\n", ""
    return None, body
