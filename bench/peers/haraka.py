"""Haraka as a relay: its outbound queue, two processes, one plugin that sends all mail to the sink."""

import json
import shutil
import subprocess
from pathlib import Path

from bench.peers.daemon import Daemon, free_port
from bench.peers.relays import FileQueue, Running

_PROCESSES = 2
_PLUGIN = """\
exports.hook_lookup_rdns = (next) => next(OK, 'source.test')
exports.hook_connect = (next, connection) => {
    connection.relaying = true
    next()
}
exports.hook_rcpt = (next) => next(OK)
exports.hook_get_mx = (next) => next(OK, [{ priority: 0, exchange: '%s', port: %s }])
"""


def files(route: str, port: int, held: bool) -> dict[str, str]:
    """The configuration: path and text of each file. `concurrency_max` is what its documentation gives."""
    host, _, sink = route.rpartition(":")
    return {
        "config/me": "haraka.bench.test\n",
        "config/plugins": "to_sink\n",
        "config/smtp.ini": f"listen=127.0.0.1:{port}\nnodes={_PROCESSES}\n",
        "config/outbound.ini": f"disabled={str(held).lower()}\nconcurrency_max=100\nenable_tls=false\ninet_prefer=v4\n",
        "config/log.ini": "[main]\nlevel=warn\n",
        "plugins/to_sink.js": _PLUGIN % (host, sink),
    }


class Haraka:
    """Haraka in the comparison."""

    name = "haraka"
    durability = "the queue file is synced before the 250, its directory is not; what was delivered is removed unsynced"

    def __init__(self, root: Path) -> None:
        """`root`: where its package lies."""
        self._root = root
        node = subprocess.run(["node", "--version"], capture_output=True, text=True, check=True).stdout.strip()
        self.version = f"Haraka {json.loads((root / 'package.json').read_text())['version']} on Node {node}"

    def configured(self, held: bool) -> str:
        return "\n".join(f"{path}:\n{text}" for path, text in files("SINK:PORT", 0, held).items())

    def start(self, place: Path, route: str, held: bool) -> Running:
        port = free_port()
        for path, text in files(route, port, held).items():
            target = place / path
            target.parent.mkdir(exist_ok=True)
            target.write_text(text)
        shutil.copy(self._root / "config" / "connection.ini", place / "config")  # it does not start without one
        queue = place / "queue"
        queue.mkdir()
        command = ["node", str(self._root / "bin" / "haraka"), "-c", str(place)]
        return FileQueue(Daemon(command, port, place / "log"), queue)
