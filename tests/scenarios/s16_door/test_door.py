"""Mail that comes in while a forced error is in force: refused with its reply, or accepted and ended at once."""

import os
import threading
from typing import Any

from tests.scenarios.s16_door.conftest import inject_on
from tests.support.log_keys import KEYS
from tests.support.node import until
from tests.support.orders import assert_accounted

TOMORROW = "X-MQ-Delayed: +24h"


def test_a_campaign_is_refused_with_the_words_of_the_rule(place: Any):
    rule = place.order_refusal(
        tag="shop", code=550, extended="5.7.9", description="the campaign was stopped", reason="wrong prices"
    )
    shop = "X-MQ-Tag: shop"
    with place.node.sender() as client:
        assert inject_on(client, "a@shop.test", shop) == (550, "5.7.9 the campaign was stopped")
        assert inject_on(client, "free@shop.test", "X-MQ-Tag: other")[0] == 250, "the session goes on"
        assert inject_on(client, ["b@shop.test", "c@else.test"], shop, "x-floodgate-tag: two")[0] == 550
        assert inject_on(client, "d@shop.test", shop, TOMORROW)[0] == 550
    statement = place.rests("shop", accepted=0, rejected=4)
    assert statement["rules"] == [rule["id"]]
    assert place.node.statement("two")["rejected"] == 2
    assert place.rests("other", delivered=1)["rejected"] == 0
    lines = place.logged("shop", "Rejection", 4)
    assert [line["recipient"] for line in lines] == ["a@shop.test", "b@shop.test", "c@else.test", "d@shop.test"]
    for line in lines:
        assert [key for key in KEYS if key in line] == list(line), "keys in the contract's order, and no others"
        assert (line["code"], line["enhanced"], line["text"]) == (550, "5.7.9", "the campaign was stopped")
        assert (line["origin"], line["reason"], line["client"]) == ("forced", "wrong prices", "127.0.0.1")
        generation = max(rule["generation"], line["forced"]["generation"])  # a canary may have moved the table on
        assert line["forced"] == {"rule": rule["id"], "generation": generation, "stage": "door", "by": "admin"}
        assert (line["sender"], line["domain"]) == ("from@example.org", line["recipient"].partition("@")[2])
        assert line["id"].rpartition(".")[0] == line["message_id"]
        assert line["size"] > 0
    assert lines[1]["message_id"] == lines[2]["message_id"]
    assert len({line["event"] for line in lines}) == 4
    known = place.node.call("GET", f"/v1/errors/{rule['id']}")[1]
    assert known["hits"] == 4
    assert known["last_hit_at"]
    place.lift(rule)
    assert place.inject("a@shop.test", shop)[0] == 250
    place.rests("shop", accepted=1, delivered=1, rejected=4)
    assert sorted(place.arrived("shop.test")) == ["a@shop.test", "free@shop.test"]


def test_a_deferral_may_refuse_too(place: Any):
    rule = place.order_refusal(tag="slow", code=451)
    code, text = place.inject("a@slow.test", "X-MQ-Tag: slow")
    assert (code, text[:6]) == (451, "4.7.1 ")
    place.rests("slow", accepted=0, rejected=1)
    place.lift(rule)


def test_where_the_rule_accepts_mail_is_ended_before_it_is_queued(place: Any):
    rule = place.order("swept", tag="news", extended="5.7.1", description="stopped")
    news = "X-MQ-Tag: news"
    code, text = place.inject(["a@news.test", "b@news.test"], news)
    assert (code, text[:16]) == (250, "2.0.0 queued as ")
    place.inject("c@news.test", news, TOMORROW)
    statement = place.rests("news", accepted=3, queued=0)
    assert statement["intercepted"] == {"queued": 0, "attempt": 0, "before_dot": 0, "door": 3}
    lines = place.logged("news", "Intercepted", 3)
    assert {line["recipient"] for line in lines} == {"a@news.test", "b@news.test", "c@news.test"}
    for line in lines:
        assert (line["code"], line["text"], line["forced"]["stage"]) == (554, "stopped", "door")
        assert [key for key in KEYS if key in line] == list(line)
    place.logged("news", "Reception", 3)
    account = place.node.call("GET", f"/v1/errors/{rule['id']}/statement")[1]
    assert_accounted(account)
    assert (account["matched"], account["intercepted"]["door"]) == (3, 3)
    place.lift(rule)
    assert place.arrived("news.test") == []


def test_of_several_recipients_those_that_match_are_ended(place: Any):
    rule = place.order_refusal(tag="mixed", domain="bad.mixed.test")
    assert place.inject(["a@bad.mixed.test", "b@good.mixed.test"], "X-MQ-Tag: mixed")[0] == 250
    statement = place.rests("mixed", accepted=2, delivered=1, queued=0, rejected=0)
    assert statement["intercepted"]["door"] == 1
    assert place.inject(["a@bad.mixed.test"], "X-MQ-Tag: mixed")[0] == 554
    assert place.arrived("good.mixed.test") == ["b@good.mixed.test"]
    assert place.arrived("bad.mixed.test") == []
    place.rests("mixed", accepted=2, rejected=1)
    place.lift(rule)


def test_a_node_that_is_cut_off_from_the_rules_refuses_nobody(place: Any):
    """It takes mail, delivers none, and the rule meets the mail later."""
    rule = place.order_refusal(tag="cut")
    assert place.inject("a@cut.test", "X-MQ-Tag: cut")[0] == 554
    place.valkey.ask("ACL", "SETUSER", "default", "resetkeys", *(f"~fg:{{{lane}}}:*" for lane in range(4)))
    try:
        until(lambda: place.inject("b@cut.test", "X-MQ-Tag: cut")[0] == 250)
    finally:
        place.valkey.ask("ACL", "SETUSER", "default", "~*")
    statement = place.rests("cut", accepted=1, queued=0)
    assert statement["intercepted"]["door"] == 0
    assert sum(statement["intercepted"].values()) == 1
    assert statement["rejected"] >= 1
    until(lambda: place.inject("c@cut.test", "X-MQ-Tag: cut")[0] == 554, what="the permit comes back")
    assert place.arrived("cut.test") == []
    place.lift(rule)


def test_mail_on_its_way_in_while_a_rule_becomes_effective_does_not_wait_undecided(place: Any):
    """It is due tomorrow: mail that neither the door nor the sweep decided would still be queued."""
    text = os.urandom(600_000).hex()
    body = "\r\n".join(text[at : at + 900] for at in range(0, len(text), 900))  # in pieces, each written on its own
    stop = threading.Event()
    answers: list[int] = []

    def load(tag: str) -> None:
        with place.node.sender() as client:
            while not stop.is_set():
                answers.append(inject_on(client, "a@race.test", f"X-MQ-Tag: {tag}", TOMORROW, body=body)[0])

    for number in range(3):
        tag = f"race{number}"
        stop.clear()
        threads = [threading.Thread(target=load, args=(tag,), daemon=True) for _ in range(4)]
        for thread in threads:
            thread.start()
        until(lambda: place.node.statement(tag)["queued"] > 3)  # noqa: B023
        rule = place.order("swept", tag=tag)
        until(lambda: place.node.statement(tag)["intercepted"]["door"] > 3)  # noqa: B023
        stop.set()
        for thread in threads:
            thread.join(60)
            assert not thread.is_alive()
        statement = place.rests(tag, queued=0)
        assert statement["accepted"] == sum(statement["intercepted"].values())
        assert statement["intercepted"]["queued"] > 3
        place.lift(rule)
    assert set(answers) == {250}
    assert place.arrived("race.test") == []
