"""The profile of a real server: the commands that it ran."""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from bench.profile_legs import function_calls
from bench.profile_server import ServerLink, ServerWatch
from tests.support.valkey import SAFE, Valkey

_LIBRARY = """#!lua name=some
server.register_function('some_step', function(keys) return server.call('INCR', keys[1]) end)"""


@pytest.fixture
def url() -> Iterator[str]:
    """Short: the name of a socket has little room."""
    with tempfile.TemporaryDirectory(prefix="fg-") as folder:
        socket = str(Path(folder) / "socket")
        server = Valkey(Path(folder), options=(*SAFE, "--unixsocket", socket, "--slowlog-max-len", "77")).start()
        yield f"unix://{socket}"
        server.stop()


def test_every_command_is_counted_and_the_server_left_as_it_was(url: str) -> None:
    link = ServerLink(url)
    link.ask("FUNCTION", "LOAD", _LIBRARY)
    before = link.ask("CONFIG", "GET", "slowlog-*")
    with ServerWatch(url) as watch:
        for _ in range(30):
            link.ask("FCALL", "some_step", "1", "key")
            link.ask("GET", "key")
    spent = watch.spent()
    assert spent["some_step"].calls == 30
    assert spent["some_step"].us > 0
    assert spent["get"].calls == 30
    assert watch.missed <= 3  # what was asked while the watcher looked
    assert function_calls(url) == 30
    assert link.ask("CONFIG", "GET", "slowlog-*") == before
    assert b"77" in before
    with pytest.raises(OSError, match="unknown command"):
        link.ask("NONSENSE")
    link.close()
