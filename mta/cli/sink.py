"""`floodgate sink`: a destination that takes mail, and defers, refuses, stalls, delays or drops it by address."""

import asyncio
import fnmatch
import json
import random
import signal
import sys
import time
import tomllib
from collections import Counter
from pathlib import Path
from typing import Any, NoReturn

import click
import msgspec
from aiosmtpd.smtp import SMTP, Envelope, Session

from mta.cli import commands
from mta.model.errors import BadValue
from mta.model.units import parse_address, parse_duration

STAGES = ("connect", "mail", "rcpt", "data", "dot")
ACTIONS = ("defer", "refuse", "stall", "delay", "drop")
_KEYS = ("to", "at", "action", "code", "text", "seconds", "percent")
_DEFAULT_SECONDS = {"stall": 3600.0, "delay": 1.0}
_MAX_SIZE = 100 * 1024 * 1024


class ScriptRule(msgspec.Struct, frozen=True, kw_only=True):
    """The answer to mail for addresses like `to` (fnmatch, case-insensitive) at one point of the dialog."""

    to: str = "*"
    at: str = "rcpt"
    action: str = "defer"
    code: int = 451
    text: str = ""
    seconds: float = 0.0
    percent: float = 100.0

    def matches(self, addresses: list[str]) -> bool:
        return self.to == "*" or any(fnmatch.fnmatchcase(address.lower(), self.to.lower()) for address in addresses)

    def reply(self) -> str:
        return f"{self.code} {self.text}"


def read_script(path: Path) -> tuple[ScriptRule, ...]:
    """The rules of a script, in the order in which they are tried. Raises BadValue naming the file and the key."""
    try:
        tables = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise BadValue(str(path), f"cannot be read: {error}") from None
    except tomllib.TOMLDecodeError as error:
        raise BadValue(str(path), f"is not TOML: {error}") from None
    for key in tables:
        if key != "rule":
            raise BadValue(f"{path}: {key}", "unknown key; a script holds [[rule]] tables only")
    rules = tables.get("rule", [])
    if not isinstance(rules, list):
        raise BadValue(f"{path}: rule", "is one table; write [[rule]]")
    return tuple(_rule(f"{path}: rule {number}", table) for number, table in enumerate(rules, 1))


def _rule(where: str, table: Any) -> ScriptRule:
    if not isinstance(table, dict):
        raise BadValue(where, "is not a table; write [[rule]]")
    for key in table:
        if key not in _KEYS:
            raise BadValue(f"{where}: {key}", f"unknown key; the keys are {', '.join(_KEYS)}")
    action = _word(where, table, "action", ACTIONS)
    at = _word(where, table, "at", STAGES, "rcpt")
    to = table.get("to", "*")
    if not isinstance(to, str) or not to:
        raise BadValue(f"{where}: to", 'is not a pattern; write an address or "*@example.com"')
    if to != "*" and at in ("connect", "mail"):
        raise BadValue(f"{where}: to", f'no recipient is known at "{at}"; leave it out or use at = "rcpt"')
    code, text = _answer(where, table, action)
    if "seconds" in table and action not in _DEFAULT_SECONDS:
        raise BadValue(f"{where}: seconds", "goes with stall and delay only")
    seconds = parse_duration(table.get("seconds", _DEFAULT_SECONDS.get(action, 0.0)), f"{where}: seconds")
    percent = table.get("percent", 100)
    if isinstance(percent, bool) or not isinstance(percent, int | float) or not 0 < percent <= 100:
        raise BadValue(f"{where}: percent", f"{percent!r} is not a number above 0 and up to 100")
    return ScriptRule(to=to, at=at, action=action, code=code, text=text, seconds=seconds, percent=float(percent))


def _word(where: str, table: dict[str, Any], key: str, words: tuple[str, ...], default: str | None = None) -> str:
    value = table.get(key, default)
    if value not in words:
        shown = "is missing" if value is None else f"{value!r} is not known"
        raise BadValue(f"{where}: {key}", f"{shown}; use one of {', '.join(words)}")
    return str(value)


def _answer(where: str, table: dict[str, Any], action: str) -> tuple[int, str]:
    if action not in ("defer", "refuse"):
        for key in ("code", "text"):
            if key in table:
                raise BadValue(f"{where}: {key}", "goes with defer and refuse only")
        return 0, ""
    first = 4 if action == "defer" else 5
    code = table.get("code", 451 if action == "defer" else 550)
    if isinstance(code, bool) or not isinstance(code, int) or code // 100 != first:
        raise BadValue(f"{where}: code", f"{code!r} does not {action}; use {first}00 to {first}99")
    text = table.get("text", "4.7.1 deferred by script" if first == 4 else "5.7.1 refused by script")
    if not isinstance(text, str) or not text.isprintable() or not text.isascii():
        raise BadValue(f"{where}: text", "must be one line of printable ASCII")
    return code, text


class Destination:
    """The aiosmtpd handler: plays the script, and tells each receipt through `tell`."""

    def __init__(self, rules: tuple[ScriptRule, ...], *, quiet: bool, seed: int | None = None) -> None:
        self._rules = rules
        self._quiet = quiet
        self._random = random.Random(seed)
        self.receipts = 0
        self.recipients = 0
        self.actions: Counter[str] = Counter()

    async def meet(self, at: str, addresses: list[str], transport: asyncio.BaseTransport | None) -> str | None:
        """The reply that the script gives at this point, or None to go on; waits where it stalls or delays."""
        for rule in self._rules:
            if rule.at != at or not rule.matches(addresses) or self._random.random() * 100 >= rule.percent:
                continue
            self.actions[rule.action] += 1
            if rule.action in ("defer", "refuse"):
                return rule.reply()
            if rule.action == "drop":
                if transport is not None:
                    transport.close()
                return "421 4.3.2 dropped by script"
            await asyncio.sleep(rule.seconds)
            if rule.action == "stall":
                return None
        return None

    async def handle_MAIL(
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        answer = await self.meet("mail", [], server.transport)
        if answer is None:
            envelope.mail_from = address
            envelope.mail_options.extend(options)
        return answer or "250 2.1.0 Ok"

    async def handle_RCPT(
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        answer = await self.meet("rcpt", [address], server.transport)
        if answer is None:
            envelope.rcpt_tos.append(address)
            envelope.rcpt_options.extend(options)
        return answer or "250 2.1.5 Ok"

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:
        answer = await self.meet("dot", envelope.rcpt_tos, server.transport)
        if answer is not None:
            return answer
        self.receipts += 1
        self.recipients += len(envelope.rcpt_tos)
        if not self._quiet:
            content = envelope.content or b""
            _say(
                {
                    "event": "receipt",
                    "time": round(time.time(), 3),
                    "peer": session.peer[0] if session.peer else "",
                    "helo": session.host_name,
                    "from": envelope.mail_from,
                    "to": envelope.rcpt_tos,
                    "size": len(content),
                }
            )
        return "250 2.0.0 Ok"

    def summary(self) -> dict[str, Any]:
        return {
            "event": "summary",
            "receipts": self.receipts,
            "recipients": self.recipients,
            "actions": dict(self.actions),
        }


class ScriptedSmtp(SMTP):
    """aiosmtpd's server with the two points of the dialog that its handlers do not see: connect and DATA."""

    def __init__(self, destination: Destination) -> None:
        super().__init__(destination, data_size_limit=_MAX_SIZE, enable_SMTPUTF8=True, ident="Floodgate sink")
        self._destination = destination

    async def _handle_client(self) -> None:
        answer = await self._destination.meet("connect", [], self.transport)
        if answer is None:
            await super()._handle_client()
            return
        if self.transport is not None and not self.transport.is_closing():
            await self.push(answer)
            self.transport.close()

    async def smtp_DATA(self, arg: str) -> None:
        envelope = self.envelope
        if envelope is not None and envelope.rcpt_tos:
            answer = await self._destination.meet("data", envelope.rcpt_tos, self.transport)
            if answer is not None:
                await self.push(answer)
                return
        await super().smtp_DATA(arg)


def _say(record: dict[str, Any]) -> None:
    print(json.dumps(record), flush=True)


async def serve(destination: Destination, host: str, port: int) -> None:
    """Listens until SIGTERM or SIGINT, then prints the summary."""
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: ScriptedSmtp(destination), host, port)
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    bound = server.sockets[0].getsockname()
    shown = f"[{bound[0]}]:{bound[1]}" if ":" in bound[0] else f"{bound[0]}:{bound[1]}"
    _say({"event": "ready", "smtp": [shown]})
    await stop.wait()
    server.close()
    _say(destination.summary())


def _fail(reason: str) -> NoReturn:
    click.echo(f"floodgate sink: {reason}", err=True)
    sys.exit(2)


@commands.command("sink")
@click.option("--listen", required=True, metavar="HOST:PORT", help="Where to listen; port 0 is any free one.")
@click.option("--script", type=click.Path(path_type=Path), help="TOML file of [[rule]] tables: replies by recipient.")
@click.option("--quiet", is_flag=True, help="Print no line for each receipt.")
def command(listen: str, script: Path | None, quiet: bool) -> None:
    """A destination that accepts, defers, refuses, stalls by address.

    Prints a line of JSON when ready, one for each receipt, and a summary when it is stopped.
    """
    try:
        address = parse_address(listen, "--listen")
        rules = read_script(script) if script else ()
    except BadValue as error:
        _fail(str(error))
    try:
        asyncio.run(serve(Destination(rules, quiet=quiet), address.host, address.port))
    except OSError as error:
        click.echo(f"floodgate sink: cannot listen on {address}: {error.strerror or error}", err=True)
        sys.exit(1)
