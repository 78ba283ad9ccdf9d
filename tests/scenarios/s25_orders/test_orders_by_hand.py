"""Orders as people give them: typing errors, repeated options, the way back, and what the queues say meanwhile."""

import contextlib
import json
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.node import Node, running, until
from tests.support.recount import assert_balanced
from tests.support.rest import as_form, ask
from tests.support.shell import Shell
from tests.support.sink import Answer
from tests.support.sink_thread import SinkThread


@pytest.fixture(scope="module")
def shell(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shell]:
    sink = SinkThread().start()
    node = Node(
        tmp_path_factory.mktemp("s25") / "n1",
        delivery__route=sink.address,
        delivery__retries=["1h"],
        delivery__lease="5s",
        rules__max_staleness="1s",
    )
    node.token = None  # the files in the data directory are what the commands find
    with contextlib.ExitStack() as stack:
        stack.callback(sink.stop)
        stack.enter_context(pytest.MonkeyPatch.context()).delenv("FLOODGATE_ADMIN_TOKEN", raising=False)
        stack.enter_context(running(node))
        found = Shell(node, sink)
        yield found
        assert_balanced(node.ready["redis"])


def arrived(shell: Shell, domain: str) -> list[str]:
    return sorted(address for received in shell.sink.to(domain) if received.taken for address in received.recipients)


def queued(shell: Shell, tag: str) -> int:
    return shell.node.statement(tag)["queued"]


def rules(shell: Shell, kind: str = "errors") -> list[Any]:
    return shell.node.call("GET", f"/v1/{kind}?enabled=all")[1]


def queue_of(shell: Shell, domain: str) -> Any:
    found = shell.node.call("GET", f"/v1/queues?domain={domain}")[1]["queues"]
    return found[0] if found else None


def test_o1_a_repeated_tag_ends_no_mail_and_is_named(shell: Shell):
    for tag in ("one", "two"):
        shell.node.send(f"a@{tag}.o1.test", (tag,), X_MQ_Delayed="+1h")
    orders = [
        ("cancel", "--tag", "one", "--tag", "two", "--yes"),
        ("errors", "add", "554", "--tag", "one", "--tag=two", "--yes"),
        ("cancel", "--tag", "one", "--pool", "default", "--pool", "other", "--yes"),
        ("freeze", "--tag", "one", "--tag", "two"),
        ("pauses", "add", "--tag", "one", "--pool", "default", "--pool", "other"),
    ]
    for words in orders:
        refused = shell.run(*words)
        assert (refused.status, refused.out) == (2, ""), refused
        option = "--pool" if "--pool" in words else "--tag"
        assert f"{option} is given 2 times" in refused.err
    assert (queued(shell, "one"), queued(shell, "two"), rules(shell), rules(shell, "pauses")) == (1, 1, [], [])
    again = ask_as_admin(shell, "POST", "/v1/errors", as_form(code="554", tag="one") + b"&tag=two")
    assert (again[0], again[1]["error"]["field"]) == (400, "tag"), "the same over REST"


def ask_as_admin(shell: Shell, method: str, path: str, form: bytes | None = None) -> tuple[int, Any]:
    token = (shell.node.folder / "admin.token").read_text().strip()
    kind = "application/x-www-form-urlencoded"
    answer = ask(shell.node.ready["api"], method, path, form, kind, token)
    return answer.status, answer.body


def test_o1_each_recipient_of_a_list_gets_the_message(shell: Shell, tmp_path):
    message = tmp_path / "message"
    message.write_text("Subject: hello\n\nHello\n")
    host, port = shell.node.smtp
    words = ("send", "--smtp", f"{host}:{port}", "--from", "a@sender.example", "--tag", "list")
    sent = shell.run(*words, "--to", "e@list.o1.test,f@list.o1.test", "--to", "G <g@list.o1.test>", str(message))
    assert sent.status == 0, sent
    until(lambda: shell.node.statement("list")["delivered"] == 3)
    assert arrived(shell, "list.o1.test") == ["e@list.o1.test", "f@list.o1.test", "g@list.o1.test"]


@pytest.mark.parametrize("way", ["cancel", "errors add", "rest", "preset"])
def test_o2_blanks_around_a_tag_do_not_count(shell: Shell, way: str):
    tag = f"o2-{way.split()[0]}"
    shell.node.send(f"a@{tag}.test", (f" {tag}  ",), X_MQ_Delayed="+1h")
    if way == "rest":
        status, rule = shell.node.call("POST", "/v1/errors?until=swept&wait=50s", {"code": 554, "tag": f"\t{tag} "})
        assert (status, rule["tag"], rule["warnings"]) == (201, tag, [])
    elif way == "preset":  # the order is there before the mail
        status, rule = shell.node.call("POST", "/v1/errors", {"code": 554, "tags_all": [f"{tag}-late "]})
        shell.node.send(f"b@{tag}.test", (f"{tag}-late",), X_MQ_Delayed="+1h")
        assert shell.node.statement(f"{tag}-late")["intercepted"]["door"] == 1
        assert shell.run("cancel", "--tag", f"{tag} ", "--yes").status == 0
    elif way == "cancel":
        assert shell.run("cancel", "--tag", f"{tag} ", "--yes").status == 0
    else:
        assert shell.run("errors", "add", "554", "--tag", f" {tag}", "--until", "swept", "--yes").status == 0
    assert (queued(shell, tag), shell.node.statement(tag)["intercepted"]["queued"]) == (0, 1)


def test_o3_a_typing_error_makes_no_rule(shell: Shell):
    shell.node.send("a@o3.test", ("spring-sale",), X_MQ_Delayed="+1h")
    before = (rules(shell), rules(shell, "pauses"))
    for words in (("cancel", "--yes"), ("freeze",)):
        refused = shell.run(*words, "--tag", "spring-sael")
        assert (refused.status, refused.out, refused.err.count("\n")) == (1, "", 1)
        without_nearest = refused.err.replace(" (seen lately: spring-sale)", "")  # looked for at most each two seconds
        assert without_nearest.startswith("floodgate: no mail carries tag spring-sael, so nothing was made")
        refused = shell.run(*words, "--tag", "spring-sale", "--domain", "gmail")
        assert (refused.status, "gmail is no domain name" in refused.err) == (1, True)
    assert (rules(shell), rules(shell, "pauses")) == before
    made = shell.run("cancel", "--tag", "spring-sael", "--allow-empty", "--yes", "--json")
    assert made.status == 0, made
    assert made.json["statement"]["matched"] == 0
    shell.node.send("b@o3.test", ("spring-sael",), X_MQ_Delayed="+1h")
    assert shell.node.statement("spring-sael")["intercepted"]["door"] == 1, "the order waited for it"
    status, rule = ask_as_admin(shell, "POST", "/v1/errors", as_form(code="554", tag="spring-sale", domain="gmail"))
    assert (status, rule["warnings"]) == (
        201,
        ["gmail is no domain name of the Internet (it has no dot), and no mail for it waits"],
    )
    status, rule = ask_as_admin(shell, "POST", "/v1/pauses", as_form(tag="sprng", domain="O3.test."))
    assert (status, rule["domain"]) == (201, "o3.test")
    (warning,) = rule["warnings"]
    assert warning.startswith("no mail carries tag sprng yet")
    assert queued(shell, "spring-sale") == 1


def test_o3_mail_that_the_sweep_has_ended_by_now_is_no_typing_error(shell: Shell):
    shell.node.send("a@swept.o3.test", ("swept",), X_MQ_Delayed="+1h")
    path = "/v1/errors?until=swept&wait=50s"
    status, rule = ask_as_admin(shell, "POST", path, as_form(code="554", domain="swept.o3.test"))
    assert (status, rule["warnings"]) == (201, [])
    assert queued(shell, "swept") == 0


def test_o4_what_cancel_prints_last_is_true_and_can_be_pasted(shell: Shell):
    shell.node.send(["a@o4.test", "b@o4.test"], ("o4",), X_MQ_Delayed="+1h")
    said = shell.run("cancel", "--tag", "o4", "--reason", "wrong link", "--yes")
    assert said.status == 0, said
    stays, lift, undo = said.out.splitlines()[-3:]
    assert stays == "The rule stays in force: mail that comes in with tag=o4 is intercepted, too."
    shell.node.send("c@o4.test", ("o4",), X_MQ_Delayed="+1h")
    assert shell.node.statement("o4")["intercepted"] == {"queued": 2, "attempt": 0, "before_dot": 0, "door": 1}
    assert "(until 2" in undo
    undone = shell.sh(undo.partition(":")[2].partition("(")[0])
    assert undone.status == 0, undone
    assert (queued(shell, "o4"), "3 returned" in undone.out) == (3, True)
    assert shell.sh(lift.partition(":")[2]).status == 0
    assert [rule["id"] for rule in rules(shell) if rule.get("tag") == "o4"] == []
    shell.node.send("d@o4.test", ("o4",))
    until(lambda: arrived(shell, "o4.test") == ["d@o4.test"])


def test_o4_a_rule_without_undo_says_that_there_is_none(shell: Shell):
    shell.node.send("a@none.o4.test", ("o4none",), X_MQ_Delayed="+1h")
    made = shell.run("errors", "add", "554", "--tag", "o4none", "--no-undo", "--until", "swept", "--yes", "--json")
    shown = shell.run("errors", "show", made.json["id"], "--json").json
    assert (made.status, "undo_until" in shown, shown["hits"]) == (0, False, 1)


def test_o10_thaw_names_the_pauses_of_the_tag_and_lifts_them(shell: Shell):
    one, two = ("--domain", "X.o10.test"), ("--domain", "y.o10.test", "--except-tag", "o10-vip")
    for selectors in (one, two):
        frozen = shell.run("freeze", "--tag", "o10", *selectors, "--allow-empty", "--json")
        assert frozen.status == 0, frozen
    shell.node.send(["a@x.o10.test", "b@y.o10.test"], ("o10",))
    shell.node.send("c@y.o10.test", ("o10", "o10-vip"))
    until(lambda: shell.node.statement("o10")["held"] == 2)
    until(lambda: arrived(shell, "y.o10.test") == ["c@y.o10.test"])
    refused = shell.run("thaw", "--tag", "o10")
    assert (refused.status, refused.out, refused.err.count("\n")) == (1, "", 1)
    ways = refused.err.rstrip("\n").partition("lifted by: ")[2].split("; ")
    assert ways == [
        "floodgate thaw --tag o10 --domain x.o10.test",
        "floodgate thaw --tag o10 --domain y.o10.test --except-tag o10-vip",
    ]
    assert (arrived(shell, "x.o10.test"), shell.node.statement("o10")["held"]) == ([], 2)
    for way in ways:
        assert shell.sh(way).status == 0
    until(lambda: arrived(shell, "x.o10.test") == ["a@x.o10.test"])
    until(lambda: arrived(shell, "y.o10.test") == ["b@y.o10.test", "c@y.o10.test"])


def test_o7_mail_that_a_pause_holds_is_in_the_list_of_queues(shell: Shell):
    shell.node.send([f"{n}@o7.test" for n in range(5)], ("o7",), X_MQ_Delayed="+1h")
    shell.node.send("free@o7.test", ("o7free",), X_MQ_Delayed="+2h")
    before = queue_of(shell, "o7.test")
    assert (before["scheduled"], before["held"], before["oldest"] < 60) == (6, 0, True)
    assert before["why"] == [{"reason": "scheduled", "count": 6, "text": "due at the time that the sender asked for"}]
    frozen = shell.run("freeze", "--tag", "o7", "--reason", "wrong link")
    assert frozen.status == 0, frozen
    (pause,) = [rule for rule in rules(shell, "pauses") if rule.get("tag") == "o7"]
    until(lambda: queue_of(shell, "o7.test")["held"] == 5, what="the pause has taken the mail that waits")
    after = queue_of(shell, "o7.test")
    assert (after["due"], after["scheduled"], after["held"]) == (0, 1, 5)
    assert after["next_due"] > before["next_due"], "held mail is not due"
    assert after["why"][0] == {
        "reason": "held",
        "count": 5,
        "rule": pause["id"],
        "text": f"held by pause {pause['id']} (wrong link)",
    }
    head, line = shell.run("queues", "list", "--domain", "o7.test").out.splitlines()
    counts = ["pool", "domain", "due", "scheduled", "claimed", "held", "parked"]
    assert head.split() == [*counts, "oldest", "next", "due", "rate", "last", "reply", "why"]
    assert line.split()[:7] == ["default", "o7.test", "0", "1", "0", "5", "0"]
    assert line.split()[7].endswith("s")
    assert line.split()[8] == after["next_due"]
    assert f"5 held by pause {pause['id']} (wrong link); 1 due at the time" in line
    assert shell.run("cancel", "--tag", "o7free", "--yes").status == 0
    assert queue_of(shell, "o7.test")["held"] == 5, "all of it is held, and it is still in the list"
    assert shell.run("thaw", "--tag", "o7").status == 0
    until(lambda: queue_of(shell, "o7.test")["held"] == 0)


def test_o7_deferred_mail_says_what_the_destination_answered(shell: Shell):
    def greylisted(connection: int, argument: str) -> Answer | None:
        return "450 4.7.1 \u202egreylisted" if "grey.o7.test" in argument else None

    shell.sink.script("RCPT", greylisted)
    try:
        shell.node.send("a@grey.o7.test", ("o7grey",))
        queue = until(lambda: (q := queue_of(shell, "grey.o7.test")) and (q["scheduled"], q["claimed"]) == (1, 0) and q)
    finally:
        shell.sink.script("RCPT", None)
    assert queue["why"] == [
        {
            "reason": "retry",
            "count": 1,
            "text": "due for its next attempt later (1 attempt of the first so far, the last ended with: "
            "450 4.7.1 \\u202egreylisted)",
        }
    ]
    assert queue["oldest"] < 60
    assert queue["next_due"] > shell.node.call("GET", "/v1/queues")[1]["as_of"]


def test_o3_selectors_that_no_waiting_mail_carries_together_are_named(shell: Shell):
    shell.node.send("a@tenant.o3.test", ("o3t",), X_MQ_Delayed="+1h")
    for words in (("cancel", "--yes"), ("freeze",)):
        before = (rules(shell), rules(shell, "pauses"))
        refused = shell.run(*words, "--tag", "o3t", "--tenant", "typo")
        assert (refused.status, refused.out, refused.err.count("\n")) == (1, "", 1), refused
        assert refused.err.startswith("floodgate: no mail of tenant typo carries tag o3t, so nothing was made")
        assert (rules(shell), rules(shell, "pauses")) == before
        made = shell.run(*words, "--tag", "o3t", "--tenant", "typo", "--allow-empty")
        assert made.status == 0, made
        assert "no waiting mail matches tag=o3t tenant=typo: 1 of tag o3t still queue; check the spelling" in made.err
    path = "/v1/errors?until=swept&wait=50s"
    status, rule = ask_as_admin(shell, "POST", path, as_form(code="554", tag="o3t", tenant="tpyo"))
    words = "no mail that waits matches these selectors together; check the spelling of each"
    assert (status, rule["warnings"]) == (201, [words])
    assert shell.run("cancel", "--tag", "o3t", "--yes").err.count("matches") == 0


@pytest.mark.parametrize("selector", [("--ip", "127.0.0.1"), ("--mx", "mx.o3.test")])
def test_o3_a_rule_by_peer_says_that_it_acts_at_the_next_attempt(shell: Shell, selector: tuple[str, str]):
    tag = f"o3{selector[0][2:]}"
    shell.node.send(["a@peer.o3.test", "b@peer.o3.test"], (tag,), X_MQ_Delayed="+1h")
    made = shell.run("cancel", "--tag", tag, *selector, "--yes")
    assert made.status == 0, made
    assert "The account is not complete: no sweep belongs to this rule: waiting mail meets it at its next" in made.out
    assert "Still open: 2 queued" not in made.out, "how many of them match is not known"
    assert (
        f"nothing is ended or held yet: 2 of tag {tag} still queue, and the rule acts at the next attempt" in made.err
    )
    form = as_form(code="554", tag=tag, **{selector[0][2:]: selector[1]})
    _, rule = ask_as_admin(shell, "POST", "/v1/errors", form)
    assert [warning for warning in rule["warnings"] if warning.startswith("it acts at the next attempt")]


def test_o14_a_pause_that_is_over_is_not_said_to_stay(shell: Shell):
    shell.node.send("a@over.o14.test", ("o14over",), X_MQ_Delayed="+1h")
    frozen = shell.run("freeze", "--tag", "o14over", "--duration", "1ms")
    assert (frozen.status, "stays in force" in frozen.out) == (0, False), frozen
    last = frozen.out.splitlines()[-1]
    assert last.startswith("The pause ended at 2")
    assert last.endswith("The mail that it held is released.")
    assert shell.node.statement("o14over")["held"] == 0


def test_o14_matched_beyond_the_mail_is_explained(shell: Shell):
    shell.node.send(["a@again.o14.test", "b@again.o14.test"], ("o14again",), X_MQ_Delayed="+1h")
    made = shell.run("freeze", "--tag", "o14again", "--json").json
    for enabled in (False, True):
        path = f"/v1/pauses/{made['rule']['id']}?wait=50s&until=swept"
        assert shell.node.call("PATCH", path, {"enabled": enabled})[0] == 200
        until(lambda held=2 * enabled: shell.node.statement("o14again")["held"] == held)
    again = shell.run("freeze", "--tag", "o14again")
    assert (
        "The account balances; it counts a delivery each time that the rule, ordered or enabled again, met it."
        in again.out.splitlines()
    ), again


@pytest.mark.parametrize("words", [("--from", "ü@o4.test", "--to", "a@o4.test"), ("--from", "", "--to", "a@ü.test")])
def test_o1_an_address_that_the_command_cannot_send_is_one_line(shell: Shell, words: tuple[str, ...]):
    refused = shell.run("send", "--smtp", "127.0.0.1:1", *words, "/dev/null")
    assert (refused.status, refused.out, refused.err.count("\n")) == (2, "", 1), refused
    assert "SMTPUTF8" in refused.err


def test_o1_a_setting_that_is_given_twice_is_refused(shell: Shell):
    for words in (("config", "check"), ("config", "show"), ("node",)):
        refused = shell.run(*words, "--set", "node.name=a", "--set", "node . name=b")
        assert refused.status == 1, refused
        assert "--set: node.name is given more than once and takes one value" in refused.err
    refused = shell.run("node", "--name", "a", "--set", "node.name=b")
    assert (refused.status, "node.name is given more than once" in refused.err) == (1, True)


def test_r8_a_port_that_speaks_something_else_is_named(shell: Shell):
    host, port = shell.node.smtp
    api = shell.node.ready["api"].partition("://")[2]
    said = shell.run("workers", FLOODGATE_URL=f"https://{api}")
    assert (said.status, "speaks no TLS; write http://" in said.err, said.err.count("\n")) == (4, True, 1), said
    said = shell.run("workers", FLOODGATE_URL=f"http://{host}:{port}")
    assert (said.status, "speaks no HTTP" in said.err, said.err.count("\n")) == (4, True, 1), said


class _Tail:
    """`floodgate tail` while it runs: its output so far."""

    def __init__(self, process: "subprocess.Popen[str]", folder: Any) -> None:
        self.process = process
        self._out, self._err = folder / "out", folder / "err"

    def lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self._out.read_text().rpartition("\n")[0].splitlines()]

    def err(self) -> str:
        return self._err.read_text()


@contextlib.contextmanager
def tailing(shell: Shell, folder: Any, *words: str) -> Iterator[_Tail]:
    with (folder / "out").open("w") as out, (folder / "err").open("w") as err:
        process = shell.start("tail", *words, "--json", out=out, err=err)
        try:
            yield _Tail(process, folder)
        finally:
            process.kill()
            process.wait()


def test_r8_tail_goes_on_over_a_restart_of_the_node_at_another_port(shell: Shell, tmp_path):
    node = shell.node
    del shell.environ["FLOODGATE_URL"]
    assert shell.run("workers").status == 0, "the file is read"
    with tailing(shell, tmp_path, "--tag", "r8", "--type", "Delivery") as tail:

        def shown(address: str) -> int:
            return [line["recipient"] for line in tail.lines()].count(address)

        def begun() -> bool:  # how soon the stream stands is not ours to know
            node.send("a@r8.test", ("r8",))
            return bool(tail.lines())

        until(begun)
        node.send(["b@r8.test", "c@r8.test"], ("r8",))
        old = node.ready["api"]
        node.stop()
        until(lambda: "connecting again" in tail.err())
        assert tail.process.poll() is None
        away = shell.run("workers")
        assert (away.status, "cannot be reached" in away.err, "api.url" in away.err) == (4, True, True), away
        node.start()
        assert node.ready["api"] != old
        until(lambda: f"connected again to {node.ready['api']}" in tail.err())
        node.send("z@r8.test", ("r8",))
        until(lambda: shown("z@r8.test"))
        until(lambda: all(shown(f"{name}@r8.test") for name in "bc"))  # they may be sent after the restart
        assert [shown(f"{name}@r8.test") for name in "bcz"] == [1, 1, 1], "none is missing and none comes twice"
        assert tail.process.poll() is None
        assert tail.err().count("\n") == 2, "one line when it goes and one when it is back"
