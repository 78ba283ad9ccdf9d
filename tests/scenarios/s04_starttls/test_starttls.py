import contextlib
import pathlib
import random
import socket
import ssl
import threading

import aiosmtpd.controller

from tests.support.certificates import self_signed
from tests.support.conditions import PATIENCE
from tests.support.node import Node, running, until
from tests.support.sink import STALL
from tests.support.sink_thread import SinkThread
from tests.support.story import at_rest, ended, lines
from tests.support.valkey import free_port

OFFERS = ("PIPELINING", "8BITMIME", "STARTTLS")


def text_of(size: int, seed: int) -> str:
    """`size` octets of lines, some of which begin with a dot."""
    chance = random.Random(seed)
    made = []
    left = size
    while left > 2:
        length = min(left - 2, chance.randrange(0, 76))
        line = ("." if length and chance.random() < 0.2 else "x" * (length > 0)) + chance.randbytes(40).hex()
        made.append(line[:length])
        left -= length + 2
    return "\r\n".join(made)


def routes(**sinks: SinkThread) -> str:
    return "{ " + ", ".join(f'"{name}.test" = "{sink.address}"' for name, sink in sinks.items()) + " }"


class Independent:
    """aiosmtpd, which asks for STARTTLS and keeps what it is given."""

    def __init__(self, context: ssl.SSLContext) -> None:
        self.bodies: list[bytes] = []
        self.secure: list[bool] = []
        self._controller = aiosmtpd.controller.Controller(
            self,
            "127.0.0.1",
            0,
            ready_timeout=PATIENCE,
            tls_context=context,
            require_starttls=True,
            data_size_limit=2**25,
        )

    async def handle_DATA(self, server, session, envelope) -> str:
        self.secure.append(session.ssl is not None)
        self.bodies.append(envelope.original_content)
        return "250 2.0.0 taken"

    def start(self) -> None:
        self._controller.port = free_port()  # the controller connects to its own port when it starts
        self._controller.start()

    def stop(self) -> None:
        self._controller.stop()

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self._controller.port}"


class Narrow:
    """A way to a sink that lets `most` octets of each connection through until `widen` is called."""

    def __init__(self, sink: SinkThread, most: int) -> None:
        self._sink = sink
        self._most = most
        self._wide = threading.Event()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self._listener.getsockname()[1]}"
        self.passed = 0
        self.full = threading.Event()
        self._ends: list[socket.socket] = []

    def start(self) -> None:
        threading.Thread(target=self._accept, daemon=True).start()

    def stop(self) -> None:
        self.widen()
        for end in (self._listener, *self._ends):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()

    def widen(self) -> None:
        self._wide.set()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                near, _ = self._listener.accept()
                far = socket.create_connection((self._sink.sink.host, self._sink.sink.port))
                self._ends += [near, far]
                threading.Thread(target=self._carry, args=(near, far, True), daemon=True).start()
                threading.Thread(target=self._carry, args=(far, near, False), daemon=True).start()

    def _carry(self, source: socket.socket, target: socket.socket, inward: bool) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(16384):
                target.sendall(data)
                if inward:
                    self.passed += len(data)
                    if self.passed >= self._most:
                        self.full.set()
                        self._wide.wait()
        with contextlib.suppress(OSError):
            target.shutdown(socket.SHUT_WR)


def test_mail_goes_out_over_starttls_byte_for_byte(tmp_path: pathlib.Path) -> None:
    context = self_signed(tmp_path)
    sink, independent = SinkThread(tls=context), Independent(context)
    big = text_of(600_000, 1)
    with running(sink, independent):
        table = f'{{ "scripted.test" = "{sink.address}", "independent.test" = "{independent.address}" }}'
        node = Node(tmp_path / "n1", **{"delivery.routes": table})
        with running(node):
            every = ["a@scripted.test", "big@scripted.test", "a@independent.test", "big@independent.test"]
            with node.sender() as client:
                for address in every:
                    node.send_on(client, address, text=big if address.startswith("big") else "small")
            ends = ended(node, *every)
            assert {line["type"] for line in ends.values()} == {"Delivery"}
            assert all(line["tls"].startswith("TLSv1.3 ") for line in ends.values())
            assert [m.tls for m in sink.sink.taken] == [True, True]
            assert independent.secure == [True, True]
            theirs = {b"big" if b"To: big@" in body else b"a": body for body in independent.bodies}
            ours = {m.recipients[0].partition("@")[0].encode(): m.body for m in sink.sink.taken}
            for bodies in (theirs, ours):
                for name, text in ((b"a", "small"), (b"big", big)):
                    assert bodies[name].startswith(b"Received: ")
                    assert bodies[name].endswith(b"\r\nSubject: test\r\n\r\n" + text.encode() + b"\r\n")
            at_rest(node, delivered=4)


def failing_sinks() -> dict[str, SinkThread]:
    """Four ways in which TLS does not come about, by name."""
    bare = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)  # without a certificate no handshake succeeds
    sinks = {"handshake": SinkThread(tls=bare), "plain": SinkThread()}
    for name, answer in (("refused", "454 4.7.0 not now"), ("stalled", STALL)):
        sinks[name] = SinkThread(extensions=OFFERS)
        sinks[name].script("STARTTLS", answer)
    return sinks


def test_d14_where_tls_fails_and_is_only_wished_for_mail_goes_in_clear_on_a_new_connection(
    tmp_path: pathlib.Path,
) -> None:
    sinks = failing_sinks()
    with running(*sinks.values()):
        node = Node(tmp_path, **{"delivery.routes": routes(**sinks), "delivery.command_timeout": "6s"})
        with running(node):
            every = [f"a@{name}.test" for name in sinks]
            node.send(every)
            ends = ended(node, *every)
            for name, sink in sinks.items():
                line = ends[f"a@{name}.test"]
                assert (line["type"], line["attempt"]) == ("Delivery", 1)
                assert ("tls" in line) is (name != "plain")
                assert name == "plain" or (line["tls"]["offered"] and line["tls"]["failed"])
                (taken,) = sink.sink.taken
                assert (taken.tls, taken.connection) == (False, 1 if name == "plain" else 2)
            at_rest(node, delivered=4)


def test_where_tls_is_required_mail_is_deferred_rather_than_sent_in_clear(tmp_path: pathlib.Path) -> None:
    sinks = failing_sinks() | {"good": SinkThread(tls=self_signed(tmp_path))}
    with running(*sinks.values()):
        node = Node(
            tmp_path / "n1",
            **{"delivery.routes": routes(**sinks), "delivery.command_timeout": "6s", "delivery.tls": "required"},
        )
        with running(node):
            node.send([f"a@{name}.test" for name in sinks])
            ended(node, "a@good.test")
            for name in ("handshake", "plain", "refused", "stalled"):
                (line,) = until(lambda name=name: lines(node, f"a@{name}.test"))
                assert line["type"] == "TransientFailure"
                assert (line["code"] // 100, line["next_attempt"] > line["time"]) == (4, True)
                assert "TLS" in line["reason"]
                assert not sinks[name].sink.begun
                assert not [command for _, command in sinks[name].sink.commands if command.startswith("MAIL")]
            assert [m.tls for m in sinks["good"].sink.taken] == [True]
            at_rest(node, delivered=1, queued=4)


def test_a_forced_error_ends_a_large_message_that_is_under_way_over_tls(tmp_path: pathlib.Path) -> None:
    sink = SinkThread(tls=self_signed(tmp_path), extensions=("PIPELINING",))
    with running(sink):
        narrow = Narrow(sink, 300_000)
        node = Node(tmp_path / "n1", **{"delivery.route": narrow.address})
        with running(narrow, node):
            node.send("a@big.test", tags=("campaign",), text=text_of(16_000_000, 2))
            assert narrow.full.wait(60)
            status, rule = node.call("POST", "/v1/errors", {"code": 554, "extended": "5.7.1", "tag": "campaign"})
            assert (status, rule["effective"], rule["past_dot"]) == (201, True, [])
            narrow.widen()
            line = ended(node, "a@big.test")["a@big.test"]
            assert (line["type"], line["forced"]["stage"], line["code"]) == ("Intercepted", "before_dot", 554)
            assert line["tls"].startswith("TLSv1.3 ")
            until(lambda: not sink.sink.open)
            assert len(sink.sink.begun) == 1
            assert not sink.sink.received
            node.send("b@big.test")
            ended(node, "b@big.test")
            assert [m.recipients for m in sink.sink.taken] == [["b@big.test"]]
            statement = node.statement("campaign")
            assert (statement["intercepted"]["before_dot"], statement["delivered"]) == (1, 0)
            assert (statement["uncertain"], statement["balanced"]) == (0, True)
            at_rest(node, intercepted=1, delivered=1)
