"""The commands that speak to the REST API: output, exit statuses, what they ask before mail ends."""

import json
import socket
import threading
from pathlib import Path
from typing import Any

import orjson
import pytest

from mta.cli import follow, remote, tail
from mta.http_out.api_client import ApiRefused
from mta.model.endings import Final
from mta.model.ids import delivery_id, message_text, new_message_id
from mta.model.mail import Record
from mta.model.outcomes import Class, Reply
from mta.model.previews import Tally
from mta.model.sweeps import SweepPhase, SweepState
from mta.ports.messages import DeliveryStatus
from tests.support.commands import Floodgate, call
from tests.support.control_api import AT, TOKEN, Cluster, counts_of


@pytest.mark.parametrize(
    "name",
    ["freeze", "pauses", "thaw", "cancel", "errors", "messages", "explain", "parked", "queues", "tail", "workers"],
)
def test_each_command_is_where_the_program_looks(name: str) -> None:
    assert call(name, "--help").exit_code == 0


def test_errors_are_added_listed_shown_and_removed(floodgate: Floodgate) -> None:
    added = floodgate("errors", "add", "554", "--tag", "c", "--extended", "5.7.1", "--yes", "--json")
    assert added.exit_code == 0, added.output
    rule_id = json.loads(added.stdout)["id"]
    listed = json.loads(floodgate("errors", "list", "--json").stdout)
    assert [(rule["id"], rule["extended"]) for rule in listed] == [(rule_id, "5.7.1")]
    assert "tag=c" in floodgate("errors", "list").stdout
    assert rule_id in floodgate("errors", "show", rule_id).stdout
    removed = floodgate("errors", "remove", rule_id)
    assert removed.exit_code == 0
    assert "effective everywhere since 2023-11-14T22:13:20.000Z" in removed.stdout
    again = floodgate("errors", "remove", rule_id)
    assert again.exit_code == 1
    words = "it may have been removed (then its statement can be read for a while)"
    assert again.stderr == f"floodgate: there is no forced error with this id; {words}\n"


@pytest.mark.parametrize("family", ["errors", "pauses"])
def test_o9_quiet_prints_ids_and_nothing_else(floodgate: Floodgate, family: str) -> None:
    code = ("554", "--yes") if family == "errors" else ()
    made = [floodgate(family, "add", *code, "--tag", tag, "--quiet").stdout for tag in ("a", "b")]
    listed = floodgate(family, "list", "-q").stdout
    assert sorted(listed.splitlines(keepends=True)) == sorted(made)
    for rule_id in listed.split():
        assert floodgate(family, "remove", rule_id).exit_code == 0
    assert floodgate(family, "list", "-q").stdout == ""


def test_what_is_not_effective_yet_exits_3_and_names_who_is_missing(floodgate: Floodgate, cluster: Cluster) -> None:
    cluster.effective = False
    added = floodgate("errors", "add", "450", "--tag", "c", "--wait", "0")
    assert added.exit_code == 3
    assert "not confirmed by n2/smtp+delivery/22" in added.stdout


def test_what_ends_mail_needs_yes_where_nobody_can_be_asked(floodgate: Floodgate, cluster: Cluster) -> None:
    for arguments in (("errors", "add", "554", "--tag", "c"), ("cancel", "--tag", "c")):
        refused = floodgate(*arguments)
        assert refused.exit_code == 2
        assert "--yes" in refused.stderr
    assert not cluster.rules


def test_a_deferral_asks_nothing(floodgate: Floodgate, cluster: Cluster) -> None:
    assert floodgate("errors", "add", "450", "--tag", "c").exit_code == 0
    assert len(cluster.rules) == 1


def test_a_person_may_decline(floodgate: Floodgate, cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote, "is_terminal", lambda: True)
    cluster.tags["c"] = {"accepted": 3, "queued": 3}
    declined = floodgate("cancel", "--tag", "c", answer="n\n")
    assert declined.exit_code == 1
    assert declined.stdout.startswith("3 deliveries match\nCancel what is queued of c?")
    assert not cluster.rules


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("errors", "add", "354", "--tag", "c", "--yes"), "code: is not an SMTP code"),
        (("errors", "add", "450"), "everything: no selector is given"),
        (("errors", "add", "450", "--tag", "c", "--description", "a\nb"), "description: is not one line"),
        (("errors", "statement", "nothing"), "there is no forced error"),
        (("tail", "--type", "Nothing"), "type: is not a type of event"),
    ],
)
def test_a_refusal_is_one_line_and_exit_1(floodgate: Floodgate, arguments: tuple[str, ...], words: str) -> None:
    refused = floodgate(*arguments)
    assert refused.exit_code == 1
    assert refused.stderr.startswith(f"floodgate: {words}")
    assert refused.stderr.count("\n") == 1


@pytest.mark.parametrize(
    "arguments",
    [
        ("errors", "add"),
        ("errors", "add", "x"),
        ("errors", "add", "450", "--wait", "soon"),
        ("cancel",),
        ("errors", "add", "199", "--tag", "c", "--yes"),
        ("errors", "add", "600", "--tag", "c", "--yes"),
        ("errors", "add", "554", "555", "--tag", "c", "--yes"),
        ("errors", "edit", "id", "--code", "600", "--yes"),
        ("pauses", "convert", "id", "100", "--yes"),
        ("queues", "list", "--limit", "0"),
        ("cancel", "--tag", "c", "d", "--yes"),
    ],
)
def test_bad_usage_is_exit_2(floodgate: Floodgate, arguments: tuple[str, ...]) -> None:
    assert floodgate(*arguments).exit_code == 2


def test_an_api_that_is_not_there_is_exit_4(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        monkeypatch.setenv("FLOODGATE_URL", f"http://127.0.0.1:{unused.getsockname()[1]}")
        monkeypatch.setenv("FLOODGATE_TOKEN", TOKEN)
        for arguments in (("workers",), ("tail",)):
            away = call(*arguments)
            assert away.exit_code == 4
            assert "cannot be reached" in away.stderr


def test_a_wrong_token_is_exit_1(floodgate: Floodgate, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FLOODGATE_TOKEN", "wrong")
    refused = floodgate("workers")
    assert refused.exit_code == 1
    assert "give a valid token" in refused.stderr


def test_the_token_of_the_data_directory_is_found(tmp_path: Path) -> None:
    environ = {"FLOODGATE_DATA_DIR": str(tmp_path)}
    with pytest.raises(ApiRefused, match=r"admin\.token cannot be read"):
        remote.find_token(environ)
    (tmp_path / "admin.token").write_text("from-the-file\n")
    assert remote.find_token(environ) == "from-the-file"
    assert remote.find_token({"STATE_DIRECTORY": str(tmp_path)}) == "from-the-file"
    assert remote.find_token(environ | {"FLOODGATE_TOKEN": "given"}) == "given"


def test_queues_are_one_array_over_all_pages(floodgate: Floodgate, cluster: Cluster) -> None:
    cluster.queue_counts = [counts_of("p", f"d{number:04}.example") for number in range(1200)]
    assert len(json.loads(floodgate("queues", "list", "--json", "--all").stdout)) == 1200
    few = floodgate("queues", "list", "--limit", "3")
    assert [line.split()[1] for line in few.stdout.splitlines()[1:]] == [f"d000{number}.example" for number in range(3)]
    assert "--all" in few.stderr
    assert json.loads(floodgate("queues", "list", "--json", "--domain", "none.example").stdout) == []


def test_workers_are_listed(floodgate: Floodgate) -> None:
    found = json.loads(floodgate("workers", "--json").stdout)
    assert [worker["pid"] for worker in found] == [11, 22]
    assert "smtp, delivery" in floodgate("workers").stdout


def test_tail_prints_lines_for_people_and_for_programs(floodgate: Floodgate, cluster: Cluster) -> None:
    event = {"type": "Bounce", "id": "X.1", "recipient": "a@\x1b[2Jb", "code": 550, "text": "no [bold]such"}
    cluster.lines = [("1-0.1", orjson.dumps(event)), ("1-0.2", orjson.dumps(event | {"id": "X.2"}))]
    assert floodgate("tail", "--limit", "1").stdout == "Bounce            X.1  a@\\u001b[2Jb  550 no [bold]such\n"
    lines = floodgate("tail", "--limit", "2", "--json").stdout.splitlines()
    assert [json.loads(line)["id"] for line in lines] == ["X.1", "X.2"]


def test_tail_goes_on_where_a_stream_broke(
    floodgate: Floodgate, cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tail, "_RECONNECT", 0.01)
    monkeypatch.setattr("control_api.books.events._BATCH", 1)
    cluster.lines = [(f"1-0.{number}", b'{"type":"Delivery","id":"X.%d"}' % number) for number in range(1, 4)]
    reach, calls = cluster.reach, 0

    def sometimes_away() -> None:
        nonlocal calls
        calls += 1
        cluster.away = calls % 5 == 4
        reach()

    monkeypatch.setattr(cluster, "reach", sometimes_away)
    found = floodgate("tail", "--limit", "3", "--json")
    assert [json.loads(line)["id"] for line in found.stdout.splitlines()] == ["X.1", "X.2", "X.3"]


def away_from_the_third_look(cluster: Cluster, monkeypatch: pytest.MonkeyPatch, looks: int) -> None:
    """The store is away for as many looks, so the stream ends and the API answers 503."""
    reach, calls = cluster.reach, 0

    def sometimes() -> None:
        nonlocal calls
        calls += 1
        cluster.away = 4 <= calls < 4 + looks
        reach()

    monkeypatch.setattr(cluster, "reach", sometimes)


def test_r8_tail_says_once_that_it_was_cut_off_and_is_back(
    floodgate: Floodgate, cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tail, "_RECONNECT", 0.01)
    monkeypatch.setattr("control_api.books.events._BATCH", 1)
    cluster.lines = [(f"1-0.{number}", b'{"type":"Delivery","id":"X.%d"}' % number) for number in range(1, 4)]
    away_from_the_third_look(cluster, monkeypatch, 6)
    found = floodgate("tail", "--limit", "3", "--json")
    assert found.exit_code == 0, found.output
    assert [json.loads(line)["id"] for line in found.stdout.splitlines()] == ["X.1", "X.2", "X.3"]
    cut, back = found.stderr.splitlines()
    assert cut.endswith("; connecting again")
    assert "connected again to http://127.0.0.1:" in back


def test_r8_tail_gives_up_in_the_end(floodgate: Floodgate, cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tail, "_RECONNECT", 0.01)
    monkeypatch.setattr(tail, "_PATIENCE", 0.05)
    away_from_the_third_look(cluster, monkeypatch, 1_000_000)
    found = floodgate("tail", "--json")
    assert found.exit_code == 1, "the API answered, and said no"
    assert found.stderr.splitlines()[0].endswith("connecting again")


def swept_by_itself(cluster: Cluster) -> None:
    """The sweep of the rule to come is done, and its account balances."""

    class Sweeps(dict[str, SweepState]):
        def get(self, key: str, default: object = None) -> SweepState:  # type: ignore[override]
            return SweepState(key, 1, SweepPhase.DONE, 4, 3, AT, AT + 1000, AT)

    class Counts(dict[str, dict[str, int]]):
        def get(self, key: str, default: object = None) -> dict[str, int]:  # type: ignore[override]
            return {"met": 3, "intercepted:queued": 3}

    cluster.sweep_states, cluster.counts = Sweeps(), Counts()
    cluster.tags["c"] = {"accepted": 5, "delivered": 2, "intercepted:queued": 3}


def test_cancel_orders_follows_the_sweep_and_prints_the_statement(floodgate: Floodgate, cluster: Cluster) -> None:
    swept_by_itself(cluster)
    done = floodgate("cancel", "--tag", "c", "--domain", "x.example", "--reason", "wrong list", "--yes")
    assert done.exit_code == 0, done.output
    rule = next(iter(cluster.rules.values()))
    assert (rule.code, rule.extended, rule.selectors.tag, rule.selectors.domain) == (554, "5.7.1", "c", "x.example")
    assert rule.reason == "wrong list"
    assert "sweep done: 4 seen, 3 intercepted, 0 still queued" in done.stderr
    account = done.stdout.splitlines()[2:6]
    assert account[0].startswith("Mail with domain=x.example tag=c, canceled ")
    assert account[0].endswith("by admin (wrong list): 3 met, 0 had it, 3 stopped, 0 undecided.")
    assert account[2:] == ["The account balances.", "Nothing is open."]
    assert "balanced" not in done.stdout


def test_o8_figures_are_printed_where_they_are_asked_for(floodgate: Floodgate, cluster: Cluster) -> None:
    swept_by_itself(cluster)
    done = floodgate("cancel", "--tag", "c", "--yes", "--detail")
    assert done.exit_code == 0, done.output
    rule_id = next(iter(cluster.rules))
    for said in (done.stdout, floodgate("errors", "statement", rule_id, "--detail").stdout):
        assert "by admin: 5 accepted, 2 had it, 3 stopped, 0 undecided.\n" in said
        assert "\nbalanced" in said
        assert "queued  3" in said
    plain = floodgate("errors", "statement", rule_id)
    assert 3 <= len(plain.stdout.splitlines()) <= 5
    assert json.loads(floodgate("errors", "statement", rule_id, "--json").stdout)["matched"] == 3


def test_cancel_gives_rule_and_statement_as_json(floodgate: Floodgate, cluster: Cluster) -> None:
    swept_by_itself(cluster)
    done = json.loads(floodgate("cancel", "--tag", "c", "--yes", "--json").stdout)
    assert done["rule"]["effective"] is True
    assert (done["statement"]["balanced"], done["statement"]["delivered"]) == (True, {"before": 2, "after": 0})


def test_cancel_that_is_not_effective_yet_exits_3(floodgate: Floodgate, cluster: Cluster) -> None:
    cluster.effective = False
    cluster.tags["c"] = {"accepted": 1}
    assert floodgate("cancel", "--tag", "c", "--yes").exit_code == 3


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (("--tag", "spring-sael"), "no mail carries tag spring-sael"),
        (("--tag", "spring", "--tags-all", "may", "--tags-all", "newsleter"), "no mail carries tag newsleter"),
        (("--tag", "spring", "--domain", "gmail"), "gmail is no domain name (it has no dot), and no mail for it waits"),
        (("--tag", "spring", "--domain", "gmail."), "gmail. is no domain name"),
        (("--tag", "spring", "--tenant", "typo"), "no mail of tenant typo carries tag spring"),
    ],
)
@pytest.mark.parametrize(
    "verb", [("cancel", "--yes"), ("freeze",), ("cancel", "--yes", "--json"), ("freeze", "--json")]
)
def test_o3_where_no_mail_can_match_nothing_is_made(
    floodgate: Floodgate, cluster: Cluster, verb: tuple[str, ...], words: tuple[str, ...], why: str
) -> None:
    cluster.tags = {"spring": {"accepted": 1}, "may": {"accepted": 1}}
    refused = floodgate(*verb, *words)
    assert (refused.exit_code, refused.stdout) == (1, "")
    assert refused.stderr.startswith(f"floodgate: {why}")
    assert "--allow-empty" in refused.stderr
    assert refused.stderr.count("\n") == 1
    assert not cluster.rules
    cluster.effective = False
    assert floodgate(*verb, *words, "--allow-empty").exit_code == 3
    assert len(cluster.rules) == 1


def test_o3_a_domain_without_a_dot_that_has_mail_is_no_typing_error(floodgate: Floodgate, cluster: Cluster) -> None:
    cluster.tags, cluster.effective = {"spring": {"accepted": 1}}, False
    cluster.queue_counts = [counts_of("p", "localhost")]
    assert floodgate("cancel", "--tag", "spring", "--domain", "LOCALHOST", "--yes").exit_code == 3


@pytest.mark.parametrize("tag", ["", " ", "*", " * "])
@pytest.mark.parametrize("verb", [("cancel", "--yes"), ("freeze",), ("thaw",)])
def test_o2_an_empty_tag_and_a_star_are_no_tag(
    floodgate: Floodgate, cluster: Cluster, verb: tuple[str, ...], tag: str
) -> None:
    refused = floodgate(*verb, "--tag", tag, "--domain", "x.example")
    assert (refused.exit_code, "--tag" in refused.stderr) == (2, True)
    assert not cluster.rules


@pytest.mark.parametrize(
    "option", ["--domain", "--pool", "--mta", "--ip", "--mx", "--tenant", "--tags-all", "--except-tag"]
)
def test_an_empty_selector_is_refused_and_not_taken_for_left_out(
    floodgate: Floodgate, cluster: Cluster, option: str
) -> None:
    cluster.tags["c"] = {"accepted": 1}
    for words in (("cancel", "--yes"), ("freeze",), ("errors", "add", "554", "--yes"), ("pauses", "add")):
        refused = floodgate(*words, "--tag", "c", option, "")
        assert (refused.exit_code, refused.stderr.count("\n")) == (1, 1), refused.output
    assert not cluster.rules


@pytest.mark.parametrize("duration", ["soon", "-5m", "0", "999999999d", ""])
def test_a_duration_that_is_none_makes_nothing(floodgate: Floodgate, cluster: Cluster, duration: str) -> None:
    cluster.tags["c"] = {"accepted": 1}
    refused = floodgate("freeze", "--tag", "c", "--duration", duration)
    assert (refused.exit_code, refused.stderr.startswith("floodgate: duration: ")) == (1, True), refused.output
    assert not cluster.rules


@pytest.mark.parametrize("undoable", [0, 3])
def test_o4_the_last_lines_of_cancel_say_that_the_rule_stays(
    floodgate: Floodgate, cluster: Cluster, undoable: int
) -> None:
    class Undoable(dict[str, int]):
        def get(self, key: str, default: object = None) -> int:  # type: ignore[override]
            return undoable

    swept_by_itself(cluster)
    cluster.undoable = Undoable()
    done = floodgate("cancel", "--tag", "c", "--yes")
    (rule_id,) = cluster.rules
    assert done.stdout.splitlines()[-3:] == [
        "The rule stays in force: mail that comes in with tag=c is intercepted, too.",
        f"To lift it:  floodgate errors remove {rule_id}",
        f"To undo it:  floodgate errors undo {rule_id}  (until 2023-11-14T22:23:20.000Z; "
        "this disables the rule and returns the intercepted deliveries to their queues)"
        if undoable
        else "There is nothing to undo: no copy of an intercepted delivery is kept.",
    ]


def test_cancel_says_when_the_account_does_not_balance(floodgate: Floodgate, cluster: Cluster) -> None:
    swept_by_itself(cluster)
    cluster.counts.__class__.get = lambda self, key, default=None: {"met": 5, "intercepted:queued": 3}  # type: ignore[method-assign,misc,assignment]
    unbalanced = floodgate("cancel", "--tag", "c", "--yes")
    assert unbalanced.exit_code == 1
    assert "does not balance" in unbalanced.stderr


def test_a_rule_is_edited_disabled_and_enabled(floodgate: Floodgate, cluster: Cluster) -> None:
    words = ["--tags-all", "a", "--tags-all", "b", "--except-tag", "c", "--ip", "192.0.2.1", "--duration", "1h"]
    added = floodgate("errors", "add", "554", *words, "--disabled", "--json")
    assert added.exit_code == 0, added.output
    rule = json.loads(added.stdout)
    assert (rule["tags_all"], rule["except_tags"], rule["ip"]) == (["a", "b"], ["c"], "192.0.2.1")
    assert rule["enabled"] is False
    assert floodgate("errors", "list").stdout.count(rule["id"]) == 0
    listed = floodgate("errors", "list", "--enabled", "false").stdout
    assert "ip=192.0.2.1 tags_all=a, b except_tags=c" in listed
    assert "disabled" in listed
    assert floodgate("errors", "enable", rule["id"]).exit_code == 2, "it ends mail"
    assert floodgate("errors", "enable", rule["id"], "--yes").exit_code == 0
    assert rule["expires_at"] in floodgate("errors", "list").stdout
    old = ("--generation", "1")
    assert floodgate("errors", "edit", rule["id"], "--description", "x", *old).exit_code == 1
    edited = floodgate("errors", "edit", rule["id"], "--description", "x", "--expires-at", "", "--json")
    assert (json.loads(edited.stdout)["description"], "expires_at" in json.loads(edited.stdout)) == ("x", False)
    assert floodgate("errors", "edit", rule["id"], "--code", "550").exit_code == 2
    assert floodgate("errors", "edit", rule["id"], "--code", "450", "--generation", "3").exit_code == 0
    assert floodgate("errors", "edit", rule["id"]).exit_code == 2
    assert floodgate("errors", "disable", rule["id"]).exit_code == 0
    (known,) = cluster.rules.values()
    assert (known.code, known.enabled, known.expires_at) == (450, False, 0)


_MESSAGE = new_message_id(0, AT)


def _standing(state: Class, **more: Any) -> DeliveryStatus:
    final = None if state is Class.QUEUED else Final("a@example.com", AT)
    record = Record("from@example.org", "a@example.com", ("red",), 1, AT, AT, last=Reply(450, "4.2.1", "later"))
    return DeliveryStatus(delivery_id(_MESSAGE, 1), state, None if final else record, final, **more)


def test_a_message_is_shown(floodgate: Floodgate, cluster: Cluster) -> None:
    cluster.messages[_MESSAGE] = [_standing(Class.QUEUED)]
    shown = floodgate("messages", "show", message_text(_MESSAGE))
    assert shown.exit_code == 0, shown.output
    assert "ENQUEUED" in shown.stdout
    assert "450 4.2.1 later" in shown.stdout
    record = json.loads(floodgate("messages", "show", message_text(_MESSAGE), "--json").stdout)
    assert record["recipients"][0]["recipient"] == "a@example.com"
    unknown = floodgate("messages", "show", "0" * 26)
    assert unknown.exit_code == 1
    assert unknown.stderr.startswith("floodgate: no message with this id is known")
    assert floodgate("messages", "show", "x").exit_code == 1


def test_a_message_is_canceled_or_the_command_says_why_not(floodgate: Floodgate, cluster: Cluster) -> None:
    text = message_text(_MESSAGE)
    cluster.messages[_MESSAGE] = [_standing(Class.QUEUED, asked_at=AT)]
    pending = floodgate("messages", "cancel", text, "--wait", "0.2")
    assert (pending.exit_code, cluster.cancel_waits) == (3, [0.2])
    assert pending.stderr.endswith("it sends nothing of it after 2023-11-14T22:13:25.500Z\n")
    cluster.messages[_MESSAGE] = [_standing(Class.CANCELED)]
    done = floodgate("messages", "cancel", text, "--json")
    assert (done.exit_code, json.loads(done.stdout)["status"]) == (0, "CANCELED")
    cluster.messages[_MESSAGE] = [_standing(Class.INTERCEPTED)]
    late = floodgate("messages", "cancel", text)
    assert late.exit_code == 1
    assert late.stderr == (
        "floodgate: not canceled: the message is UNDELIVERABLE (INTERCEPTED) since 2023-11-14T22:13:20.000Z\n"
    )
    cluster.away = True
    assert floodgate("messages", "cancel", text).exit_code == 1


def test_a_preview_is_counted_and_shown(floodgate: Floodgate, cluster: Cluster) -> None:
    domains = {f"d{n}.example": 9 - n for n in range(7)}
    cluster.tally = Tally(900, 42, domains, 8, {"p": 42}, {"queued": 40, "held": 2}, {"<1m": 40, ">=1d": 2})
    said = floodgate("errors", "preview", "--tag", "c", "--domain", "*.example")
    assert said.exit_code == 0, said
    assert said.stdout.splitlines() == [
        "42 deliveries match: 40 queued, 2 held",
        "  domains: d0.example 9, d1.example 8, d2.example 7, d3.example 6, d4.example 5, and 3 more",
        "  pools: p 42",
        "  accepted: 40 less than 1m ago, 2 1d ago or earlier",
    ]
    assert json.loads(floodgate("errors", "preview", "--everything", "--json").stdout)["matched"] == 42
    assert not cluster.rules


def test_what_ends_mail_shows_its_preview_before_it_asks(
    floodgate: Floodgate, cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(remote, "is_terminal", lambda: True)
    cluster.tally = Tally(9, 7, {"a.example": 7}, 1, {"p": 7}, {"queued": 7, "held": 0})
    said = floodgate("errors", "add", "554", "--domain", "a.example", answer="y\n")
    assert said.exit_code == 0, said
    assert said.stdout.startswith("7 deliveries match: 7 queued\n  domains: a.example 7\n  pools: p 7\nEvery queued")
    (rule,) = cluster.rules.values()
    floodgate("errors", "disable", rule.id)
    assert "7 deliveries match" in floodgate("errors", "enable", rule.id, answer="n\n").stdout
    cluster.tags["c"] = {"accepted": 3, "queued": 3}
    pause = json.loads(floodgate("pauses", "add", "--tag", "c", "--json").stdout)["id"]
    assert floodgate("pauses", "convert", pause, "554", answer="n\n").stdout.startswith("3 deliveries match")


@pytest.mark.parametrize("verb", [("cancel", "--yes"), ("freeze",)])
def test_o3_a_mistyped_tag_names_the_nearest_and_makes_nothing(
    floodgate: Floodgate, cluster: Cluster, verb: tuple[str, ...]
) -> None:
    cluster.tags["spring-sale"] = {"accepted": 3}
    said = floodgate(*verb, "--tag", "spring-sael")
    assert said.exit_code == 1
    assert said.stderr.startswith(
        "floodgate: no mail carries tag spring-sael (seen lately: spring-sale), so nothing was"
    )
    assert not cluster.rules


def test_a_bound_is_given_and_its_refusal_exits_1(floodgate: Floodgate, cluster: Cluster) -> None:
    cluster.tally = Tally(9, 7)
    cluster.tags["c"] = {"accepted": 7, "queued": 7}
    for order in (("cancel", "--tag", "c"), ("errors", "add", "554", "--tag", "c")):
        refused = floodgate(*order, "--yes", "--max-matches", "6")
        assert refused.exit_code == 1
        assert refused.stderr.startswith("floodgate: the order matches 7 deliveries and allows 6; nothing of it was")
    cluster.undecided = True
    waits = floodgate("errors", "add", "554", "--tag", "c", "--yes", "--max-matches", "7", "--wait", "0")
    assert waits.exit_code == 3
    assert "its mail is held and not counted yet: it takes effect if it matches at most 7" in waits.stdout


def test_cancel_waits_until_an_order_with_a_bound_is_decided(
    floodgate: Floodgate, cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(follow, "WAIT", 0.0)
    cluster.tally, cluster.undecided = Tally(9, 7), True
    cluster.tags["c"] = {"accepted": 7, "queued": 7}

    def decide() -> None:
        cluster.undecided = False
        for rule in list(cluster.rules.values()):
            cluster.decide(rule)

    later = threading.Timer(0.5, decide)
    later.start()
    refused = floodgate("cancel", "--tag", "c", "--yes", "--max-matches", "6")
    later.join()
    assert refused.exit_code == 1
    assert "its mail is held and not counted yet" in refused.stdout
    assert refused.stderr.startswith("floodgate: the order matches 7 deliveries and allows 6")
