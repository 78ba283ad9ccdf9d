"""The mail that the source sends: to be relayed; or to wait, each message with many recipients in all domains."""

import base64
import random
import time
from collections.abc import Sequence

HEADER = b"X-Bench: "  # then the number (8 digits), a blank, and the hand-over time in microseconds (16 digits)
CAMPAIGN = "campaign_a"
CUSTOMERS = 50
WAITING = "waiting"
WAITING_HALF = "waiting_half"  # of every second message that waits
WAITING_POOLS = 3
_MAIL = b"MAIL FROM:<bounce@source.test>\r\n"
_RCPT = b"RCPT TO:<u%08d@%b>\r\n"
_DATA = b"DATA\r\n"


def customer_of(number: int) -> str:
    """The second tag of message `number`."""
    return f"customer_{number % CUSTOMERS}"


class Plan:
    """Mail to be relayed: sizes, domains and the prepared pieces that all messages share.

    Message m goes to the recipients u<m*r> to u<m*r+r-1>, r = `recipients`, all at one domain.
    """

    def __init__(self, messages: int, sizes: Sequence[int], domains: int, recipients: int = 1, first: int = 0) -> None:
        """`sizes`: bytes of consecutive messages, headers included, to be repeated; `first`: number of the first."""
        self.messages = messages
        self.first = first
        self.replies = recipients + 2  # to one envelope: MAIL, each RCPT, DATA
        self.domains = [b"d%d.bench.test" % n for n in range(domains)]
        self._recipients = recipients
        self._one = _MAIL + _RCPT + _DATA
        self._customers = [customer_of(n).encode() for n in range(CUSTOMERS)]
        head = len(self._head(0, 0))
        tails = {size: _filler(max(size - head, 2)) + b".\r\n" for size in set(sizes)}
        self._tails = [tails[size] for size in sizes]

    def envelope(self, number: int) -> bytes:
        domain = self.domains[number % len(self.domains)]
        if self._recipients == 1:
            return self._one % (number, domain)
        first = number * self._recipients
        to = [_RCPT % (n, domain) for n in range(first, first + self._recipients)]
        return _MAIL + b"".join(to) + _DATA

    def content(self, number: int) -> bytes:
        """Headers, with the number and the time it is now, body, and the final dot."""
        return self._head(number, time.time_ns() // 1000) + self._tails[number % len(self._tails)]

    def _head(self, number: int, now_us: int) -> bytes:
        domain = self.domains[number % len(self.domains)]
        return (
            b"X-Bench: %08d %016d\r\nX-MQ-Tag: campaign_a\r\nX-MQ-Tag: %b\r\nFrom: <news@source.test>\r\n"
            b"To: <u%08d@%b>\r\nSubject: bench\r\nMessage-ID: <%08d@source.test>\r\nMIME-Version: 1.0\r\n\r\n"
            % (number, now_us, self._customers[number % CUSTOMERS], number * self._recipients, domain, number)
        )


class DuePlan(Plan):
    """Mail to be relayed, all of it due at one instant."""

    def __init__(self, messages: int, sizes: Sequence[int], domains: int, recipients: int, due_at: int) -> None:
        """`due_at`: Unix time, whole seconds."""
        self._due = time.strftime("X-MQ-Delayed: %Y-%m-%d %H:%M:%S\r\n", time.gmtime(due_at)).encode()
        super().__init__(messages, sizes, domains, recipients)

    def _head(self, number: int, now_us: int) -> bytes:
        return self._due + super()._head(number, now_us)


class WaitingPlan(Plan):
    """Mail that waits for a week: `recipients` a message, over all domains, in three pools that nobody else uses."""

    def envelope(self, number: int) -> bytes:
        first, domains = number * self._recipients, self.domains
        to = [_RCPT % (n, domains[n % len(domains)]) for n in range(first, first + self._recipients)]
        return _MAIL + b"".join(to) + _DATA

    def _head(self, number: int, now_us: int) -> bytes:
        return (
            b"X-MQ-Tag: waiting\r\nX-MQ-Tag: waiting_%b\r\nX-MQ-Pool: waiting_%d\r\nX-MQ-Delayed: +7d\r\n"
            b"From: <news@source.test>\r\nSubject: bench\r\nMessage-ID: <%08d@source.test>\r\n\r\n"
            % (b"rest" if number % 2 else b"half", number % WAITING_POOLS, number)
        )


def _filler(length: int) -> bytes:
    """Lines of text, `length` bytes with the last end of line, that compress no better than an attachment does."""
    text = base64.b64encode(random.Random(1).randbytes(length))
    lines = b"\r\n".join(text[at : at + 76] for at in range(0, length, 76))
    return lines[: length - 2].rstrip(b"\r\n").ljust(length - 2, b"=") + b"\r\n"
