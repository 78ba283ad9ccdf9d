"""A real PostgreSQL server for tests, on loopback, in a folder of its own."""

import os
import pathlib
import pwd
import shutil
import signal
import subprocess
import tempfile
import time

from tests.support.needs import tool
from tests.support.valkey import free_port

_USER = "postgres"  # a server refuses to run as root


class Postgres:
    """Its folder is not below those of pytest, which only their owner may enter."""

    def __init__(self) -> None:
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="floodgate-postgres-"))
        self.port = free_port()
        self.process: subprocess.Popen[bytes] | None = None
        self._as: list[str] = []
        if os.geteuid() == 0:
            user = pwd.getpwnam(_USER)
            os.chown(self.folder, user.pw_uid, user.pw_gid)
            self._as = ["setpriv", f"--reuid={user.pw_uid}", f"--regid={user.pw_gid}", "--clear-groups"]

    @property
    def url(self) -> str:
        return f"postgresql://floodgate@127.0.0.1:{self.port}/postgres"

    def start(self) -> "Postgres":
        data = self.folder / "data"
        if not (self.folder / "made").exists():
            self._run("initdb", "--no-sync", "--auth=trust", "--username=floodgate", "--encoding=UTF8", str(data))
            (self.folder / "made").touch()
        words = [*self._as, str(tool("postgres")), "-D", str(data), "-p", str(self.port), "-k", str(self.folder)]
        with (self.folder / "server.log").open("ab") as log:
            self.process = subprocess.Popen([*words, "-h", "127.0.0.1"], stdout=log, stderr=log, cwd=self.folder)
        deadline = time.monotonic() + 60
        while not self._answers():
            assert self.process.poll() is None, self.errors()
            assert time.monotonic() < deadline, self.errors()
            time.sleep(0.05)
        return self

    def stop(self, how: int = signal.SIGINT) -> None:
        """SIGINT: open sessions are ended; SIGQUIT: as in a crash."""
        if self.process is not None:
            self.process.send_signal(how)
            self.process.wait(60)
            self.process = None

    def remove(self) -> None:
        self.stop()
        shutil.rmtree(self.folder)

    def query(self, sql: str) -> list[str]:
        """The lines of the answer."""
        words = [*self._as, str(tool("psql")), "-X", "-A", "-t", "-d", self.url, "-c", sql]
        return subprocess.run(words, check=True, capture_output=True, text=True, cwd="/").stdout.splitlines()

    def errors(self) -> str:
        return (self.folder / "server.log").read_text("utf-8", "replace")

    def _answers(self) -> bool:
        words = [str(tool("pg_isready")), "-q", "-h", "127.0.0.1", "-p", str(self.port)]
        return subprocess.run(words, check=False).returncode == 0

    def _run(self, name: str, *words: str) -> None:
        subprocess.run([*self._as, str(tool(name)), *words], check=True, capture_output=True, cwd=self.folder)
