"""A master, its replica, and three sentinels that make the replica master when the master is gone."""

import pathlib
import signal
import subprocess
import time

from tests.support.valkey import Valkey, ask, binary, free_port

NAME = "main"
_CONFIG = """port {port}
bind 127.0.0.1
dir {folder}
sentinel monitor {name} 127.0.0.1 {master} 2
sentinel down-after-milliseconds {name} 3000
sentinel failover-timeout {name} 5000
"""


class Sentinels:
    """Started and stopped as a whole; `url` is what a node is given."""

    def __init__(self, folder: pathlib.Path, options: tuple[str, ...] = ()) -> None:
        self.master = Valkey(folder / "master")
        self.replica = Valkey(folder / "replica")
        for server in (self.master, self.replica):
            server.options += ("--repl-diskless-sync-delay", "0", *options)
        self._folder = folder
        self.ports = [free_port() for _ in range(3)]
        self._sentinels: list[subprocess.Popen[bytes]] = []

    @property
    def url(self) -> str:
        return f"redis+sentinel://{','.join(f'127.0.0.1:{port}' for port in self.ports)}/{NAME}"

    def start(self) -> "Sentinels":
        self.master.start()
        self.replica.start().follow(self.master)
        for number, port in enumerate(self.ports):
            folder = self._folder / f"sentinel{number}"
            folder.mkdir()
            config = folder / "sentinel.conf"
            config.write_text(_CONFIG.format(port=port, folder=folder, name=NAME, master=self.master.port))
            with (folder / "sentinel.log").open("ab") as log:
                words = [binary(), str(config), "--sentinel"]
                self._sentinels.append(subprocess.Popen(words, stdout=log, stderr=log))
        deadline = time.monotonic() + 60
        while not all(self._is_ready(port) for port in self.ports):
            assert time.monotonic() < deadline, "the sentinels do not see each other and the replica"
            time.sleep(0.05)
        return self

    def _is_ready(self, port: int) -> bool:
        try:
            said = ask(port, "SENTINEL", "MASTER", NAME)
        except OSError:
            return False
        words = said.split(b"\r\n")
        state = dict(zip(words[2::4], words[4::4], strict=False))
        return (state.get(b"num-slaves"), state.get(b"num-other-sentinels")) == (b"1", b"2")

    def stop(self) -> None:
        for sentinel in self._sentinels:
            sentinel.kill()
            sentinel.wait(60)
        for server in (self.master, self.replica):
            server.stop(signal.SIGKILL)
