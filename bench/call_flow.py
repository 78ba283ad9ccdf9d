"""A flow of mail over HTTP, one message a call: from the source through a node to the sink, to the last message."""

import json
import os
import subprocess
import sys
import time
from types import TracebackType
from typing import Any

from bench.flow import Load, Mark
from bench.processes import Node, RunVoid, Sink
from bench.usage import server_version, spent, usage

_STILL_FOR = 30.0
_ENDLESS = 10**8 - 1


class CallFlow:
    """One source at work; leaving the context stops it."""

    def __init__(self, node: Node, sink: Sink, load: Load, rate: float = 0.0, connections: int = 16) -> None:
        """`rate`: calls a second, on and on until `end`; 0 = the messages of the load, as fast as they are answered."""
        self._node, self._sink = node, sink
        sink.account()
        self._used = usage(node.family())
        door = str(node.ready_line["inject"][0])
        command = [sys.executable, "-m", "bench.calls", "--target", door.removeprefix("http://"), "--shape", "one"]
        command += ["--recipients", "1", "--size", str(load.size), "--domains", str(load.domains)]
        command += ["--connections", str(connections), "--calls", str(_ENDLESS if rate else load.messages)]
        command += ["--rate", str(rate), "--until-told"] if rate else []
        environ = os.environ | {"FLOODGATE_TOKEN": node.token}
        self._source = subprocess.Popen(command, env=environ, stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def __enter__(self) -> "CallFlow":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._source.poll() is None:
            self._source.kill()
            self._source.wait()

    def mark(self) -> Mark:
        """How much the sink has received so far. Raises RunVoid."""
        if self._source.poll() is not None:
            raise RunVoid("the source ended before it was told to")
        return Mark(time.monotonic(), int(self._sink.stats()["unique"]))

    def end(self) -> dict[str, Any]:
        """Once all is received. Raises RunVoid."""
        text = self._source.communicate()[0]
        if not text.strip():
            raise RunVoid(f"the source ended with status {self._source.returncode} and no result")
        sent: dict[str, Any] = json.loads(text)
        if sent["accepted"] != sent["calls"]:
            raise RunVoid(f"{sent['calls'] - sent['accepted']} calls were refused: {sent['refused']}")
        until_received(self._sink, sent["accepted"])
        self._sink.account()
        processes = spent(self._used, usage(self._node.family()))
        processes["source"] = {"cpu_seconds": sent["cpu_seconds"], "peak_rss_mib": 0.0}
        return {
            "messages": sent["accepted"],
            "rate": round(sent["accepted"] / (sent["last"] - sent["first"]), 1),
            "call_ms": sent["call_ms"],
            "processes": processes,
            "server": server_version(self._node.family()),
        }


def until_received(sink: Sink, wanted: int) -> None:
    """Raises RunVoid when no more comes."""
    count, moved = 0, time.monotonic()
    while count < wanted:
        time.sleep(0.05)
        now = int(sink.stats()["unique"])
        if now != count:
            count, moved = now, time.monotonic()
        elif time.monotonic() - moved > _STILL_FOR:
            raise RunVoid(f"{count} of {wanted} deliveries were received, and no more come")
