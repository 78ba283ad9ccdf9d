"""250 means durable: what a node does with a store that could lose mail (promise 1)."""

import signal
import subprocess
import time
from pathlib import Path

import pytest

from tests.support.mail_stream import MailStream, Told, assert_story
from tests.support.node import Node, running, until
from tests.support.sink_thread import SinkThread
from tests.support.valkey import SAFE, Valkey

UNSAFE = {
    "appendfsync-everysec": (("--appendfsync", "everysec"), "appendfsync is everysec: set `appendfsync always`"),
    "no-aof": (("--appendonly", "no"), "appendonly is no: set `appendonly yes`"),
    "no-fsync-on-rewrite": (
        ("--no-appendfsync-on-rewrite", "yes"),
        "no-appendfsync-on-rewrite is yes: set `no-appendfsync-on-rewrite no`",
    ),
    "eviction": (("--maxmemory-policy", "allkeys-lru"), "maxmemory-policy is allkeys-lru: set `maxmemory-policy noevi"),
}


def start_of(node: Node) -> tuple[int, str, str]:
    """Exit status, standard output and standard error of a node that does not come up."""
    node.folder.mkdir()
    done = subprocess.run(node.words, capture_output=True, text=True, timeout=60, check=False)
    return done.returncode, done.stdout, done.stderr


@pytest.mark.parametrize("name", UNSAFE)
def test_a_node_refuses_to_start_on_an_unsafe_store_and_names_what_is_wrong(name: str, tmp_path: Path) -> None:
    options, reason = UNSAFE[name]
    valkey = Valkey(tmp_path / "valkey", options=SAFE + options)
    with running(valkey):
        status, output, errors = start_of(Node(tmp_path / "node", redis=valkey.url))
    assert status == 1
    assert output == ""
    assert reason in errors
    assert "Traceback" not in errors
    assert [word for word in UNSAFE.values() if word[1] in errors] == [UNSAFE[name]]


def test_a_node_refuses_a_store_whose_settings_it_may_not_read(tmp_path: Path) -> None:
    valkey = Valkey(tmp_path / "valkey")
    (tmp_path / "password").write_text("open sesame\n")
    with running(valkey):
        valkey.ask("ACL", "SETUSER", "floodgate", "on", ">open sesame", "~*", "&*", "+@all", "-config")
        login = {"redis__username": "floodgate", "redis__password_file": str(tmp_path / "password")}
        status, output, errors = start_of(Node(tmp_path / "node", redis=valkey.url, **login))
        assert (status, output) == (1, "")
        assert "CONFIG may not be read" in errors
        assert "allow CONFIG GET" in errors
        assert "Traceback" not in errors
        assert "sesame" not in errors
        valkey.ask("ACL", "SETUSER", "floodgate", "+config|get")
        with running(Node(tmp_path / "node", redis=valkey.url, workers=1, **login)):
            pass


def test_with_allow_unsafe_it_starts_warns_and_works(tmp_path: Path) -> None:
    valkey = Valkey(tmp_path / "valkey", options=(*SAFE, *UNSAFE["appendfsync-everysec"][0], *UNSAFE["eviction"][0]))
    sink = SinkThread()
    with running(valkey, sink):
        unsafe = Node(tmp_path / "node", redis=valkey.url, redis__allow_unsafe=True, delivery__route=sink.address)
        with running(unsafe):
            unsafe.send("a@example.com")
            until(lambda: sink.to("example.com"))
            until(lambda: unsafe.call("GET", "/readyz")[0] == 200)
    warnings = [line for line in unsafe.errors().splitlines() if "WARNING" in line and "the store is unsafe" in line]
    assert warnings
    assert all("appendfsync is everysec" in line and "maxmemory-policy is allkeys-lru" in line for line in warnings)


def test_nothing_is_accepted_while_the_server_was_replaced_by_an_unsafe_one(tmp_path: Path) -> None:
    valkey = Valkey(tmp_path / "valkey")
    sink = SinkThread()
    with running(valkey, sink):
        node = Node(tmp_path / "node", redis=valkey.url, delivery__route=sink.address, redis__timeout="2s")
        with running(node):
            with MailStream(node.smtp, "example.com") as stream:
                until(lambda: sum(told.accepted for told in stream.told) >= 50)
                valkey.stop(signal.SIGKILL)
                killed = time.time()
                valkey.options = (*SAFE, *UNSAFE["appendfsync-everysec"][0])
                valkey.start()
                until(lambda: is_unready_because(node, NAMED))  # for a moment the store may be away
                until(lambda: all(is_named(told) for told in stream.latest()))  # by the worker of each client
                noticed = time.time()
                until(lambda: len(stream.since(noticed)) >= 50)
                until(lambda: NAMED.removeprefix("the store ") in node.errors())  # the supervisor looks once a second
                while_unsafe = [told for told in stream.told if told.begun > noticed]
                valkey.stop(signal.SIGKILL)
                assert {(told.stage, told.code) for told in while_unsafe if told.text} <= {("MAIL", 451), (".", 451)}
                assert all(NAMED in told.text for told in while_unsafe if told.text)
                assert not [told for told in stream.told if told.accepted and told.begun > killed]
                valkey.options = SAFE
                valkey.start()
                safe = time.time()
                until(lambda: sum(told.accepted for told in stream.since(safe)) >= 50)
                until(lambda: node.call("GET", "/readyz")[0] == 200)
            assert_story(stream, sink, node)


NAMED = "the store is unsafe: appendfsync is everysec: set `appendfsync always`"


def is_unready_because(node: Node, reason: str) -> bool:
    status, body = node.call("GET", "/readyz")
    return status == 503 and reason in body["reason"]


def is_named(told: Told) -> bool:
    return (told.stage, told.code) == ("MAIL", 451) and NAMED in told.text
