"""Readable transcripts, run against the machine in memory and against a real listener.

`C: ` is sent with CRLF (Python escapes are read: `\\r`, `\\xff`), `c: ` without it, consecutive ones as one segment;
`S: ` is the whole next reply line as a regular expression, `S: <eof>` the end of the connection;
`! key=value` before the first line sets a key of the smtp settings; `#` is a comment.
"""

import asyncio
import re
from pathlib import Path

import pytest

from mta.model.outcomes import Reply
from mta.smtp.server_machine import ServerMachine
from mta.smtp.server_session import Limits, State, Trust
from tests.support.conditions import PATIENCE
from tests.support.intake import intake, make_settings

DIALOGS = sorted(Path(__file__).parent.glob("*.dialog"))


def load(path):
    options, steps = {}, []
    for line in path.read_text(encoding="ascii").splitlines():
        if line.startswith("! "):
            key, value = line[2:].split("=")
            options[key] = (value,) if "/" in value else int(value) if value.isdigit() else value
        elif line[:3] in ("C: ", "c: "):
            data = line[3:].encode().decode("unicode_escape").encode("latin-1") + (b"\r\n" if line[0] == "C" else b"")
            if steps and steps[-1][0] == "C":
                steps[-1] = ("C", steps[-1][1] + data)
            else:
                steps.append(("C", data))
        elif line.startswith("S: "):
            steps.append(("S", line[3:]))
        elif line and not line.startswith("#"):
            raise AssertionError(f"{path.name}: {line!r}")
    return options, steps


def test_there_are_dialogs():
    assert len(DIALOGS) >= 8


@pytest.mark.parametrize("path", DIALOGS, ids=lambda path: path.stem)
def test_dialog_in_memory(path):
    options, steps = load(path)
    smtp = make_settings(**options).smtp
    may_relay = "trusted_networks" not in options
    machine = ServerMachine(
        smtp.hostname,
        Trust(may_relay, normalizes=may_relay and smtp.bare_newline == "normalize"),
        Limits(smtp.max_message_size, smtp.max_recipients, smtp.max_errors),
    )
    machine.greet()
    output = b""
    for kind, what in steps:
        if kind == "C":
            message = machine.receive(what)
            while message is not None:
                message = machine.reply_to_data(Reply(250, "2.0.0", "queued as 01ARZ3NDEKTSV4RRFFQ69G5FAV"))
            continue
        output += machine.take_output()
        if what == "<eof>":
            assert machine.state is State.CLOSED
            continue
        line, _, output = output.partition(b"\r\n")
        assert re.fullmatch(what, line.decode()), (what, line)
    assert output + machine.take_output() == b""


@pytest.mark.parametrize("path", DIALOGS, ids=lambda path: path.stem)
async def test_dialog_at_a_listener(path):
    options, steps = load(path)
    async with intake(**options) as running, asyncio.timeout(PATIENCE):
        reader, writer = await asyncio.open_connection("127.0.0.1", running.port)
        for kind, what in steps:
            if kind == "C":
                writer.write(what)
                continue
            line = await reader.readline()
            if what == "<eof>":
                assert line == b""
                continue
            assert re.fullmatch(what, line.decode().removesuffix("\r\n")), (what, line)
        writer.close()
