import contextlib
import json
import os
import pathlib
import signal
import smtplib
import socket
import threading
import time
from collections import Counter

from mta.redis_store import keys
from tests.support.node import Node, running, until
from tests.support.recount import recount
from tests.support.sink import HOLD, STALL
from tests.support.sink_thread import SinkThread
from tests.support.story import ENDS, at_rest, ended, lines, summary
from tests.support.valkey import Valkey, free_port

DOMAINS = ("a.test", "b.test", "c.test")


class Load:
    """A client that sends one message after the other and, told 421 or cut off, goes on with the same one later."""

    def __init__(self, node: Node, pace: float) -> None:
        self._node = node
        self._pace = pace
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self.accepted: list[str] = []
        self.refusals: list[int] = []  # codes; 0 = no connection
        self.broken_after_data: list[str] = []  # sent to the end, and no reply: may be queued

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()
        self._thread.join(90)

    def _run(self) -> None:
        number = 0
        while not self._stop.is_set():
            with contextlib.suppress(OSError, smtplib.SMTPException), self._client() as client:
                while not self._stop.wait(self._pace):
                    self._one(client, f"m{number}@{DOMAINS[number % 3]}")
                    number += 1

    def _client(self) -> smtplib.SMTP:
        try:
            return smtplib.SMTP("127.0.0.1", self._port, timeout=60)
        except smtplib.SMTPResponseException as error:
            self.refusals.append(error.smtp_code)
            raise
        except OSError:
            self.refusals.append(0)
            self._stop.wait(0.1)
            raise

    @property
    def _port(self) -> int:
        return self._node.smtp[1]

    def _one(self, client: smtplib.SMTP, address: str) -> None:
        """Raises when the message was not accepted."""
        for code, reply in (
            client.ehlo_or_helo_if_needed() or (250, b""),
            client.mail("from@x.test"),
            client.rcpt(address),
        ):
            if code != 250:
                self.refusals.append(code)
                raise smtplib.SMTPResponseException(code, reply)
        try:
            code, reply = client.data(f"To: {address}\r\nX-MQ-Tag: load\r\n\r\nhello\r\n".encode())
        except (OSError, smtplib.SMTPServerDisconnected):
            self.broken_after_data.append(address)
            raise
        except smtplib.SMTPResponseException as error:  # DATA itself was refused
            self.refusals.append(error.smtp_code)
            raise
        if code != 250:
            self.refusals.append(code)
            raise smtplib.SMTPResponseException(code, reply)
        self.accepted.append(address)


def test_restarts_under_load_lose_nothing_and_send_nothing_twice(tmp_path: pathlib.Path) -> None:
    sink, valkey = SinkThread(), Valkey(tmp_path / "valkey")

    def ahead() -> int:
        return len(loads[0].accepted) - len(sink.sink.taken)

    def slow(*_: object) -> None:
        """Keeps the sink busy for a moment at each dot, a longer one while the client is hardly ahead of it."""
        time.sleep(0.02 if ahead() > 40 else 0.1)

    sink.script(".", slow)
    with running(valkey, sink):
        listen = f"127.0.0.1:{free_port()}"
        node = Node(tmp_path / "n1", redis=valkey.url, **{"delivery.route": sink.address, "smtp.listen": listen})
        loads = []
        with running(node):
            loads = [Load(node, 0.004)]
            with running(*loads):
                for restart in range(2):
                    least = len(sink.sink.taken) + 30
                    until(lambda least=least: len(sink.sink.taken) >= least and ahead() > 20)
                    idle = node.client()
                    idle.ehlo()
                    assert node.stop() == 0
                    assert idle.getreply()[0] == 421
                    idle.close()
                    until(lambda: not sink.sink.open)  # the node is gone; the sink may still have to notice
                    report = recount(valkey.url)
                    assert not report.broken
                    assert report.balanced
                    assert report.counted[""]["queued"] > 0, f"restart {restart} met no load"
                    assert not claims_or_sessions(valkey)
                    node.start()
            sink.script(".", None)
            accepted = loads[0].accepted
            assert not loads[0].broken_after_data
            assert set(loads[0].refusals) <= {0, 421}
            assert len(accepted) == len(set(accepted))
            until(lambda: len(sink.sink.taken) >= len(accepted))
            until(lambda: summary(node)["Delivery"] == len(accepted))
            receipts = Counter(message.recipients[0] for message in sink.sink.received)
            assert receipts == dict.fromkeys(accepted, 1)
            kinds = summary(node)
            assert (kinds["Reception"], kinds["Delivery"]) == (len(accepted), len(accepted))
            assert not kinds["TransientFailure"] + kinds["LateOutcome"]
            statement = node.statement("load")
            assert (statement["accepted"], statement["delivered"], statement["uncertain"]) == (
                len(accepted),
                len(accepted),
                0,
            )
            at_rest(node, delivered=len(accepted))


def claims_or_sessions(valkey: Valkey) -> list[bytes]:
    """Traces that a process which has gone should not have left behind."""
    sessions = valkey.ask("HKEYS", keys.RULES_SESSIONS.decode())
    claimed = valkey.ask("EVAL", "return redis.call('KEYS', 'fg:*:claimed:*')", "0")
    return [answer for answer in (sessions, claimed) if answer != b"*0\r\n"]


def test_what_is_past_its_dot_ends_before_the_node_and_the_rest_is_delivered_by_the_next(
    tmp_path: pathlib.Path,
) -> None:
    sink = SinkThread()
    sink.script(".", HOLD)
    with running(sink):
        node = Node(tmp_path, **{"delivery.route": sink.address, "delivery.connections": 2})
        every = [f"m{n}@{DOMAINS[n % 3]}" for n in range(30)]
        with running(node):
            node.send(every)
            # Two of each worker that has claimed some: one may have claimed all 30 before the other looked.
            until(lambda: len(sink.sink.received) >= 2)
            client = node.client()
            client.ehlo()
            client.mail("from@x.test")
            client.rcpt("late@a.test")
            assert client.docmd("DATA")[0] == 354
            client.send(b"To: late@a.test\r\n\r\nhalf of ")
            stopping = threading.Thread(target=node.stop)
            stopping.start()
            until(lambda: refused(node))
            client.send(b"a message\r\n.\r\n")
            code, reply = client.getreply()
            assert (code, reply[:16]) == (250, b"2.0.0 queued as ")
            assert client.getreply()[0] == 421
            client.close()
            assert stopping.is_alive()
            sink.script(".", None)
            sink.release("250 2.0.0 taken")
            stopping.join(90)
            assert len(sink.sink.taken) == len(sink.sink.received) in (2, 3, 4), "no transaction began after the stop"
            node.start()
            ends = ended(node, *every, "late@a.test")
            assert {line["type"] for line in ends.values()} == {"Delivery"}
            receipts = Counter(message.recipients[0] for message in sink.sink.received)
            assert receipts == dict.fromkeys([*every, "late@a.test"], 1)
            (late,) = [message for message in sink.sink.taken if message.recipients == ["late@a.test"]]
            assert late.body.endswith(b"\r\n\r\nhalf of a message\r\n")
            at_rest(node, delivered=31)


def test_what_does_not_end_within_the_drain_timeout_is_given_up_as_its_place_demands(tmp_path: pathlib.Path) -> None:
    past_dot, before_dot = SinkThread(), SinkThread()
    past_dot.script(".", HOLD)
    before_dot.script("DATA", STALL)
    with running(past_dot, before_dot):
        table = f'{{ "a.test" = "{past_dot.address}", "b.test" = "{before_dot.address}" }}'
        sets = {"delivery.routes": table, "node.drain_timeout": "1s", "delivery.retries": ["1s"]}
        node = Node(tmp_path, **sets)
        with running(node):
            node.send(["m@a.test", "m@b.test"], tags=("slow",))
            until(lambda: past_dot.sink.received and before_dot.sink.begun)
            began = time.time()
            assert node.stop() == 0
            assert time.time() - began < 25
            (line,) = lines(node, "m@a.test")
            assert (line["type"], "more than once" in line["text"]) == ("TransientFailure", True)
            assert not lines(node, "m@b.test")  # nothing happened to it: no attempt is counted
            past_dot.script(".", None)
            before_dot.script("DATA", None)
            node.start()
            ends = ended(node, "m@a.test", "m@b.test")
            assert [ends[f"m@{name}.test"]["type"] for name in "ab"] == ["Delivery", "Delivery"]
            assert [ends[f"m@{name}.test"]["attempt"] for name in "ab"] == [2, 1]
            assert (len(past_dot.sink.received), len(before_dot.sink.received)) == (2, 1)
            statement = node.statement("slow")
            assert (statement["delivered"], statement["uncertain"], statement["balanced"]) == (2, 0, True)
            at_rest(node, delivered=2)


def refused(node: Node) -> bool:
    """Whether no worker accepts a new client any more."""
    try:
        with socket.create_connection(node.smtp, timeout=1.0) as client:
            client.recv(3)
    except (TimeoutError, ConnectionRefusedError):
        return True
    except ConnectionResetError:  # it was in the backlog of a socket that has just been closed: another may listen
        return False
    return False


def test_a_changed_settings_file_takes_effect_on_sighup_and_the_moved_log_is_reopened(tmp_path: pathlib.Path) -> None:
    first, second = SinkThread(), SinkThread()
    file = tmp_path / "floodgate.toml"
    with running(first, second):
        file.write_text(f'[delivery]\nroute = "{first.address}"\n')
        node = Node(tmp_path / "n1")
        node.words += ["--config", str(file)]
        with running(node):
            node.send([f"m{n}@a.test" for n in range(5)])
            until(lambda: summary(node)["Delivery"] == 5)

            moved = node.log.with_suffix(".1")
            node.log.rename(moved)
            node.send("after@a.test")
            ended(node, "after@a.test")  # without a signal
            before = [json.loads(line) for line in moved.read_bytes().splitlines()]
            assert Counter(line["type"] for line in before) == {"Reception": 5, "Delivery": 5}
            assert summary(node) == {"Reception": 1, "Delivery": 1}

            file.write_text('[delivery]\nroutte = "nowhere"\n')
            hang_up(node)
            until(lambda: "settings are kept as they are" in node.errors())
            assert "routte" in node.errors()

            old = set(node.workers())
            file.write_text(f'[delivery]\nroute = "{second.address}"\n')
            hang_up(node)
            for number in range(40):  # mail that comes meanwhile goes one way or the other
                send_until_taken(node, f"d{number}@b.test")
            until(lambda: "reloaded" in node.errors())
            assert not old & set(node.workers())
            node.send([f"m{n}@c.test" for n in range(5)])
            until(lambda: summary(node)["Delivery"] == 46)
            assert [len(sink.to("a.test")) for sink in (first, second)] == [6, 0]
            assert [len(sink.to("c.test")) for sink in (first, second)] == [0, 5]
            meanwhile = Counter(m.recipients[0] for sink in (first, second) for m in sink.to("b.test"))
            assert meanwhile == {f"d{n}@b.test": 1 for n in range(40)}
            assert {line["type"] for line in node.events()} <= {"Reception", *ENDS}
            at_rest(node, delivered=51)


def hang_up(node: Node) -> None:
    assert node.process is not None
    os.kill(node.process.pid, signal.SIGHUP)


def send_until_taken(node: Node, address: str) -> None:
    """A client's patience while processes change: 421 and a closed connection mean later."""

    def code() -> int:
        taken = False
        try:
            with node.client() as client:
                client.sendmail("from@x.test", [address], f"To: {address}\r\n\r\nhello\r\n")
                taken = True
        except smtplib.SMTPRecipientsRefused as error:
            return error.recipients[address][0]
        except smtplib.SMTPResponseException as error:
            return 250 if taken else error.smtp_code  # QUIT may be answered 421
        except OSError:
            return 250 if taken else 0
        return 250

    codes: list[int] = []
    until(lambda: codes.append(code()) or codes[-1] == 250)
    assert set(codes) <= {0, 421, 250}
