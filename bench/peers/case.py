"""A case: one kind of load that every relay gets."""

import msgspec

_CUSTOMER = "customer_0"
_CAMPAIGN = "campaign_a"
_LINE = "The quick brown fox jumps over the lazy dog, again and again, 72 bytes."
# A closed connection keeps its port for a minute: more of them than there are ports would measure the kernel.
MOST_CONNECTIONS = 20_000
MOST_MESSAGES = 100_000


class Case(msgspec.Struct, frozen=True):
    """What is sent, and whether delivery takes part."""

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


def message(size: int) -> str:
    """The message of a load that sends the same one again and again; `size` bytes once each line ends with CRLF."""
    head = [
        f"X-MQ-Tag: {_CAMPAIGN}",
        f"X-MQ-Tag: {_CUSTOMER}",
        "From: <news@source.test>",
        "To: <user@bench.test>",
        "Subject: bench",
        "Date: Sat, 01 Jan 2028 00:00:00 +0000",
        "Message-ID: <bench@source.test>",
        "MIME-Version: 1.0",
        "",
    ]
    missing = size - sum(len(line) + 2 for line in head)
    lines, rest = divmod(missing, len(_LINE) + 2)
    body = [_LINE] * lines
    if rest > 1:
        body.append(_LINE[: rest - 2])
    return "\n".join([*head, *body]) + "\n"
