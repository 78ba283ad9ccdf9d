"""The terms of tenants: one order refuses and holds the mail of a tenant everywhere; pool, senders, weight."""

import contextlib
import signal
import smtplib
import threading
from typing import Any

import pytest

from tests.scenarios.s40_tokens.conftest import Accounts
from tests.support.node import TOKEN, signal_to, until
from tests.support.shell import Shell
from tests.support.sink import HOLD


def reply(place: Accounts, tenant: str, sender: str = "from@example.org", from_: str | None = None) -> tuple[int, str]:
    """The reply to the end of data of one message of the tenant."""
    with place.node.sender() as client:
        client.mail(sender)
        client.rcpt(f"a@{tenant}.test")
        header = f"From: {from_ or sender}\r\n" if from_ != "" else ""
        code, text = client.data(f"{header}X-MQ-Tenant: {tenant}\r\nX-MQ-Tag: {tenant}\r\n\r\nhello\r\n".encode())
    return code, text.decode()


def terms(place: Accounts, tenant: str, want: tuple[int, ...] = (200, 201), **body: Any) -> dict[str, Any]:
    answer: dict[str, Any] = place.call("PUT", f"/v1/tenants/{tenant}?wait=50s&until=swept", body, want)
    assert answer["effective"], answer
    return answer


def test_a_suspended_tenant_is_refused_and_held_and_goes_on(place: Accounts) -> None:
    place.node.send("due@sus.test", ("sus",), X_MQ_Tenant="sus", X_MQ_Delayed="+1h")
    made = terms(place, "sus", state="suspended", reason="unpaid")
    assert (made["state"], made["held"]) == ("suspended", 1)
    assert place.node.statement("sus")["held"] == 1
    assert reply(place, "sus") == (550, "5.7.1 the account is suspended")
    assert reply(place, "free")[0] == 250
    place.rests("sus", accepted=1, rejected=1, queued=0)
    assert place.call("GET", "/v1/tags?tag=sus&tenant=sus")["held"] == 1
    (line,) = place.logged("sus", "Rejection", 1)
    assert (line["forced"]["rule"], line["forced"]["stage"], line["forced"]["by"]) == (made["rule"], "door", "admin")
    terms(place, "sus", want=(200,), state="active")
    place.rests("sus", held=0, queued=1)
    assert reply(place, "sus")[0] == 250
    until(lambda: place.arrived("sus.test"), what="mail of a tenant that goes on does not arrive")
    gone = place.call("DELETE", "/v1/tenants/sus?wait=50s")
    assert gone["state"] == "active"
    assert place.call("GET", "/v1/tenants/sus", want=(404,))["error"]["type"] == "not_found"


def test_a_suspension_concerns_protected_mail_too(place: Accounts) -> None:
    place.sink.script("DATA", HOLD)
    place.node.send("begun@safe.test", ("vip", "safe"), X_MQ_Tenant="safe")
    until(lambda: place.sink.begun_to("safe.test"))
    place.node.send("due@safe.test", ("vip", "safe"), X_MQ_Tenant="safe", X_MQ_Delayed="+1h")
    spared = place.order(tag="safe", tenant="safe", goal="swept")
    held = terms(place, "safe", state="suspended")
    place.rests("safe", held=2, queued=0)
    place.sink.script("DATA", None)
    place.sink.release("354 go on")
    place.node.send("a@free.test", ("free2",))
    place.rests("free2", delivered=1)
    assert place.arrived("safe.test") == []
    assert place.account(spared)["matched"] == 0, "a rule spares protected mail that it does not name"
    explained = place.call("GET", "/v1/explain?pool=default&domain=safe.test&tag=vip&tenant=safe")
    assert [rule["rule"] for rule in explained["rules"] if rule["matches"]] == [held["rule"]], explained
    place.lift(spared)
    terms(place, "safe", want=(200,), state="active")
    until(lambda: place.arrived("safe.test") == ["begun@safe.test"])
    place.rests("safe", held=0, queued=1, delivered=1)
    place.call("DELETE", "/v1/tenants/safe?wait=50s")


def test_a_tenant_sends_from_its_domains_only(place: Accounts) -> None:
    terms(place, "shop", senders=["shop.example", "*.shop.example"])
    assert reply(place, "shop", "a@shop.example")[0] == 250
    assert reply(place, "shop", "a@news.SHOP.example")[0] == 250
    code, words = reply(place, "shop", "a@other.example", "a@shop.example")
    assert (code, "MAIL FROM" in words) == (550, True), words
    code, words = reply(place, "shop", "a@shop.example", '"a@shop.example" <b@other.example>')
    assert (code, "From header" in words) == (550, True), words
    code, words = reply(place, "shop", "a@shop.example", "b@other.example <a@shop.example>")
    assert code == 550, words
    assert reply(place, "shop", "", "a@shop.example")[0] == 250
    assert reply(place, "shop", "", "")[0] == 550
    assert reply(place, "free", "a@other.example")[0] == 250
    place.call("DELETE", "/v1/tenants/shop?wait=50s")


def test_mail_of_a_tenant_that_asks_for_no_pool_goes_to_its_own(place: Accounts) -> None:
    terms(place, "rich", pool="gold")
    (asked,) = place.node.send("a@rich.test", X_MQ_Tenant="rich", X_MQ_Pool="default", X_MQ_Delayed="+1h")
    (plain,) = place.node.send("a@rich.test", X_MQ_Tenant="rich", X_MQ_Delayed="+1h")
    (other,) = place.node.send("a@rich.test", X_MQ_Delayed="+1h")
    pools = [place.call("GET", f"/v1/messages/{one}")["recipients"][0]["pool"] for one in (asked, plain, other)]
    assert pools == ["default", "gold", "default"]
    place.call("DELETE", "/v1/tenants/rich?wait=50s")


def test_terms_are_listed_edited_under_a_condition_and_a_tenants_own_to_see(place: Accounts) -> None:
    one, two = terms(place, "l1", weight=3), terms(place, "l2")
    assert [(t["name"], t["weight"]) for t in place.call("GET", "/v1/tenants")["tenants"]] == [("l1", 3), ("l2", 1)]
    page = place.call("GET", "/v1/tenants?limit=1")
    assert (len(page["tenants"]), page["cursor"]) == (1, "l1")
    token = place.token("admin", tenant="l1")
    assert [t["name"] for t in place.asks(token, "GET", "/v1/tenants")[1]["tenants"]] == ["l1"]
    assert place.asks(token, "GET", "/v1/tenants/l2")[0] == 404
    assert place.asks(token, "PUT", "/v1/tenants/l1", b'{"weight": 99}')[0] == 403
    for path in ("errors", "pauses"):
        assert place.call("GET", f"/v1/{path}/{one['rule']}", want=(404,))
        assert place.call("DELETE", f"/v1/{path}/{one['rule']}", want=(404,))
    for body, field in (({"weight": 0}, "weight"), ({"pool": "a b"}, "pool"), ({"state": "off"}, "state")):
        assert place.call("PUT", "/v1/tenants/l1", body, (400,))["error"]["field"] == field
    for name in (one, two):
        place.call("DELETE", f"/v1/tenants/{name['name']}?wait=50s")


def test_the_command_suspends_and_resumes_and_keeps_other_terms(place: Accounts) -> None:
    shell = Shell(place.node, place.sink)
    shell.environ["FLOODGATE_TOKEN"] = TOKEN
    assert shell.run("tenants", "set", "cmd", "--weight", "5", "--sender", "cmd.example").status == 0
    said = shell.run("tenants", "suspend", "cmd", "--reason", "unpaid")
    assert (said.status, "effective everywhere since" in said.out) == (0, True), said
    found = shell.run("tenants", "show", "cmd", "--json").json
    assert (found["state"], found["weight"], found["senders"], found["reason"]) == (
        "suspended", 5, ["cmd.example"], "unpaid",
    )  # fmt: skip
    assert reply(place, "cmd", "a@cmd.example")[0] == 550
    assert shell.run("tenants", "resume", "cmd").status == 0
    assert reply(place, "cmd", "a@cmd.example")[0] == 250
    assert "cmd" in shell.run("tenants", "list").out
    assert shell.run("tenants", "show", "none").status == 1
    place.call("DELETE", "/v1/tenants/cmd?wait=50s")


@pytest.mark.usefixtures("one_hour")
def test_a_quota_is_never_exceeded_and_says_until_when(place: Accounts) -> None:
    shell = Shell(place.node, place.sink)
    shell.environ["FLOODGATE_TOKEN"] = TOKEN
    shell.run("tenants", "set", "capped", "--per-hour", "5", "--per-day", "7", "--wait", "20s")
    answers = [reply(place, "capped") for _ in range(8)]
    assert [code for code, _ in answers].count(250) == 5, answers
    code, words = answers[-1]
    assert code == 452
    assert "4.7.28 the account's quota of 5 deliveries an hour and 7 deliveries a day is used up until 2" in words
    statement = place.node.statement("capped")
    assert (statement["accepted"], statement["rejected"]) == ([code for code, _ in answers].count(250), 0)
    found = place.call("GET", "/v1/tenants/capped")
    assert found["quota"] == {"per_hour": 5, "per_day": 7}
    until(lambda: place.call("GET", "/v1/tenants/capped")["quota_left"]["hour"] in (0, 3), what="a slice is kept")
    shell.run("tenants", "set", "capped", "--per-hour", "0", "--per-day", "0", "--wait", "20s")
    assert "quota_left" not in place.call("GET", "/v1/tenants/capped")
    assert reply(place, "capped")[0] == 250
    place.rests("capped", queued=0)


@pytest.mark.usefixtures("one_hour")
def test_a_repeated_message_is_answered_though_the_quota_is_used_up(place: Accounts) -> None:
    terms(place, "again", want=(201,), quota={"per_day": 1})

    def send(key: str) -> tuple[int, bytes]:
        with place.node.sender() as client:
            client.mail("from@example.org")
            client.rcpt("a@again.test")
            header = f"From: from@example.org\r\nX-MQ-Tenant: again\r\nX-MQ-Idempotency-Key: {key}\r\n"
            return client.data(f"{header}X-MQ-Tag: again\r\n\r\nhello\r\n".encode())

    code, first = send("one")
    assert code == 250
    assert send("two")[0] == 452
    assert send("one") == (250, first)
    place.rests("again", accepted=1, delivered=1)
    place.call("DELETE", "/v1/tenants/again?wait=50s")


@pytest.mark.usefixtures("one_hour")
def test_clients_side_by_side_get_a_quota_once_though_a_worker_is_killed(place: Accounts) -> None:
    terms(place, "shared", want=(201,), quota={"per_day": 60})
    codes: list[int] = []

    def ask() -> int:
        code = 0
        with contextlib.suppress(OSError, smtplib.SMTPException):  # of the worker that was killed: it may be accepted
            code = reply(place, "shared")[0]
        codes.append(code)
        return code

    clients = [threading.Thread(target=lambda: any(ask() == 452 for _ in range(40))) for _ in range(6)]
    for one in clients:
        one.start()
    until(lambda: len(codes) > 15, what="nothing is answered")
    signal_to(place.node.workers()[0], signal.SIGKILL)
    for one in clients:
        one.join()
    until(lambda: len(place.node.workers()) == 2, what="no new worker")
    # Both workers are asked: one of them may have a slice that the other one lacks.
    until(lambda: all(ask() == 452 for _ in range(8)), what="the quota has no end")
    accepted = place.node.statement("shared")["accepted"]
    assert codes.count(250) <= accepted <= 60, codes
    assert accepted >= 45, "more is lost with a worker than a slice and the messages under way"
    place.call("DELETE", "/v1/tenants/shared?wait=50s")
