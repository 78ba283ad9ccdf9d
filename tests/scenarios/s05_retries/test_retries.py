"""Destinations that turn mail away, fail at random or leave doubt; mail that grows old; sending addresses."""

import pathlib
import random
import socket
import time
from collections import Counter
from collections.abc import Callable

from tests.scenarios.s05_retries.moody import FOREVER, NEVER, Moody
from tests.support.node import Node, running, until
from tests.support.sink import DROP, RESET
from tests.support.sink_thread import SinkThread
from tests.support.story import at_rest, ended, lines, summary


def test_a_destination_that_turns_us_away_is_asked_seldom_however_much_waits_for_it(tmp_path: pathlib.Path) -> None:
    moody = Moody()
    moody.thread.script("GREETING", "421 4.3.2 not now")
    with running(moody), running(node := moody.node(tmp_path, **{"delivery.retries": ["1s", "2s"]})):
        sink = moody.thread.sink
        every = [f"m{n}@busy.test" for n in range(300)]
        node.send(every, tags=("busy",))
        until(lambda: {line["recipient"] for line in node.events() if line["type"] == "TransientFailure"} >= {*every})
        (first,) = lines(node, every[0], "TransientFailure")[:1]
        assert (first["code"], first["enhanced"], first["origin"]) == (421, "4.3.2", "remote")
        assert sink.connections < 100  # of 300 messages; the longer they take to come, the more
        turned_away = sink.connections
        moody.thread.script("GREETING", None)
        ends = ended(node, *every)
        assert {line["type"] for line in ends.values()} == {"Delivery"}
        assert {moody.receipts(address) for address in every} == {1}
        assert sink.connections - turned_away < 100  # and not one for each message
        at_rest(node, delivered=300)


def test_a_peer_that_fails_at_random_gets_each_message_once_and_the_books_agree(tmp_path: pathlib.Path) -> None:
    chance = random.Random(20)
    moods = (DROP, RESET, "421 4.3.2 closing", "450 4.2.0 busy", "not a reply at all")
    lost_replies: Counter[str] = Counter()  # address -> dots that were answered by nothing that can be understood
    asked: Counter[str] = Counter()
    seen: Counter[str] = Counter()

    def at(verb: str) -> Callable[[int, str], str | None]:
        def answer(_: int, argument: str) -> str | None:
            asked[verb] += 1
            if calm or (asked[verb] != 5 and chance.random() > 0.05):  # each verb meets a mood, whatever chance says
                return None
            mood = chance.choice(moods)
            seen[verb] += 1
            if verb == "." and mood in (DROP, RESET, moods[4]):
                lost_replies.update([argument])
            return mood

        return answer

    sink = SinkThread()
    calm = False
    for verb in ("GREETING", "EHLO", "MAIL", "RCPT", "DATA", "."):
        sink.script(verb, at(verb))
    with running(sink):
        node = Node(tmp_path, **{"delivery.route": sink.address, "delivery.retries": ["1s"]})
        with running(node):
            every = [f"m{n}@moody.test" for n in range(150)]
            node.send(every, tags=("moody",))
            until(lambda: len({line["recipient"] for line in node.events() if line["type"] == "Delivery"}) > 100)
            calm = True
            ends = ended(node, *every)
            assert seen.keys() >= {"MAIL", "RCPT", "DATA", "."}
            assert {line["type"] for line in ends.values()} == {"Delivery"}
            taken = Counter(message.recipients[0] for message in sink.sink.taken)
            assert taken == dict.fromkeys(every, 1)
            doubts = Counter(
                line["recipient"]
                for line in node.events()
                if line["type"] == "TransientFailure" and "more than once" in line["text"]
            )
            assert doubts == lost_replies
            kinds = summary(node)
            assert kinds["Delivery"] == kinds["Reception"] == 150
            statement = node.statement("moody")
            assert (statement["delivered"], statement["uncertain"], statement["balanced"]) == (150, 0, True)
            at_rest(node, delivered=150)


def test_a_delivery_that_may_have_arrived_before_it_ended_otherwise_is_uncertain(tmp_path: pathlib.Path) -> None:
    moody = Moody()
    moody.at_dot = {f"{name}@drop.test": [DROP] for name in ("lucky", "bounced", "expired")}
    moody.at_rcpt = {"sure@drop.test": [NEVER], "bounced@drop.test": [None, NEVER]}
    with running(moody), running(node := moody.node(tmp_path, **{"delivery.retries": ["1s"]})):
        addresses = list(moody.at_dot)
        node.send("expired@drop.test", tags=("t",), X_MQ_MaxAttempts="1")
        node.send(["lucky@drop.test", "bounced@drop.test", "sure@drop.test"], tags=("t",))
        ends = ended(node, *addresses, "sure@drop.test")
        kinds = [ends[f"{name}@drop.test"]["type"] for name in ("lucky", "bounced", "expired", "sure")]
        assert kinds == ["Delivery", "Bounce", "Expiration", "Bounce"]
        statement = node.statement("t")
        assert (statement["delivered"], statement["bounced"], statement["expired"]) == (1, 2, 1)
        assert (statement["uncertain"], statement["balanced"]) == (2, True)
        receipts = sum(bool(moody.receipts(address)) for address in ends)
        assert statement["delivered"] <= receipts <= statement["delivered"] + statement["uncertain"]
        at_rest(node, delivered=1, bounced=2, expired=1, uncertain=2)


def test_mail_that_grows_too_old_expires_with_what_was_last_said(tmp_path: pathlib.Path) -> None:
    moody = Moody()
    moody.at_rcpt = {"a@old.test": list(FOREVER)}
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        table = f'{{ "gone.test" = "127.0.0.1:{closed.getsockname()[1]}" }}'
        sets = {"delivery.routes": table, "delivery.retries": ["1s", "2s"], "delivery.max_age": "6s"}
        with running(moody), running(node := moody.node(tmp_path, **sets)):
            sent_at = time.time()
            node.send(["a@old.test", "a@gone.test"], tags=("old",))
            node.send("delayed@old.test", X_MQ_Delayed="+7s")  # its age counts from then
            ends = ended(node, "a@old.test", "a@gone.test", "delayed@old.test")
            old, gone = ends["a@old.test"], ends["a@gone.test"]
            assert (old["type"], old["code"], old["enhanced"]) == ("Expiration", 451, "4.4.7")
            assert old["text"] == "never today"
            assert moody.asked["a@old.test"][-1] - sent_at < 9
            assert len(moody.asked["a@old.test"]) == old["attempt"]
            assert 2 <= old["attempt"] <= 4  # as many as the machine found time for
            assert (gone["type"], gone["code"], gone["enhanced"], gone["origin"]) == (
                "Expiration",
                451,
                "4.4.7",
                "local",
            )
            assert "refused" in gone["text"].lower()
            assert {line["type"] for line in lines(node, "a@gone.test")[:-1]} == {"TransientFailure"}
            assert ends["delayed@old.test"]["type"] == "Delivery"
            statement = node.statement("old")
            assert (statement["expired"], statement["balanced"]) == (2, True)
            at_rest(node, expired=2, delivered=1)


def test_mail_leaves_from_the_ips_of_its_pool_or_the_one_it_asks_for(tmp_path: pathlib.Path) -> None:
    sink = SinkThread()
    with running(sink):
        node = Node(
            tmp_path,
            **{
                "delivery.route": sink.address,
                "domains": '{ "two.test" = { messages_per_connection = 1 } }',
                "pools": '{ default = {}, two = { ips = ["127.0.0.11", "127.0.0.12"], ehlo = "two.example" } }',
            },
        )
        with running(node):
            pooled = [f"p{n}@two.test" for n in range(24)]  # so many that chance leaves no IP out
            with node.sender() as client:
                for address in pooled:
                    node.send_on(client, address, X_MQ_Pool="two")
            node.send("a@one.test", X_MQ_IP="127.0.0.9")
            node.send("a@none.test")
            node.send("a@unheld.test", X_MQ_IP="192.0.2.1")  # no node has it: the mail waits
            ends = ended(node, *pooled, "a@one.test", "a@none.test")
            peers = {message.recipients[0]: message.peer for message in sink.sink.taken}
            assert {peers[address] for address in pooled} == {"127.0.0.11", "127.0.0.12"}
            assert (peers["a@one.test"], peers["a@none.test"]) == ("127.0.0.9", "127.0.0.1")
            for address, line in ends.items():
                assert line["mta"] == peers[address]
            assert {ends[address]["pool"] for address in pooled} == {"two"}
            assert (ends["a@one.test"]["pool"], ends["a@none.test"]["pool"]) == ("@127.0.0.9", "default")
            numbers = {message.connection for message in sink.to("two.test")}
            hellos = {line for number, line in sink.sink.commands if number in numbers and line.startswith("EHLO")}
            assert hellos == {"EHLO two.example"}
            assert not lines(node, "a@unheld.test")
            at_rest(node, delivered=len(pooled) + 2, queued=1)
