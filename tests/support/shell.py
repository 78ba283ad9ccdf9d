"""The client commands as people and scripts call them: programs of their own against a live node."""

import os
import shlex
import subprocess
import sys
from subprocess import PIPE
from typing import Any

from tests.support.command_forks import Said, floodgate
from tests.support.node import Node
from tests.support.sink_thread import SinkThread


class Shell:
    """`floodgate` with the environment of somebody on the node's machine."""

    def __init__(self, node: Node, sink: SinkThread) -> None:
        self.node = node
        self.sink = sink
        self.environ = {name: value for name, value in os.environ.items() if not name.startswith("FLOODGATE_")}
        self.environ["FLOODGATE_URL"] = node.ready["api"]
        self.environ["FLOODGATE_DATA_DIR"] = str(node.folder)

    def sh(self, line: str) -> Said:
        """A line as the program printed it, such as `floodgate errors undo ID`."""
        program, *words = shlex.split(line)
        assert program == "floodgate"
        return self.run(*words)

    def start(self, *words: str, out: Any = PIPE, err: Any = PIPE, **environ: str) -> "subprocess.Popen[str]":
        command = [sys.executable, "-m", "mta.cli.main", *words]
        return subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=out, stderr=err, text=True, env=self.environ | environ
        )

    def run(self, *words: str, **environ: str) -> Said:
        return floodgate(*words, environ=self.environ | environ)
