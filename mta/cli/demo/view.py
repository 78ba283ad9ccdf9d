"""The demo as people watch it: a live table on a terminal, a line a second elsewhere."""

import asyncio
import sys
import time

from rich.console import Console
from rich.live import Live
from rich.table import Table

from mta.cli.demo.account import Seen, report

_LINE_EVERY = 1.0
_FRAME_EVERY = 0.2


class View:
    """Draws `seen` until it is told to end; `state` is a word for what is being done."""

    def __init__(self, seen: Seen, *, to_stderr: bool) -> None:
        self._seen = seen
        self._console = Console(stderr=to_stderr)
        self._started = time.monotonic()
        self.state = "starting"

    def tell(self, state: str) -> None:
        """A new state; printed at once where there is no live table."""
        self.state = state
        if not self._console.is_terminal:
            self._line()

    async def run(self) -> None:
        """Until it is canceled."""
        if not self._console.is_terminal:
            while True:
                await asyncio.sleep(_LINE_EVERY)
                self._line()
        with Live(self._table(), console=self._console, auto_refresh=False) as live:
            try:
                while True:
                    live.update(self._table(), refresh=True)
                    await asyncio.sleep(_FRAME_EVERY)
            finally:
                live.update(self._table(), refresh=True)

    def _figures(self) -> list[tuple[str, str, str]]:
        seen, tag = self._seen, self._seen.tag_statement
        intercepted = sum(tag.get("intercepted", {}).values()) if tag else 0
        return [
            ("accepted", str(len(seen.campaign)), str(len(seen.others))),
            ("received", str(len(seen.received(seen.campaign))), str(len(seen.received(seen.others)))),
            ("queued", str(tag.get("queued", "")), ""),
            ("intercepted", str(intercepted), ""),
        ]

    def _line(self) -> None:
        figures = ", ".join(
            f"{name} {campaign}" + (f" + {other}" if other else "") for name, campaign, other in self._figures()
        )
        stream = sys.stderr if self._console.stderr else sys.stdout
        print(f"{time.monotonic() - self._started:6.1f} s  {self.state}: {figures}", file=stream, flush=True)

    def _table(self) -> Table:
        table = Table(title=f"{self.state} ({time.monotonic() - self._started:.1f} s)", title_justify="left")
        for heading in ("", "campaign_demo", "newsletter_demo"):
            table.add_column(heading, justify="right" if heading else "left")
        for row in self._figures():
            table.add_row(*row)
        return table

    def verdict(self) -> None:
        """The statement and each condition."""
        whole = report(self._seen)
        say = self._console.print
        took = whole["order_to_effective_ms"]
        say(
            f"order to effective: {'-' if took is None else f'{took:.0f} ms'} (the API answered in "
            f"{whole['order_reply_ms']:.0f} ms); past the dot by then: {len(self._seen.order.get('past_dot', []))}"
        )
        tag = self._seen.tag_statement
        say(
            "statement of campaign_demo: " + ", ".join(f"{k} {tag.get(k)}" for k in _SHOWN if k in tag), highlight=False
        )
        for held in whole["conditions"]:
            mark = "ok    " if held["holds"] else "FAILED"
            say(f"{mark}  {held['condition']}: {held['found']}", highlight=False, soft_wrap=True)


_SHOWN = ("accepted", "delivered", "intercepted", "bounced", "expired", "queued", "held", "uncertain", "balanced")
