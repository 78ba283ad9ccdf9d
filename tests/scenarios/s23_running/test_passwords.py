"""A password is never shown (R1), and a wrong one is said at once (R3)."""

import contextlib
import json
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from tests.support.files import contents
from tests.support.node import Node, command_of, running, until
from tests.support.valkey import SAFE, Valkey, free_port

SECRET = "hunter2/and@more"  # with what a parser takes for the end of a host
ENCODED = "hunter2%2Fand%40more"


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Valkey]:
    """A server that wants the password; `ask` speaks to it as nobody, who may only say PING."""
    folder = tmp_path_factory.mktemp("guarded")
    (folder / "users.acl").write_text(f"user default on >{SECRET} ~* &* +@all\nuser app on >{SECRET} ~* &* +@all\n")
    made = Valkey(folder, options=(*SAFE, "--aclfile", str(folder / "users.acl")))
    made.wait_until_up = lambda: until(lambda: b"NOAUTH" in _ping(made))  # type: ignore[method-assign]
    made.start()
    yield made
    made.stop()


def _ping(valkey: Valkey) -> bytes:
    try:
        return valkey.ask("PING")
    except OSError:
        return b""


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        (f"redis://:{ENCODED}@127.0.0.1:PORT", "redis://:***@127.0.0.1:PORT"),
        (
            f"redis://127.0.0.1:PORT/0?username=app&password={ENCODED}",
            "redis://127.0.0.1:PORT/0?username=app&password=***",
        ),
    ],
)
@pytest.mark.usefixtures("as_users_start_it")
def test_r1_a_password_in_the_url_is_shown_nowhere(guarded: Valkey, tmp_path: Path, url: str, shown: str) -> None:
    settings = tmp_path / "floodgate.toml"
    url, shown = (text.replace("PORT", str(guarded.port)) for text in (url, shown))
    settings.write_text(f"[redis]\nurl = '{url}'\ntimeout = '2s'\n")
    node = Node(tmp_path / "n1", workers=1)
    node.words = [word for word in node.words if word != "--embedded"] + ["--config", str(settings)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FLOODGATE_LOG", "DEBUG")
        with running(node):
            assert node.ready["redis"] == shown
            assert node.process is not None
            children = psutil.Process(node.process.pid).children(recursive=True)
            told = " ".join(map(command_of, children))
            node.send("a@example.test", ("t",))
            told += json.dumps([node.call("GET", path)[1] for path in ("/v1/workers", "/v1/queues", "/readyz")])
            guarded_pid = guarded.process.pid if guarded.process else 0
            os.kill(guarded_pid, 19)  # SIGSTOP: errors about a store that does not answer are made, too
            try:
                until(lambda: node.call("GET", "/readyz")[0] == 503)
            finally:
                os.kill(guarded_pid, 18)
            until(lambda: node.call("GET", "/readyz")[0] == 200)
    for command in (["config", "show"], ["config", "show", "--json"], ["config", "check"]):
        ran = subprocess.run(
            [sys.executable, "-m", "mta.cli.main", *command, "--config", str(settings)], capture_output=True, text=True
        )
        told += ran.stdout + ran.stderr
    told += "".join(content.decode(errors="replace") for _, content in contents(node.folder))
    for part in ("hunter2", "and@more", "and%40more"):
        assert part not in told


WRONG = {
    "wrong in a file": (["redis.password_file=FILE"], "the password in FILE; correct it"),
    "wrong user": (["redis.password_file=FILE", "redis.username=who"], "the password in FILE; correct it"),
    "none": ([], "a client without a password; put the password into a file, and its path here"),
}


@pytest.mark.parametrize("case", WRONG)
@pytest.mark.parametrize("kind", ["node", "check"])
def test_r3_a_wrong_password_ends_the_start_naming_password_file(
    guarded: Valkey, tmp_path: Path, case: str, kind: str
) -> None:
    sets, refused = WRONG[case]
    file = tmp_path / "password"
    file.write_text("not " + SECRET + "\n")
    sets = [*sets, f"redis.url={guarded.url}", "smtp.listen=127.0.0.1:0", "api.listen=127.0.0.1:0"]
    command = {"node": ["node", "--data-dir", str(tmp_path / "data")], "check": ["config", "check", "--live"]}[kind]
    words = [sys.executable, "-m", "mta.cli.main", *command]
    if kind == "check":
        words += ["--set", f"node.data_dir={tmp_path / 'data'}"]
    for word in sets:
        words += ["--set", word.replace("FILE", str(file))]
    ran = subprocess.run(words, capture_output=True, text=True, timeout=60)
    assert (ran.returncode, ran.stdout) == (1, "")
    line = ran.stderr.splitlines()[-1]
    refused = refused.replace("FILE", str(file))
    where = f"redis.password_file: the server at 127.0.0.1:{guarded.port} refuses {refused} (the server says: "
    assert line.startswith(f"floodgate{' node' if kind == 'node' else ''}: {where}")
    assert "hunter2" not in ran.stderr


def test_r3_the_right_password_is_the_first_line_of_the_file(guarded: Valkey, tmp_path: Path) -> None:
    (tmp_path / "password").write_text(SECRET + "\nwhat it is for\n")
    sets = {"redis__password_file": str(tmp_path / "password"), "redis__username": "app"}
    with running(node := Node(tmp_path / "n1", redis=guarded.url, workers=1, **sets)):
        assert node.call("GET", "/v1/errors") == (200, [])


def test_r3_a_store_that_is_not_there_is_waited_for_with_the_seconds_said(tmp_path: Path) -> None:
    late = Valkey(tmp_path / "late")
    late.port = free_port()
    node = Node(tmp_path / "n1", redis=late.url, workers=1)
    node.folder.mkdir()
    with (node.folder / "node.log").open("w") as errors:
        process = subprocess.Popen(node.words, stdout=subprocess.PIPE, stderr=errors, text=True)
    try:
        first = until(lambda: [line for line in node.errors().splitlines() if "waited 0 s" in line])
        assert f"for the store at 127.0.0.1:{late.port}: " in first[0]
        until(lambda: "waited 5 s for the store" in node.errors())
        late.start()
        assert process.stdout is not None
        assert json.loads(process.stdout.readline())["event"] == "ready"
    finally:
        process.terminate()
        process.wait(60)
        late.stop()


@pytest.mark.parametrize("answer", [b"220 mx.example ESMTP\r\n", b"HTTP/1.1 400 Bad Request\r\n\r\n"])
@pytest.mark.parametrize("kind", ["node", "check"])
def test_r3_a_server_that_speaks_something_else_ends_the_start_naming_the_url(
    tmp_path: Path, kind: str, answer: bytes
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]

        def serve() -> None:
            with contextlib.suppress(OSError):
                while True:
                    connection, _ = other.accept()
                    connection.sendall(answer)
                    kept.append(connection)

        kept: list[socket.socket] = []
        threading.Thread(target=serve, daemon=True).start()
        data = tmp_path / "data"
        words = {"node": ["node"], "check": ["config", "check", "--live"]}[kind]
        sets = [f"node.data_dir={data}", f"redis.url=redis://127.0.0.1:{port}"]
        for word in [*sets, "smtp.listen=127.0.0.1:0", "api.listen=127.0.0.1:0"]:
            words += ["--set", word]
        ran = subprocess.run([sys.executable, "-m", "mta.cli.main", *words], capture_output=True, text=True, timeout=60)
        other.shutdown(socket.SHUT_RDWR)
        for connection in kept:
            connection.close()
    where = f"redis.url: the server at 127.0.0.1:{port} does not speak the Redis protocol; correct the URL"
    assert (ran.returncode, ran.stdout) == (1, "")
    assert ran.stderr.splitlines()[-1] == f"floodgate{' node' if kind == 'node' else ''}: {where}"
