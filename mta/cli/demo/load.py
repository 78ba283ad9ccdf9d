"""The demo's mail: a campaign and other mail, interleaved over five domains, injected over SMTP."""

import asyncio
from collections.abc import Iterator
from email.message import EmailMessage

import aiosmtplib
import msgspec

from mta.cli.demo.account import Seen
from mta.cli.demo.programs import DemoFailed
from mta.cli.send import queue_id

DOMAINS = ["one.example", "two.example", "three.example", "four.example", "five.example"]
CAMPAIGN_TAG = "campaign_demo"
OTHER_TAG = "newsletter_demo"
CAMPAIGN_SENDER = "campaign@demo.example"
OTHER_SENDER = "newsletter@demo.example"
_SESSIONS = 8
_CAMPAIGN_SHARE = 5  # of so many messages, all but one belong to the campaign


class Letter(msgspec.Struct, frozen=True):
    """One message to inject."""

    tag: str
    sender: str
    recipient: str


def letters(campaign: int) -> Iterator[Letter]:
    """`campaign` messages of the campaign and a quarter as many others, both over all domains."""
    others = max(campaign // (_CAMPAIGN_SHARE - 1), len(DOMAINS))
    sent_others = 0
    for number in range(campaign):
        yield Letter(CAMPAIGN_TAG, CAMPAIGN_SENDER, f"c{number:06d}@{DOMAINS[number % len(DOMAINS)]}")
        while sent_others < others * (number + 1) // campaign:
            yield Letter(OTHER_TAG, OTHER_SENDER, f"n{sent_others:06d}@{DOMAINS[sent_others % len(DOMAINS)]}")
            sent_others += 1


def _content(letter: Letter) -> bytes:
    message = EmailMessage()
    message["X-MQ-Tag"] = letter.tag
    message["From"] = letter.sender
    message["To"] = letter.recipient
    message["Subject"] = f"A message of {letter.tag}"
    message.set_content("Some words that nobody will miss.\n" * 20)
    return message.as_bytes()


async def inject(port: int, campaign: int, seen: Seen) -> None:
    """Hands everything to the node and notes the id of each. Raises DemoFailed when one is refused."""
    waiting = letters(campaign)

    async def session() -> None:
        async with aiosmtplib.SMTP(hostname="127.0.0.1", port=port, timeout=30, start_tls=None) as client:
            for letter in waiting:
                _, reply = await client.sendmail(letter.sender, [letter.recipient], _content(letter))
                ours = seen.campaign if letter.tag == CAMPAIGN_TAG else seen.others
                ours[letter.recipient] = queue_id(reply)

    try:
        async with asyncio.TaskGroup() as group:
            for _ in range(_SESSIONS):
                group.create_task(session())
    except ExceptionGroup as failed:
        raise DemoFailed(f"a message was not accepted: {failed.exceptions[0]}") from None
