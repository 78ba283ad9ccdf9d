"""A store that does not answer: never a 250 that is lost, never a 451 that is delivered (F-10, F-19)."""

import signal
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.mail_stream import MailStream, assert_story
from tests.support.node import Node, running, until
from tests.support.sink_thread import SinkThread
from tests.support.valkey import Valkey


class StoreAndSink:
    def __init__(self, folder: Path) -> None:
        self.valkey = Valkey(folder / "valkey")
        self.sink = SinkThread()
        self.folder = folder

    def node(self) -> Node:
        sets = {"redis__timeout": "500ms", "delivery__route": self.sink.address, "node__drain_timeout": "3s"}
        return Node(self.folder / "node", redis=self.valkey.url, **sets)


@pytest.fixture
def place(tmp_path: Path) -> Iterator[StoreAndSink]:
    made = StoreAndSink(tmp_path)
    with running(made.valkey, made.sink):
        yield made


def test_f19_a_frozen_store_neither_loses_what_was_accepted_nor_delivers_what_was_refused(place: StoreAndSink) -> None:
    node = place.node()
    with running(node):
        with MailStream(node.smtp, "example.com", clients=8) as stream:
            until(lambda: sum(told.accepted for told in stream.told) >= 50)
            for seconds in (0.2, 0.7, 2.0):
                place.valkey.stop(signal.SIGSTOP)
                frozen = time.time()
                time.sleep(seconds)  # the fault itself, not a wait for something
                thawing = time.time()
                place.valkey.stop(signal.SIGCONT)
                thawed = time.time()
                until(lambda thawed=thawed: sum(t.accepted for t in stream.told if t.begun > thawed) >= 50)
                assert not [t for t in stream.told if t.accepted and t.begun > frozen and t.ended < thawing]
        told = Counter((t.stage, t.code) for t in stream.told if not t.accepted)
        assert told, "nothing was refused: the test froze nothing"
        assert set(told) <= {(".", 451), (".", 0), ("MAIL", 451), ("connect", 0), ("MAIL", 0)}, told
        assert max(t.ended - t.begun for t in stream.told) < 20
        reached = assert_story(stream, place.sink, node)
        assert max(reached.values()) == 1, "the store was away, and no worker died"


def test_f10_a_killed_store_is_4xx_or_silence_until_it_is_back(place: StoreAndSink) -> None:
    node = place.node()
    with running(node):
        with MailStream(node.smtp, "example.com", clients=4) as stream:
            until(lambda: sum(told.accepted for told in stream.told) >= 50)
            place.valkey.stop(signal.SIGKILL)
            killed = time.time()
            until(
                lambda: len([t for t in stream.told if t.begun > killed and (t.stage, t.code) == ("MAIL", 451)]) >= 20
            )
            until(lambda: node.call("GET", "/readyz")[0] == 503)
            answered = {t.code for t in stream.told if t.begun > killed}
            place.valkey.start()
            back = time.time()
            assert answered <= {451, 421, 0}
            until(lambda: sum(told.accepted for told in stream.since(back)) >= 50)
            until(lambda: node.call("GET", "/readyz")[0] == 200)
        reached = assert_story(stream, place.sink, node)
        assert sum(reached.values()) - len(reached) <= 200, "only what was under way can come twice"
