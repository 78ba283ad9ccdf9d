"""A node that cannot start says why in one line (R8 and the rest)."""

import subprocess
import urllib.request
from pathlib import Path

import pytest

from tests.support.node import Node, running, until

pytestmark = pytest.mark.usefixtures("as_users_start_it")


def refused(node: Node) -> str:
    ended = subprocess.run(node.words, capture_output=True, text=True, timeout=60)
    assert (ended.returncode, ended.stdout) == (1, ""), ended.stderr
    return ended.stderr.splitlines()[-1]


@pytest.mark.parametrize("in_file", [False, True])
def test_r8_embedded_beside_another_url_is_refused(tmp_path: Path, in_file: bool) -> None:
    node = Node(tmp_path / "n1")
    if in_file:
        (tmp_path / "f.toml").write_text("[redis]\nurl = 'redis://:secret@h'\n")
        node.words += ["--config", str(tmp_path / "f.toml")]
    else:
        node.words += ["--set", "redis.url=redis://:secret@h"]
    assert refused(node) == "floodgate node: --embedded: redis.url says redis://:***@h; give one of the two"


def test_r8_the_urls_file_is_there_while_the_api_answers(tmp_path: Path) -> None:
    node = Node(tmp_path / "n1", workers=1)
    file = node.folder / "api.url"
    node.folder.mkdir()
    file.write_text("http://127.0.0.1:1\n")  # of a node that was killed
    with running(node):
        assert file.read_text() == node.ready["api"] + "\n"
        assert file.stat().st_mode & 0o777 == 0o644
        with urllib.request.urlopen(file.read_text().strip() + "/healthz", timeout=60) as answer:
            assert answer.status == 200
    assert not file.exists()


def test_r8_the_urls_file_names_an_address_that_can_be_reached(tmp_path: Path) -> None:
    with running(node := Node(tmp_path / "n1", workers=1, api__listen="0.0.0.0:0", api__allow_plaintext=True)):
        assert node.ready["api"].startswith("http://0.0.0.0:")
        url = (node.folder / "api.url").read_text()
        assert url == node.ready["api"].replace("0.0.0.0", "127.0.0.1") + "\n"


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("file/delivery.jsonl", "a part of its folder is a file; give another path"),
        ("file/below/delivery.jsonl", "a part of its folder is a file; give another path"),
        ("folder", "is a folder; give the path of a file in it"),
    ],
)
def test_a_log_that_cannot_be_written_ends_the_start(tmp_path: Path, path: str, reason: str) -> None:
    (tmp_path / "file").write_text("")
    (tmp_path / "folder").mkdir()
    line = refused(Node(tmp_path / "n1", journal__log_path=str(tmp_path / path)))
    assert line.startswith(f"floodgate node: journal.log_path: {tmp_path / path}")
    assert line.endswith(reason)


def test_a_reload_with_such_a_log_keeps_the_settings(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    settings = tmp_path / "f.toml"
    settings.write_text("")
    node = Node(tmp_path / "n1", workers=1)
    node.words += ["--config", str(settings)]
    with running(node):
        settings.write_text(f"[journal]\nlog_path = '{tmp_path}/file/delivery.jsonl'\n")
        assert node.process is not None
        node.process.send_signal(1)  # SIGHUP
        until(lambda: "settings are kept as they are: journal.log_path: " in node.errors())
        assert node.call("GET", "/healthz")[0] == 200
