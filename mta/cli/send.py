"""`floodgate send`: hands one message to an SMTP server and prints the answer."""

import asyncio
import email.utils
import re
import sys
from collections.abc import Iterable
from typing import BinaryIO, NoReturn

import aiosmtplib
import click

from mta.cli import commands
from mta.model.errors import BadValue
from mta.model.settings import Address
from mta.model.units import parse_address

_LINE_END = re.compile(rb"\r\n|\r|\n")
_QUEUED_AS = re.compile(r"queued as ([0-9A-Za-z]+)", re.ASCII)
_COMMA = re.compile(r',(?=(?:[^"]*"[^"]*")*[^"]*$)')  # outside of a quoted local part
_TIMEOUT = 60.0


def prepared(content: bytes, tags: tuple[str, ...], pool: str | None) -> bytes:
    """The message with CRLF line ends, the injection headers for tags and pool first. Raises BadValue."""
    headers = [("X-MQ-Tag", "--tag", tag) for tag in tags]
    if pool is not None:
        headers.append(("X-MQ-Pool", "--pool", pool))
    head = []
    for name, option, value in headers:
        if not value.strip() or not value.isprintable():
            raise BadValue(option, f"{value!r} cannot stand in a header; use printable characters")
        head.append(f"{name}: {value}\r\n".encode())
    body = _LINE_END.sub(b"\r\n", content)
    return b"".join(head) + body + (b"" if not body or body.endswith(b"\r\n") else b"\r\n")


def recipients_of(values: Iterable[str]) -> list[str]:
    """The addresses of every `--to`; one value may hold several, separated by commas. Raises BadValue."""
    return [one_address(part, "--to") for value in values for part in _COMMA.split(value)]


def one_address(text: str, option: str) -> str:
    """The address in `text`, which may be written as `Name <address>`. Raises BadValue.

    The SMTP library sends the first address that it finds in a text and drops the rest.
    """
    text = text.strip()
    address = email.utils.parseaddr(text)[1]
    if not address or not (text == address or text.endswith(f"<{address}>")):
        raise BadValue(option, f"{text!r} is not one address; give a@example.com")
    if not address.isascii():
        words = "has characters beyond ASCII, which need SMTPUTF8; write the domain in its xn-- form"
        raise BadValue(option, f"{address!a} {words}, and a local part in ASCII")
    return address


def queue_id(reply: str) -> str:
    """The id that the server's reply names, else the reply itself."""
    found = _QUEUED_AS.search(reply)
    return found[1] if found else reply


async def send(address: Address, sender: str, recipients: list[str], content: bytes) -> tuple[str, list[str]]:
    """The reply to the message, and a line for each recipient that was refused.

    Raises aiosmtplib's exceptions; `_words` turns them into a line.
    """
    async with aiosmtplib.SMTP(hostname=address.host, port=address.port, timeout=_TIMEOUT, start_tls=None) as client:
        options = [] if content.isascii() else ["BODY=8BITMIME"]
        refused, reply = await client.sendmail(sender, recipients, content, mail_options=options)
    return reply, [f"{who}: {answer.code} {answer.message}" for who, answer in refused.items()]


def _words(error: Exception) -> str:
    """The reply of the server, in its own words; the fault where it did not reply."""
    if isinstance(error, aiosmtplib.SMTPRecipientsRefused):
        return "; ".join(f"{each.recipient}: {each.code} {each.message}" for each in error.recipients)
    if isinstance(error, aiosmtplib.SMTPResponseException):
        return f"{error.code} {error.message}"
    return str(error)


def _fail(reason: str, status: int) -> NoReturn:
    click.echo(f"floodgate send: {reason}", err=True)
    sys.exit(status)


@commands.command("send")
@click.option("--smtp", required=True, metavar="HOST:PORT", help="The server to hand the message to.")
@click.option("--from", "sender", required=True, metavar="A", help='Envelope sender; "" is the null sender.')
@click.option(
    "--to",
    "recipients",
    required=True,
    multiple=True,
    metavar="B",
    help="Envelope recipients, separated by commas; repeatable.",
)
@click.option("--tag", "tags", multiple=True, metavar="T", help="A tag of the message; repeatable.")
@click.option("--pool", metavar="P", help="The IP pool that it leaves through.")
@click.argument("file", type=click.File("rb"), default="-")
def command(
    smtp: str, sender: str, recipients: tuple[str, ...], tags: tuple[str, ...], pool: str | None, file: BinaryIO
) -> None:
    """Send the message in FILE (default: standard input) and print its queue id."""
    try:
        address = parse_address(smtp, "--smtp")
        to = recipients_of(recipients)
        envelope_from = one_address(sender, "--from") if sender.strip() not in ("", "<>") else ""
        content = prepared(file.read(), tags, pool)
    except BadValue as error:
        _fail(str(error), 2)
    try:
        reply, refused = asyncio.run(send(address, envelope_from, to, content))
    except (aiosmtplib.SMTPException, OSError) as error:
        _fail(f"{address}: {_words(error)}", 1)
    click.echo(queue_id(reply))
    if refused:
        _fail("; ".join(refused), 1)
