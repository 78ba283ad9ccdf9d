"""Mail that failed for now is tried again on schedule: one lot of mail, looked at from several sides."""

import datetime
import time
from collections.abc import Iterator
from typing import Any

import pytest

from tests.scenarios.s05_retries.moody import CLOSING, FOREVER, FULL, LATER, NEVER, Moody
from tests.support.node import Node, running
from tests.support.sink import DROP
from tests.support.story import at_rest, ended, lines, summary

CLOSED = [f"m{n}@closing.test" for n in range(6)]
DELIVERED = [
    "delayed@plan.test", "twice@plan.test", "own@plan.test", "ok@many.test", "later@many.test", "full@many.test",
    "a@dot4.test", "a@drop.test", "x@split.test", "x@parted.test", *CLOSED,
]  # fmt: skip
BOUNCED = ["no@many.test", "a@dot5.test"]
EXPIRED = ["tries@plan.test", "late@plan.test"]


class Lot:
    """All the mail, sent at once, so that its waits pass side by side."""

    def __init__(self, moody: Moody, node: Node) -> None:
        self.moody = moody
        self.node = node
        self.sent_at = time.time()
        self.node.send("delayed@plan.test", X_MQ_Delayed="+2s")
        self.node.send("twice@plan.test")
        self.node.send("own@plan.test", X_MQ_Retries="3s")
        self.node.send("tries@plan.test", X_MQ_MaxAttempts="2")
        self.node.send("late@plan.test", X_MQ_MaxDeliverTime="+2s")
        self._send_to_all("ok@many.test", "later@many.test", "no@many.test", "full@many.test")
        self.node.send(CLOSED)
        self.node.send(["a@dot4.test", "a@dot5.test", "a@drop.test"])
        self._send_to_all("x@split.test", "x@parted.test")

    def _send_to_all(self, *addresses: str) -> None:
        """One message to several recipients."""
        with self.node.sender() as client:
            assert not client.sendmail("from@example.org", list(addresses), b"Subject: to several\r\n\r\nhello\r\n")

    def ends(self, *addresses: str) -> dict[str, dict[str, Any]]:
        """The lines that end the mail of these, once there are all of them."""
        return ended(self.node, *addresses)


@pytest.fixture(scope="module")
def lot(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lot]:
    moody = Moody()
    moody.at_rcpt = {
        "twice@plan.test": [LATER, LATER],
        "own@plan.test": [LATER],
        "tries@plan.test": list(FOREVER),
        "late@plan.test": list(FOREVER),
        "later@many.test": [LATER],
        "no@many.test": [NEVER],
        "full@many.test": [FULL],
        "m2@closing.test": [CLOSING],
    }
    moody.at_dot = {
        "a@dot4.test": ["451 4.7.1 greylisted"],
        "a@dot5.test": ["554 5.7.1 spam"],
        "a@drop.test": [DROP],
    }
    folder = tmp_path_factory.mktemp("s05")
    # A refusal on a connection that has carried other mail is asked for again at once: here each has its own.
    alone = ", ".join(f'"{name}.test" = {{ messages_per_connection = 1 }}' for name in ("plan", "many"))
    sets = {"delivery.retries": ["1s", "2s"], "domains": f"{{ {alone} }}"}
    with running(moody), running(node := moody.node(folder, **sets)):
        yield Lot(moody, node)


def unix_ms(line: dict[str, Any], field: str) -> float:
    return datetime.datetime.fromisoformat(line[field]).timestamp() * 1000


def test_attempts_follow_the_schedule_of_the_settings_or_of_the_message(lot: Lot) -> None:
    lot.ends("twice@plan.test", "own@plan.test", "delayed@plan.test")
    first, second = lot.moody.gaps("twice@plan.test")
    assert (0.89 < first < 10, 1.79 < second < 11) == (True, True)
    failed = lines(lot.node, "twice@plan.test")
    waits = [unix_ms(line, "next_attempt") - unix_ms(line, "time") for line in failed[:2]]
    assert (900 <= waits[0] <= 1100, 1800 <= waits[1] <= 2200) == (True, True)
    assert [line["attempt"] for line in failed] == [1, 2, 3]
    assert 2.69 < lot.moody.gaps("own@plan.test")[0] < 12
    assert 1.95 < lot.moody.asked["delayed@plan.test"][0] - lot.sent_at < 12


def test_mail_expires_after_its_attempts_or_its_time(lot: Lot) -> None:
    ends = lot.ends(*EXPIRED)
    for address in EXPIRED:
        line = ends[address]
        assert (line["type"], line["code"], line["enhanced"]) == ("Expiration", 451, "4.4.7")
        assert (line["attempt"], line["text"]) == (len(lot.moody.asked[address]), "never today")
    assert ends["tries@plan.test"]["attempt"] == 2
    assert ends["late@plan.test"]["attempt"] in (1, 2)  # 2, unless the machine lost a second


def test_recipients_of_one_message_go_their_own_ways(lot: Lot) -> None:
    ends = lot.ends("ok@many.test", "no@many.test", "later@many.test", "full@many.test")
    asked = {address: len(lot.moody.asked[address]) for address in ends if address.endswith("@many.test")}
    assert asked == {"ok@many.test": 1, "no@many.test": 1, "later@many.test": 2, "full@many.test": 2}
    assert (ends["no@many.test"]["code"], ends["no@many.test"]["text"]) == (550, "no such user")
    assert lines(lot.node, "full@many.test")[0]["type"] == "TransientFailure"
    by_message = sorted(message.recipients for message in lot.moody.thread.to("many.test"))
    # The two that were deferred come due on their own, each within its 10 %.
    assert by_message in (
        [["full@many.test"], ["later@many.test"], ["ok@many.test"]],
        [["full@many.test", "later@many.test"], ["ok@many.test"]],
        [["later@many.test", "full@many.test"], ["ok@many.test"]],
    )


def test_a_connection_that_closes_costs_each_message_one_attempt_at_most(lot: Lot) -> None:
    ends = lot.ends(*CLOSED)
    assert {address: lot.moody.receipts(address) for address in CLOSED} == dict.fromkeys(CLOSED, 1)
    deferred = {line["recipient"]: line for a in CLOSED for line in lines(lot.node, a, "TransientFailure")}
    # On a connection that had carried another one, m2 begins again at once; on a new one it is deferred.
    assert [(line["recipient"], line["code"]) for line in deferred.values()] in ([], [("m2@closing.test", 421)])
    assert ends["m2@closing.test"]["attempt"] == 1 + len(deferred)


def test_replies_to_the_dot_defer_bounce_or_leave_in_doubt(lot: Lot) -> None:
    ends = lot.ends("a@dot4.test", "a@dot5.test", "a@drop.test")
    assert (lot.moody.receipts("a@dot4.test"), lot.moody.receipts("a@dot5.test")) == (2, 1)
    assert (ends["a@dot5.test"]["code"], ends["a@dot5.test"]["enhanced"]) == (554, "5.7.1")
    assert lot.moody.receipts("a@drop.test") == 2
    doubt = lines(lot.node, "a@drop.test")[0]
    assert (doubt["type"], doubt["origin"]) == ("TransientFailure", "local")
    assert "more than once" in doubt["text"]


def test_everything_ends_as_it_should_and_arrives_no_oftener_than_that(lot: Lot) -> None:
    ends = lot.ends(*DELIVERED, *BOUNCED, *EXPIRED)
    assert {ends[address]["type"] for address in DELIVERED} == {"Delivery"}
    assert {ends[address]["type"] for address in BOUNCED} == {"Bounce"}
    assert {ends[address]["type"] for address in EXPIRED} == {"Expiration"}
    once = set(DELIVERED) - {"a@dot4.test", "a@drop.test"}
    assert {lot.moody.receipts(address) for address in once} == {1}
    assert summary(lot.node)["Delivery"] == len(DELIVERED)
    at_rest(lot.node, delivered=len(DELIVERED), bounced=len(BOUNCED), expired=len(EXPIRED))
