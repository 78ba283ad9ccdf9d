"""Retries by the reply: D17, C-102, C-103."""

from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.node_and_sink import NodeAndSink, shared

IPS = ["127.0.0.2", "127.0.0.3", "127.0.0.4"]
SETS: dict[str, Any] = {
    "workers": 1,
    "delivery__idle_timeout": "0s",
    "pools": f"{{ default = {{}}, three = {{ ips = {IPS} }} }}".replace("'", '"'),
    # A refusal on a connection that has carried other mail is asked for again at once on another one.
    "domains": '{ "*.quick.test" = { retries = ["1s"], messages_per_connection = 1 }, '
    '"*.line.test" = { retries = ["1s"], connections = 1 } }',
}
BLOCKED = "550 5.7.1 Unfortunately, messages weren't sent, your network is on our block list (S3140)"


class Place(NodeAndSink):
    """A destination that knows senders by their IP, and takes two recipients of a message."""

    def start(self) -> None:
        self.closes_at: dict[str, str] = {}  # sender -> the phase in which its next message is answered 421
        self.senders: dict[int, str] = {}  # by connection
        self.seen: dict[str, list[str]] = {}  # by recipient: the IPs that came
        self.recipients: dict[int, int] = {}  # by connection: those of this transaction
        self.sink.script("MAIL", self.mail)
        self.sink.script("RCPT", self.rcpt)
        self.sink.script("DATA", lambda connection, argument: self.closes("DATA", connection))
        self.sink.script(".", lambda connection, argument: self.closes(".", connection))
        super().start()

    def closes(self, phase: str, connection: int) -> str | None:
        sender = self.senders[connection]
        if self.closes_at.get(sender) != phase:
            return None
        del self.closes_at[sender]
        return "421 4.3.2 closing"

    def mail(self, connection: int, argument: str) -> str | None:
        self.recipients[connection] = 0
        self.senders[connection] = argument.partition("<")[2].partition(">")[0]
        return self.closes("MAIL", connection)

    def rcpt(self, connection: int, argument: str) -> str | None:
        self.recipients[connection] += 1
        if "2" in argument and (answer := self.closes("RCPT", connection)):
            return answer
        address = argument.partition("<")[2].partition(">")[0]
        peer = next(one.peer for one in reversed(self.sink.sink.begun) if one.connection == connection)
        seen = self.seen.setdefault(address, [])
        seen.append(peer)
        if "grey" in address and seen.count(peer) < 2:
            return "450 4.2.0 Greylisted, try again in 1 seconds"
        if "blocked" in address and peer == seen[0]:
            return BLOCKED
        if "few" in address:
            return None if self.recipients[connection] <= 2 else "452 4.5.3 Too many recipients (AS780090)"
        return None

    def send(self, recipients: list[str], tag: str, sender: str = "from@example.com", pool: str = "three") -> None:
        with self.node.sender() as client:
            lines = (f"X-MQ-Tag: {tag}", f"X-MQ-Pool: {pool}", "Subject: x", "", "hello")
            client.sendmail(sender, recipients, "\r\n".join(lines))


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    with shared(Place(tmp_path_factory.mktemp("retries"), **SETS)) as found:
        yield found


def test_d17_c103_greylisted_mail_comes_again_from_the_same_ip(place: Place) -> None:
    recipients = [f"grey{number}@a.quick.test" for number in range(40)]  # so many that chance leaves no IP out
    for recipient in recipients:
        place.send([recipient], "grey")
    place.rests("grey", delivered=len(recipients), queued=0)
    for recipient in recipients:
        first, second = place.seen[recipient]
        assert first == second, place.seen[recipient]
    assert {place.seen[recipient][0] for recipient in recipients} == set(IPS), "each IP of the pool is used"
    lines = place.logged("grey", "Delivery", len(recipients))
    assert {line["pool"] for line in lines} == {"three"}, "the record keeps its pool"
    assert {line["attempt"] for line in lines} == {2}


def test_c102_blocked_mail_comes_again_from_another_ip(place: Place) -> None:
    place.send(["blocked@b.quick.test"], "blocked")
    place.rests("blocked", delivered=1, queued=0)
    first, second = place.seen["blocked@b.quick.test"]
    assert first != second
    assert place.logged("blocked", "TransientFailure", 1)[0]["category"] == "ip_block"


def test_c102_recipients_beyond_those_that_a_server_takes_go_at_once(place: Place) -> None:
    recipients = [f"few{number}@c.test" for number in range(5)]
    place.send(recipients, "few")
    place.rests("few", delivered=5, queued=0)
    assert sorted(place.arrived("c.test")) == recipients
    assert {line["attempt"] for line in place.logged("few", "Delivery", 5)} == {1}


def test_d17_a_rule_for_the_pool_matches_mail_that_waits_for_its_ip(place: Place) -> None:
    place.send(["grey@d.test"], "waits")  # retried after an hour
    place.logged("waits", "TransientFailure", 1)
    rule = place.order(tag="waits", pool="three", goal="swept")
    place.rests("waits", queued=0, delivered=0)
    assert place.account(rule)["intercepted"]["queued"] == 1
    place.lift(rule)


@pytest.mark.parametrize("phase", ["MAIL", "RCPT", "DATA", "."])
def test_c102_a_421_in_the_middle_sends_only_the_rest_again(place: Place, phase: str) -> None:
    domain, tag = f"{phase.strip('.').lower() or 'dot'}.line.test", f"line{phase}"
    place.closes_at[f"two@{domain}"] = phase
    for sender in ("one", "two", "three", "four"):
        place.send([f"{sender}{number}@{domain}" for number in (1, 2)], tag, f"{sender}@{domain}", "default")
    place.rests(tag, delivered=8, queued=0)
    assert not place.closes_at.get(f"two@{domain}"), "it was answered 421"
    recipients = sorted(f"{sender}{number}@{domain}" for sender in ("one", "two", "three", "four") for number in (1, 2))
    assert sorted(place.arrived(domain)) == recipients, "each once"
    tried = {line["recipient"]: line["attempt"] for line in place.logged(tag, "Delivery", 8)}
    assert {one for one, attempts in tried.items() if attempts > 1} <= {f"two1@{domain}", f"two2@{domain}"}, tried
