import contextlib
import smtplib
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from bench.flow import Load, result_of, start_source
from bench.instants import read_instants
from bench.processes import Child

NO_VERIFICATION = ssl.create_default_context()
NO_VERIFICATION.check_hostname = False
NO_VERIFICATION.verify_mode = ssl.CERT_NONE
HEADER = b"X-Bench: %08d 1700000000000000\r\n"


class Sink(Child):
    def __init__(self, errors: Path, *options: str) -> None:
        super().__init__([sys.executable, "-m", "bench.sink", *options], errors=errors)
        self.address = str(self.ready(20.0)["listen"])
        host, _, port = self.address.rpartition(":")
        self.at = (host, int(port))


@contextlib.contextmanager
def sink(place: Path, *options: str) -> Iterator[Sink]:
    running = Sink(place / "sink.log", *options)
    try:
        yield running
    finally:
        running.stop()


class Client:
    """A socket that says what it is told and reads whole lines."""

    def __init__(self, at: tuple[str, int]) -> None:
        self._socket = socket.create_connection(at, timeout=60)
        self._lines = self._socket.makefile("rb")
        self.read()

    def say(self, text: bytes, replies: int = 1) -> list[bytes]:
        self._socket.sendall(text)
        return [self.read() for _ in range(replies)]

    def read(self) -> bytes:
        return self._lines.readline()[:3]

    def secure(self) -> None:
        self._socket = NO_VERIFICATION.wrap_socket(self._socket)
        self._lines = self._socket.makefile("rb")

    def close(self) -> None:
        self._lines.close()
        self._socket.close()


def test_a_delivery_is_counted_once_for_each_recipient(tmp_path: Path) -> None:
    with sink(tmp_path) as running:
        load = Load(20, 512, 4, 3, 2, [])
        sent = result_of(start_source(load, running.address, tmp_path, "--recipients", "5"))
        result_of(start_source(load, running.address, tmp_path))  # the recipients 0 to 19, each again
        whole = running.ask("account", "end")
    assert sent["accepted"] == 20
    assert (whole["receipts"], whole["unique"], whole["duplicates"], whole["unnumbered"]) == (120, 100, 20, 0)


def test_a_content_that_comes_in_pieces_is_one_message(tmp_path: Path) -> None:
    with sink(tmp_path) as running:
        for cut in range(1, 9):  # bytes that come last, with the commands behind them
            text = HEADER % cut + b"\r\n" + b"A line that ends with a dot.\r\n" * 700 + b".. one more\r\nend.\r\n.\r\n"
            client = Client(running.at)
            envelope = b"MAIL FROM:<a@b>\r\nRCPT TO:<u%08d@x>\r\nDATA\r\n" % cut
            assert client.say(envelope, 3) == [b"250", b"250", b"354"]
            for start in range(0, len(text) - cut, 9000):
                client.say(text[start : min(start + 9000, len(text) - cut)], 0)
                time.sleep(0.002)  # so that the pieces are read apart
            assert client.say(text[-cut:] + b"NOOP\r\nQUIT\r\n", 3) == [b"250", b"250", b"221"]
            client.close()
        whole = running.ask("account", "end")
    assert (whole["receipts"], whole["unique"], whole["unnumbered"]) == (8, 8, 0)


def test_a_message_without_content_and_one_without_number_are_messages(tmp_path: Path) -> None:
    with sink(tmp_path) as running:
        client = Client(running.at)
        envelope = b"MAIL FROM:<a@b>\r\nRCPT TO:<u00000007@x>\r\nDATA\r\n"
        client.say(envelope, 3)
        assert client.say(b".\r\n") == [b"250"]
        client.say(envelope.replace(b"u00000007", b"unknown"), 3)
        assert client.say(HEADER % 7 + b"\r\n.\r\n") == [b"250"]
        client.close()
        whole = running.ask("account", "end")
    assert (whole["receipts"], whole["unique"], whole["unnumbered"], whole["duplicates"]) == (2, 0, 2, 0)


def test_what_follows_a_dot_waits_for_its_delayed_reply(tmp_path: Path) -> None:
    with sink(tmp_path, "--delay-ms", "2500") as running:
        slow, other = Client(running.at), Client(running.at)
        slow.say(b"MAIL FROM:<a@b>\r\nRCPT TO:<u00000007@x>\r\nDATA\r\n", 3)
        start = time.monotonic()
        slow.say(HEADER % 7 + b"\r\n.\r\nNOOP\r\nHELP\r\n", 0)
        assert other.say(b"NOOP\r\n") == [b"250"]
        assert time.monotonic() - start < 2.0
        assert [slow.read() for _ in range(3)] == [b"250", b"250", b"502"]
        assert time.monotonic() - start >= 2.499
        slow.close()
        other.close()


def test_deferred_and_stalled_mail_is_taken_when_it_comes_again(tmp_path: Path) -> None:
    with sink(tmp_path, "--defer", "30", "--stall", "10", "--stall-seconds", "0.01") as running:
        sent = result_of(start_source(Load(200, 512, 20, 3, 2, []), running.address, tmp_path))
        whole = running.ask("account", "end")
    assert (sent["accepted"], whole["unique"], whole["duplicates"]) == (200, 200, 0)
    assert whole["deferred"] == sent["deferred"]
    assert 35 < whole["deferred"] < 85
    assert 8 < whole["stalled"] < 35


def test_an_account_writes_when_each_message_was_received_and_begins_anew(tmp_path: Path) -> None:
    received, accepted = tmp_path / "received at", tmp_path / "accepted at"
    with sink(tmp_path) as running:
        before = time.time()
        source = start_source(Load(30, 512, 3, 3, 2, []), running.address, tmp_path, "--accepted-at", str(accepted))
        result_of(source)
        running.ask(f"account {received}", "end")
        after = time.time()
        first, answered = read_instants(received), read_instants(accepted)
        running.ask(f"account {received}", "end")
    assert len(answered) == 30
    assert all(before < first[n] <= answered[n] < after for n in range(30))
    assert not any(first[30:])
    assert not any(read_instants(received))


def test_mail_over_tls_is_counted_as_such(tmp_path: Path) -> None:
    with sink(tmp_path, "--tls") as running:
        with smtplib.SMTP(*running.at, timeout=60) as client:
            client.starttls(context=NO_VERIFICATION)
            client.ehlo()
            assert not client.has_extn("starttls")
            client.sendmail("a@b", ["u00000007@x"], HEADER % 7 + b"\r\ntext\r\n")
        whole = running.ask("account", "end")
    assert (whole["unique"], whole["secured"], whole["connections"]) == (1, 1, 1)


def test_starttls_forgets_what_came_before_it(tmp_path: Path) -> None:
    with sink(tmp_path, "--tls") as running:
        client = Client(running.at)
        client.say(b"MAIL FROM:<a@b>\r\nRCPT TO:<u00000007@x>\r\n", 2)
        assert client.say(b"STARTTLS\r\nRCPT TO:<u00000008@x>\r\n") == [b"220"]
        client.secure()
        assert client.say(b"DATA\r\nSTARTTLS\r\n", 2) == [b"503", b"502"]
        client.close()


@pytest.mark.parametrize("words", [b"", b"this is no TLS record\r\n"])
def test_a_connection_that_ends_in_its_handshake_is_not_open_any_more(tmp_path: Path, words: bytes) -> None:
    with sink(tmp_path, "--tls") as running:
        client = Client(running.at)
        client.say(b"STARTTLS\r\n")
        client.say(words, 0)
        client.close()
        deadline = time.monotonic() + 60
        while running.ask("account", "end")["most_open"]:  # of an account that begins anew: those still open
            assert time.monotonic() < deadline
        survivor = Client(running.at)
        assert survivor.say(b"NOOP\r\n") == [b"250"]
        survivor.close()


def test_starttls_is_unknown_where_it_is_not_offered(tmp_path: Path) -> None:
    with sink(tmp_path) as running:
        client = Client(running.at)
        assert client.say(b"STARTTLS\r\n") == [b"502"]
        client.close()


def test_a_sink_without_tls_needs_no_cryptography() -> None:
    code = "import sys, bench.sink; sys.exit('cryptography' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], timeout=60).returncode == 0
