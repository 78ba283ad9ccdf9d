"""What the source sends: mail to be relayed, one recipient each; or mail that waits, of many recipients each."""

import time

HEADER = b"X-Bench: "  # then the number (8 digits), a blank, and the hand-over time in microseconds (16 digits)
CAMPAIGN = "campaign_a"
CUSTOMERS = 50
WAITING = "waiting"
WAITING_HALF = "waiting_half"  # of every second message that waits
WAITING_POOLS = 3
_LINE = b"The quick brown fox jumps over the lazy dog, again and again, 72 bytes.\r\n"


def customer_of(number: int) -> str:
    """The second tag of message `number`."""
    return f"customer_{number % CUSTOMERS}"


class Plan:
    """Mail to be relayed: sizes, domains and the prepared pieces that all messages share."""

    replies = 3  # to one envelope: MAIL, RCPT, DATA

    def __init__(self, messages: int, size: int, domains: int) -> None:
        self.messages = messages
        self.domains = [b"d%d.bench.test" % n for n in range(domains)]
        self._customers = [customer_of(n).encode() for n in range(CUSTOMERS)]
        filler = max(size - len(self._head(0, 0)), 2)
        self.tail = (_LINE * (filler // len(_LINE) + 1))[: filler - 2] + b"\r\n.\r\n"

    def envelope(self, number: int) -> bytes:
        domain = self.domains[number % len(self.domains)]
        return b"MAIL FROM:<bounce@source.test>\r\nRCPT TO:<u%08d@%b>\r\nDATA\r\n" % (number, domain)

    def content(self, number: int) -> bytes:
        return self._head(number, time.time_ns() // 1000) + self.tail

    def _head(self, number: int, now_us: int) -> bytes:
        domain = self.domains[number % len(self.domains)]
        return (
            b"X-Bench: %08d %016d\r\nX-MQ-Tag: campaign_a\r\nX-MQ-Tag: %b\r\nFrom: <news@source.test>\r\n"
            b"To: <u%08d@%b>\r\nSubject: bench\r\nMessage-ID: <%08d@source.test>\r\nMIME-Version: 1.0\r\n\r\n"
            % (number, now_us, self._customers[number % CUSTOMERS], number, domain, number)
        )


class WaitingPlan(Plan):
    """Mail that waits for a week: `recipients` a message, over all domains, in three pools that nobody else uses."""

    def __init__(self, messages: int, size: int, domains: int, recipients: int) -> None:
        self._recipients = recipients
        self.replies = recipients + 2
        super().__init__(messages, size, domains)

    def envelope(self, number: int) -> bytes:
        first, domains = number * self._recipients, self.domains
        to = [
            b"RCPT TO:<u%08d@%b>\r\n" % (n, domains[n % len(domains)]) for n in range(first, first + self._recipients)
        ]
        return b"MAIL FROM:<bounce@source.test>\r\n" + b"".join(to) + b"DATA\r\n"

    def _head(self, number: int, now_us: int) -> bytes:
        return (
            b"X-MQ-Tag: waiting\r\nX-MQ-Tag: waiting_%b\r\nX-MQ-Pool: waiting_%d\r\nX-MQ-Delayed: +7d\r\n"
            b"From: <news@source.test>\r\nSubject: bench\r\nMessage-ID: <%08d@source.test>\r\n\r\n"
            % (b"rest" if number % 2 else b"half", number % WAITING_POOLS, number)
        )
