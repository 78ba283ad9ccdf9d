"""The data folder on a file system of 60 MB that others fill: mail is refused while orders and outcomes have room."""

import contextlib
import os
import random
import shutil
import signal
import smtplib
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.needs import needs
from tests.support.node import Node, running, until
from tests.support.rest import ask
from tests.support.sink_thread import SinkThread

pytestmark = [needs("mount"), pytest.mark.skipif(os.geteuid() != 0, reason="only root may mount a file system")]

MIB = 1024 * 1024
FULL = (452, "4.3.1 insufficient storage, try again later")


class Disk:
    """A file system of 60 MB, and a file in it that takes up room."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._filler = folder / "filler"

    def start(self) -> None:
        self.folder.mkdir()
        done = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=60M", "tmpfs", str(self.folder)], check=False)
        if done.returncode:
            pytest.skip("this machine lets nobody mount a file system")

    def stop(self) -> None:
        subprocess.run(["umount", "-l", str(self.folder)], check=True)

    def leave(self, free: int) -> None:
        """Fill it until so many bytes are free."""
        with self._filler.open("ab", buffering=0) as file, contextlib.suppress(OSError):  # it may be full before
            while (now := shutil.disk_usage(self.folder).free) > free:
                file.write(bytes(min(MIB, now - free)))

    def clear(self) -> None:
        self._filler.unlink(missing_ok=True)


class Place:
    def __init__(self, disk: Disk, sink: SinkThread, node: Node) -> None:
        self.disk = disk
        self.sink = sink
        self.node = node
        self._pause = ""

    def give(self, to: str, tag: str) -> tuple[int, str]:
        """The reply to a message of 50 KB, at MAIL or at its end."""
        body = f"X-MQ-Tag: {tag}\nSubject: x\n\n{random.randbytes(25_000).hex(chr(10), 32)}\n".replace("\n", "\r\n")
        with smtplib.SMTP(*self.node.smtp, timeout=30) as client:
            client.ehlo()
            code, text = client.mail("from@example.org")
            if code == 250:
                assert client.rcpt(to)[0] == 250
                code, text = client.data(body.encode())
        return code, text.decode()

    def fill(self, tag: str) -> list[str]:
        """Send until there is no room; the recipients that were accepted."""
        taken: list[str] = []
        while len(taken) < 500:
            to = f"{tag}{len(taken)}@full.example"
            said = self.give(to, tag)
            if said[0] != 250:
                assert said == FULL
                return taken
            taken.append(to)
        raise AssertionError("it never became full")

    def hold(self) -> None:
        """Later mail waits, and no retry of it writes anything."""
        status, pause = self.node.call("POST", "/v1/pauses?wait=50s", {"domain": "full.example"})
        assert status in (200, 201), pause
        self._pause = pause["id"]

    def release(self) -> None:
        assert self.node.call("DELETE", f"/v1/pauses/{self._pause}?wait=50s")[0] == 200

    def readyz(self) -> tuple[int, str]:
        answer = ask(self.node.ready["api"], "GET", "/readyz", token=None)
        return answer.status, answer.body.get("reason", "")

    def arrived(self) -> set[str]:
        return {to for message in self.sink.to("full.example") if message.taken for to in message.recipients}

    def said(self, words: str) -> int:
        return sum(words in line for line in self.node.errors().splitlines())


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    folder = tmp_path_factory.mktemp("disk")
    disk, sink = Disk(folder / "small"), SinkThread()
    with running(disk, sink):
        data = disk.folder / "data"
        node = Node(folder / "n1", workers=1, delivery__route=sink.address)
        node.words[node.words.index("--data-dir") + 1] = str(data)
        node.log = data / "log" / "delivery.jsonl"
        with running(node):
            yield Place(disk, sink, node)


def test_r4_a_full_disk_refuses_mail_and_leaves_room_for_orders_and_outcomes(place: Place) -> None:
    node, disk = place.node, place.disk
    assert place.readyz()[0] == 200
    place.hold()
    assert [place.give(f"stop{n}@full.example", "stop")[0] for n in range(20)] == [250] * 20
    disk.leave(16 * MIB)
    taken = place.fill("go")
    assert taken, "there was room for nothing"
    disk.leave(7 * MIB)
    until(lambda: place.readyz() == (503, "no space left in the data folder or that of the log"))
    until(lambda: place.give("mail@full.example", "go") == FULL)
    disk.leave(2 * MIB)  # others go on filling it, far into what is kept
    status, rule = node.call("POST", "/v1/errors?wait=50s&until=swept", {"code": 554, "tag": "stop"})
    assert (status, rule["effective"]) == (201, True)
    until(lambda: node.statement("stop")["intercepted"]["queued"] == 20)
    place.release()
    until(lambda: place.arrived() == set(taken))
    until(lambda: node.statement("go")["delivered"] == len(taken))
    until(lambda: len([e for e in node.events() if e["type"] == "Delivery"]) == len(taken))
    assert place.give("late@full.example", "go") == FULL
    until(lambda: place.said("no space left in ") == 1)
    disk.clear()
    until(lambda: place.give("after@full.example", "go")[0] == 250)
    until(lambda: place.readyz()[0] == 200)
    until(lambda: "after@full.example" in place.arrived())
    assert place.said("no space left in ") == 1
    until(lambda: place.said("there is space again in ") == 1)
    assert not place.arrived() & {"mail@full.example", "late@full.example"}
    assert "Traceback" not in node.errors()


def test_r4_a_disk_full_of_mail_that_has_gone_out_since_has_room_again(place: Place) -> None:
    """The server's file keeps what was delivered until it is written anew."""
    node = place.node
    place.disk.clear()
    until(lambda: place.give("before@full.example", "own")[0] == 250)
    place.hold()
    taken = [f"own{n}@full.example" for n in range(200)]
    assert {place.give(to, "own")[0] for to in taken} == {250}
    said = place.said("there is space again in ")
    place.disk.leave(7 * MIB)
    until(lambda: place.readyz()[0] == 503)
    place.release()
    until(lambda: place.arrived() >= set(taken))
    until(lambda: place.said("there is space again in ") > said)
    until(lambda: place.give("own-after@full.example", "own")[0] == 250)
    until(lambda: place.readyz()[0] == 200)
    until(lambda: "own-after@full.example" in place.arrived())
    assert "Traceback" not in node.errors()


def test_r4_a_disk_that_others_fill_to_the_last_byte_ends_the_server_and_loses_nothing(place: Place) -> None:
    node, disk = place.node, place.disk
    disk.clear()
    until(lambda: place.readyz()[0] == 200)
    before, ended = place.said("no space left in "), place.said("the disk is full")
    place.hold()
    until(lambda: place.give("kept@full.example", "kept")[0] == 250)
    disk.leave(0)
    until(lambda: place.said("the disk is full") > ended)
    until(lambda: place.readyz()[0] == 503)
    until(lambda: place.said("no space left in ") == before + 1)
    disk.clear()
    until(lambda: place.readyz()[0] == 200)
    place.release()
    until(lambda: "kept@full.example" in place.arrived())
    until(lambda: place.give("new@full.example", "kept")[0] == 250)
    until(lambda: node.statement("kept")["delivered"] == 2)
    assert place.said("no space left in ") == before + 1
    assert place.said("the disk is full") == ended + 1
    assert "Traceback" not in node.errors()
    assert node.process is not None
    assert node.process.poll() is None, signal.strsignal(-node.process.returncode)
