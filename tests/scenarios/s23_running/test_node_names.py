"""One living node uses a name; the same data folder is the same node (R2)."""

import json
import signal
import subprocess
import tempfile
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.scenarios.s23_running.conftest import Place
from tests.support.files import below
from tests.support.node import Node, running, until

QUICK = {"rules__max_staleness": "1s", "delivery__lease": "5s"}


def node(place: Place, folder: str, name: str = "n1", **sets: Any) -> Node:
    made = Node(place.folder / folder, name, place.valkey.url, workers=1, **QUICK, **sets)
    made.token = None  # each makes its own
    return made


@pytest.fixture(scope="module")
def first(place: Place) -> Iterator[Node]:
    made = node(place, "first")
    with running(made):
        yield made


def refused(place: Place, second: Node) -> str:
    """The last line of a node that does not start; it must have ended with status 1."""
    ended = subprocess.run(second.words, capture_output=True, text=True, timeout=60)
    assert (ended.returncode, ended.stdout) == (1, ""), ended.stderr
    return ended.stderr.splitlines()[-1]


def orders(at: Node, token: str) -> int:
    request = urllib.request.Request(at.ready["api"] + "/v1/errors", headers={"Authorization": f"Bearer {token}"})
    with urllib.request.urlopen(request, timeout=60) as answer:
        assert json.loads(answer.read()) == []
        return int(answer.status)


def token_of(one: Node) -> str:
    return (one.folder / "admin.token").read_text().strip()


def test_r2_a_second_node_of_the_name_is_refused_while_the_first_lives(place: Place, first: Node) -> None:
    tokens = place.valkey.ask("HGETALL", "fg:{meta}:tokens")
    line = refused(place, node(place, "second"))
    assert first.process is not None
    who = f"another node called 'n1' (host {line.partition('(host ')[2].partition(',')[0]}, process {first.process.pid}"
    assert line == (
        f"floodgate node: node.name: {who}, data in {first.folder}) is running; give this node a name of its own"
    )
    assert place.valkey.ask("HGETALL", "fg:{meta}:tokens") == tokens, "the token of the first is as it was"
    assert orders(first, token_of(first)) == 200


def test_r2_a_second_node_in_the_same_data_folder_is_refused(place: Place, first: Node) -> None:
    line = refused(place, node(place, "first", name="n2"))
    assert line == (
        f"floodgate node: node.data_dir: another node runs in {first.folder}; stop it, or give another folder"
    )


def test_r2_each_nodes_own_token_opens_every_api_of_the_cluster(place: Place, first: Node) -> None:
    other = node(place, "other", name="n2")
    with running(other):
        tokens = {token_of(first), token_of(other)}
        assert len(tokens) == 2
        until(lambda: all(_opens(at, token) for at in (first, other) for token in tokens))
    with running(node(place, "new folder", name="n2")):
        assert "used the name last" not in (place.folder / "new folder" / "node.log").read_text(), "n2 said goodbye"
        until(lambda: _opens(first, token_of(first)))


def _opens(at: Node, token: str) -> bool:
    try:
        return orders(at, token) == 200
    except urllib.error.HTTPError:
        return False


def test_r2_the_same_folder_starts_at_once_after_a_kill_and_keeps_its_token(place: Place) -> None:
    killed = node(place, "killed", name="n3")
    killed.start()
    token = token_of(killed)
    killed.stop(signal.SIGKILL)
    with running(killed):
        assert "used the name last" not in killed.errors()
        assert token_of(killed) == token
        assert orders(killed, token) == 200


def test_r2_a_stopped_node_loses_its_name_after_the_lease_and_ends_when_it_goes_on(place: Place) -> None:
    stopped, heir = node(place, "n4-stopped", name="n4"), node(place, "n4-heir", name="n4")
    stopped.start()
    assert stopped.process is not None
    stopped.process.send_signal(signal.SIGSTOP)
    try:
        with running(heir):
            assert "used the name last; looking for up to 5 s whether it lives" in heir.errors()
            stopped.process.send_signal(signal.SIGCONT)
            assert stopped.process.wait(45) == 1
            assert "runs, too; this node ends" in stopped.errors()
            assert orders(heir, token_of(heir)) == 200
    finally:
        stopped.stop(signal.SIGKILL)


def test_r2_a_flushed_store_is_no_reason_to_end(place: Place, first: Node) -> None:
    place.valkey.ask("HDEL", "fg:{meta}:nodes", "n1")
    until(lambda: b'"identity"' in place.valkey.ask("HGET", "fg:{meta}:nodes", "n1"))
    assert first.process is not None
    assert first.process.poll() is None


@pytest.fixture
def short_path() -> Iterator[Path]:
    """A socket's name below it is not too long."""
    with tempfile.TemporaryDirectory(prefix="fg-") as folder:
        yield Path(folder)


def test_k12_a_new_data_folder_is_for_its_user_alone_whatever_the_umask(short_path: Path) -> None:
    made = Node(short_path / "above" / "data", workers=1)
    made.folder, made.token = short_path / "outside", None
    made.words = ["sh", "-c", 'umask 0; exec "$@"', "sh", *made.words]
    data = short_path / "above" / "data"
    with running(made):
        assert data.stat().st_mode & 0o777 == 0o700
        found = [(data.parent, data.parent.stat()), *below(data.parent)]
        assert [path for path, status in found if status.st_mode & 0o022] == []
        assert (data / "admin.token").stat().st_mode & 0o777 == 0o600
