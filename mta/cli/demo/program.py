"""The course of the demo: start, inject, order, wait, compare."""

import asyncio
import contextlib
import datetime
import json
import os
import shutil
import signal
import sys
import tempfile
import time
from pathlib import Path

import click

from mta.cli import commands
from mta.cli.demo.account import Seen, report
from mta.cli.demo.load import CAMPAIGN_SENDER, CAMPAIGN_TAG, DOMAINS, inject
from mta.cli.demo.programs import DemoFailed, Node, Sink
from mta.cli.demo.view import View

_CONNECTIONS_PER_DOMAIN = 2
_SINK_DELAY = 0.15  # seconds per message and connection: injection is long over when half has been delivered
_WHOLE_WITHIN = 110.0
_ORDER = {
    "tag": CAMPAIGN_TAG,
    "code": 554,
    "extended": "5.7.1",
    "description": "campaign canceled",
    "reason": "floodgate demo",
}


class Course:
    """One demo over one temporary directory."""

    def __init__(self, place: Path, messages: int, *, to_stderr: bool) -> None:
        self._messages = messages
        self.seen = Seen(campaign={}, others={}, campaign_sender=CAMPAIGN_SENDER)
        self.view = View(self.seen, to_stderr=to_stderr)
        self._sink = Sink(place, self.seen)
        self._node = Node(place)

    async def run(self) -> None:
        """Fills `seen`. Raises DemoFailed; whatever was started is stopped."""
        drawing = asyncio.create_task(self.view.run())
        try:
            async with asyncio.timeout(_WHOLE_WITHIN):
                await self._play()
        except TimeoutError:
            raise DemoFailed(f"not done within {_WHOLE_WITHIN:.0f} s; its state was: {self.view.state}") from None
        finally:
            try:
                self.view.tell("stopping")
                self.seen.node_status = await self._node.stop()
                await self._sink.stop()
            finally:
                drawing.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await drawing

    async def _play(self) -> None:
        port = await self._sink.start(_SINK_DELAY)
        self.view.tell("starting a node")
        await self._node.start(port, DOMAINS, _CONNECTIONS_PER_DOMAIN)
        self.view.tell("injecting")
        await inject(self._node.smtp_port, self._messages, self.seen)
        self.view.tell("waiting for a tenth of the campaign")
        await self._until_tenth()
        self.view.tell("ordering")
        await self._order()
        self.view.tell("canceled; waiting for the others and the sweep")
        await self._until_settled()

    async def _until_tenth(self) -> None:
        while len(self.seen.received(self.seen.campaign)) * 10 < self._messages:
            self._check_alive()
            await asyncio.sleep(0.01)

    async def _order(self) -> None:
        seen = self.seen
        seen.tag_statement = await self._node.call("GET", f"/v1/tags/{CAMPAIGN_TAG}")
        seen.queued_at_order = int(seen.tag_statement.get("queued", 0))
        seen.ordered_at = time.time()
        start = time.perf_counter()
        seen.order = await self._node.call("POST", "/v1/errors?wait=5s", _ORDER)
        seen.order_took = time.perf_counter() - start
        if seen.order.get("effective_at"):
            seen.effective_at = datetime.datetime.fromisoformat(str(seen.order["effective_at"])).timestamp()

    async def _until_settled(self) -> None:
        seen = self.seen
        while True:
            self._check_alive()
            seen.rule_statement = await self._node.call("GET", f"/v1/errors/{seen.order['id']}/statement")
            seen.tag_statement = await self._node.call("GET", f"/v1/tags/{CAMPAIGN_TAG}")
            arrived = {receipt.recipient for receipt in seen.received(seen.others)}
            settled = seen.tag_statement.get("queued") == 0 and seen.rule_statement.get("complete") is True
            if settled and len(arrived) == len(seen.others):
                return
            await asyncio.sleep(0.1)

    def _check_alive(self) -> None:
        if self._node.has_ended():
            raise DemoFailed("the node has ended by itself")


def _directory() -> Path:
    """A new directory on disk (a temporary file system would make every sync free)."""
    root = Path("/var/tmp")
    return Path(tempfile.mkdtemp(prefix="floodgate-demo-", dir=root if os.access(root, os.W_OK) else None))


async def _interruptible(course: Course) -> None:
    whole = asyncio.current_task()
    assert whole is not None
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, whole.cancel)
    await course.run()


def _play(course: Course, place: Path) -> str:
    """Runs it; the reason of its failure, or ""."""
    try:
        asyncio.run(_interruptible(course))
    except DemoFailed as error:
        return str(error)
    except (asyncio.CancelledError, KeyboardInterrupt):
        return "interrupted"
    finally:
        shutil.rmtree(place, ignore_errors=True)
    return ""


@commands.command("demo")
@click.option("--messages", type=click.IntRange(min=200), default=2000, show_default=True, help="Size of the campaign.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object; progress goes to standard error.")
def command(messages: int, as_json: bool) -> None:
    """Cancel a campaign by tag while it is delivered, on an embedded node, and check what arrived.

    Exit status 0 only when nothing of the campaign arrived late, all other mail arrived, and the statement
    equals the receipts.
    """
    place = _directory()
    course = Course(place, messages, to_stderr=as_json)
    trouble = _play(course, place)
    whole = report(course.seen)
    if trouble:
        whole |= {"ok": False, "error": trouble}
        click.echo(f"floodgate demo: {trouble}", err=True)
    else:
        course.view.verdict()
    if as_json:
        click.echo(json.dumps(whole, indent=2))
    sys.exit(0 if whole["ok"] else 1)
