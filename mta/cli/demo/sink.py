"""The demo's destination: aiosmtpd in a process of its own, so that its time stamps owe nothing to the other programs.

`python -m mta.cli.demo.sink DELAY` prints a ready line, then one line of JSON for each MAIL and each final dot as it
reads them, and ends with its standard input. It takes everything, DELAY seconds after the dot.
"""

import asyncio
import itertools
import json
import sys
import time
from typing import Any

from aiosmtpd.smtp import SMTP, Envelope, Session


class Witness:
    """The aiosmtpd handler of one connection: stamps what it reads, when it reads it."""

    def __init__(self, number: int, delay: float) -> None:
        self._number = number
        self._delay = delay

    async def handle_MAIL(
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        _say({"event": "mail", "at": time.time(), "connection": self._number, "from": address})
        envelope.mail_from = address
        envelope.mail_options.extend(options)
        return "250 2.1.0 Ok"

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:
        at = time.time()
        for recipient in envelope.rcpt_tos:
            _say({"event": "receipt", "at": at, "connection": self._number, "to": recipient})
        await asyncio.sleep(self._delay)
        return "250 2.0.0 Ok"


def _say(record: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(record) + "\n")
    sys.stdout.flush()


async def serve(delay: float) -> None:
    """Serves on a free port of the loopback until standard input ends."""
    loop = asyncio.get_running_loop()
    numbers = itertools.count(1)
    server = await loop.create_server(lambda: SMTP(Witness(next(numbers), delay)), "127.0.0.1", 0)
    orders = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(orders), sys.stdin)
    _say({"event": "ready", "port": server.sockets[0].getsockname()[1]})
    await orders.read()
    server.close()


if __name__ == "__main__":
    asyncio.run(serve(float(sys.argv[1])))
