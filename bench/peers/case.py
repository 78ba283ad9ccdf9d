"""A case: one kind of load that every relay gets."""

import msgspec

from bench.plan import CAMPAIGN, WAITING

_CUSTOMER = "customer_0"
# Floodgate holds what has this header; others do not know it, and hold as they are configured to.
DELAYED = "X-MQ-Delayed: +7d"
_LINE = "The quick brown fox jumps over the lazy dog, again and again, 72 bytes."
# A closed connection keeps its port for a minute: more of them than there are ports would measure the kernel.
MOST_CONNECTIONS = 20_000
MOST_MESSAGES = 100_000


class Case(msgspec.Struct, frozen=True):
    """The mail that is sent, and whether delivery takes part."""

    name: str
    about: str
    size: int = 4096  # bytes of a message, headers included
    reconnect: bool = False  # a connection for each message
    held: bool = False  # accepted and kept: what arrives at the relay, delivery left out

    def messages(self, rate: float, seconds: float, least: int) -> int:
        """How many take about so long at that rate."""
        most = MOST_CONNECTIONS if self.reconnect else MOST_MESSAGES
        return max(least, min(int(rate * seconds), most))


CASES = {
    case.name: case
    for case in (
        Case("4k", "end to end, 4 KB"),
        Case("50k", "end to end, 50 KB", size=51_200),
        Case("connect", "end to end, 4 KB, one connection per message", reconnect=True),
        Case("intake", "intake alone, 4 KB (accepted and held)", held=True),
    )
}


def tag_of(held: bool) -> str:
    """The tag that all messages have; mail that waits has another in the harness's own load."""
    return WAITING if held else CAMPAIGN


def message(case: Case) -> str:
    """The message of a load that sends one again and again; of the right size once each line ends with CRLF."""
    head = [
        f"X-MQ-Tag: {tag_of(case.held)}",
        f"X-MQ-Tag: {_CUSTOMER}",
        *([DELAYED] if case.held else []),
        "From: <news@source.test>",
        "To: <user@bench.test>",
        "Subject: bench",
        "Date: Sat, 01 Jan 2028 00:00:00 +0000",
        "Message-ID: <bench@source.test>",
        "MIME-Version: 1.0",
        "",
    ]
    missing = case.size - sum(len(line) + 2 for line in head)
    lines, rest = divmod(missing, len(_LINE) + 2)
    body = [_LINE] * lines
    if rest > 1:
        body.append(_LINE[: rest - 2])
    return "\n".join([*head, *body]) + "\n"
