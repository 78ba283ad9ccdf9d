"""The arguments of MAIL and RCPT: the mailboxes that they name, or the reply that refuses them."""

import functools

from mta.model.errors import BadValue
from mta.smtp import replies
from mta.smtp.grammar import parse_recipient, parse_sender, plain_mailbox
from mta.smtp.mail_parameters import NONE_GIVEN, MailParameters, read_mail_parameters


@functools.lru_cache(maxsize=1024)  # the messages of a campaign have one sender
def read_sender(argument: bytes, esmtp: bool, max_size: int) -> tuple[str, MailParameters] | bytes:
    """The mailbox ("" is the null sender) and the parameters; or a reply."""
    if argument[:5].upper() != b"FROM:":
        return b"501 5.5.4 write MAIL FROM:<address>\r\n"
    plain = plain_mailbox(argument[5:])
    if plain is not None:
        return plain, NONE_GIVEN
    text = printable(argument)
    if text is None:
        return replies.BAD_OCTETS if argument.isascii() else replies.NON_ASCII_SENDER
    try:
        sender, rest = parse_sender(text[5:])
    except BadValue as bad:
        return f"501 5.1.7 {bad}\r\n".encode()
    if not rest:
        return sender, NONE_GIVEN
    told = read_mail_parameters(rest, esmtp, max_size)
    return told if isinstance(told, bytes) else (sender, told)


def read_recipient(argument: bytes) -> str | bytes:
    """The mailbox (`postmaster` may have no domain), or a reply."""
    if argument[:3].upper() != b"TO:":
        return b"501 5.5.4 write RCPT TO:<address>\r\n"
    plain = plain_mailbox(argument[3:])
    if plain is not None:
        return plain
    text = printable(argument)
    if text is None:
        return replies.BAD_OCTETS if argument.isascii() else replies.NON_ASCII_RECIPIENT
    try:
        recipient, rest = parse_recipient(text[3:])
    except BadValue as bad:
        return f"501 5.1.3 {bad}\r\n".encode()
    return b"555 5.5.4 parameter not recognized\r\n" if rest else recipient


def printable(argument: bytes) -> str | None:
    """As text; None: it is not printable ASCII."""
    if argument.isascii():
        text = argument.decode("ascii")
        if text.isprintable():
            return text
    return None
