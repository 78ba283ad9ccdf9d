"""`floodgate pauses`, `freeze`, `thaw` and `errors undo`: output and exit statuses."""

import json
import shlex

import pytest

from mta.model.rules import AtTheDoor, InFlight, Kind, Selectors
from mta.model.sweeps import SweepPhase, SweepState
from mta.model.units import format_time
from tests.support.commands import Floodgate
from tests.support.control_api import AT, Cluster


def test_pauses_are_added_listed_shown_and_removed(floodgate: Floodgate, cluster: Cluster) -> None:
    added = floodgate("pauses", "add", "--tag", "c", "--tenant", "shop", "--in-flight", "finish", "--json")
    assert added.exit_code == 0, added.output
    rule_id = json.loads(added.stdout)["id"]
    cluster.counts[rule_id] = {"held": 41}
    assert cluster.rules[rule_id].selectors == Selectors(tag="c", tenant="shop")
    listed = floodgate("pauses", "list").stdout
    assert "tag=c tenant=shop" in listed
    assert "41" in listed
    assert rule_id in floodgate("pauses", "show", rule_id).stdout
    assert "held" in floodgate("pauses", "statement", rule_id).stdout
    removed = floodgate("pauses", "remove", rule_id)
    assert removed.exit_code == 0
    assert f"removed {rule_id}  pause  tag=c tenant=shop" in removed.stdout
    again = floodgate("pauses", "remove", rule_id)
    assert (again.exit_code, again.stderr) == (
        1,
        "floodgate: there is no pause with this id; "
        "it may have been removed (then its statement can be read for a while)\n",
    )


def test_a_conversion_ends_mail_and_so_asks(floodgate: Floodgate, cluster: Cluster) -> None:
    rule_id = json.loads(floodgate("pauses", "add", "--tag", "c", "--json").stdout)["id"]
    refused = floodgate("pauses", "convert", rule_id, "554")
    assert (refused.exit_code, "--yes" in refused.stderr) == (2, True)
    assert cluster.rules[rule_id].kind is Kind.PAUSE
    done = floodgate("pauses", "convert", rule_id, "554", "--extended", "5.7.1", "--no-undo", "--yes")
    assert done.exit_code == 0, done.output
    rule = cluster.rules[rule_id]
    assert (rule.kind, rule.code, rule.extended, rule.undo) == (Kind.ERROR, 554, "5.7.1", False)
    other = json.loads(floodgate("pauses", "add", "--tag", "c", "--json").stdout)["id"]
    clash = floodgate("pauses", "convert", other, "450")
    assert (clash.exit_code, rule_id in clash.stderr) == (1, True)


def test_freeze_holds_and_accounts_and_asks_nothing(floodgate: Floodgate, cluster: Cluster) -> None:
    cluster.tags |= {"c": {"accepted": 3, "held": 3}, "d": {"accepted": 1}}
    made = json.loads(floodgate("pauses", "add", "--tag", "c", "--domain", "x.example", "--json").stdout)
    cluster.sweep_states[made["id"]] = SweepState(made["id"], 2, SweepPhase.DONE, 3, 3, AT, AT + 1, AT)
    cluster.counts[made["id"]] = {"met": 3, "held": 3}
    frozen = floodgate("freeze", "--tag", "c", "--domain", "x.example", "--reason", "why", "--duration", "1h")
    assert frozen.exit_code == 0, frozen.output
    assert "effective everywhere since" in frozen.stdout
    assert "3 seen, 3 held, " in frozen.stderr
    [rule] = cluster.rules.values()
    assert (rule.kind, rule.reason, rule.expires_at > 0) == (Kind.PAUSE, "why", True)
    cluster.effective = False
    late = floodgate("freeze", "--tag", "d")
    assert late.exit_code == 3
    assert "floodgate pauses show" in late.stderr


def test_thaw_lifts_exactly_this_pause(floodgate: Floodgate, cluster: Cluster) -> None:
    for more in ((), ("--domain", "x.example"), ("--tenant", "shop")):
        assert floodgate("pauses", "add", "--tag", "c", *more).exit_code == 0
    thawed = floodgate("thaw", "--tag", "c")
    assert thawed.exit_code == 0, thawed.output
    assert "removed" in thawed.stdout
    left = [rule.selectors for rule in cluster.rules.values()]
    assert left == [Selectors(tag="c", domain="x.example"), Selectors(tag="c", tenant="shop")]
    again = floodgate("thaw", "--tag", "c")
    assert (again.exit_code, again.stderr) == (
        1,
        "floodgate: there is no pause with exactly these selectors; those of the tag are lifted by: "
        "floodgate thaw --tag c --domain x.example; floodgate thaw --tag c --tenant shop\n",
    )
    assert floodgate("thaw", "--tag", "c", "--domain", "x.example").exit_code == 0
    cluster.effective = False
    floodgate("pauses", "add", "--tag", "d")
    slow = floodgate("thaw", "--tag", "d")
    assert slow.exit_code == 3
    assert [rule.enabled for rule in cluster.rules.values() if rule.selectors.tag == "d"] == [False]


EVERY_SELECTOR = [
    ("--domain", "*.BÜCHER.example."),
    ("--pool", "gold"),
    ("--mta", "2001:DB8::0:1"),
    ("--ip", "192.0.2.1"),
    ("--mx", "*.MX.example"),
    ("--tenant", "Shop"),
    ("--except-tag", "vip", "--except-tag", "a b"),
    ("--tags-all", "x", "--tags-all", "y"),
    ("--sender", "*@X.example", "--recipient", "Ann@y.example"),
    ("--domain", "*.BÜCHER.example", "--domain", "a.example"),
    ("--accepted-before", "2030-01-31T13:00:00+01:00", "--accepted-after", "2020-01-31 12:00:00"),
    ("--pool", "gold", "--domain", "x.example", "--tenant", "shop", "--except-tag", "vip"),
]


def test_queued_only_is_mail_accepted_before_the_order(floodgate: Floodgate, cluster: Cluster) -> None:
    cluster.tags = {"c": {"accepted": 3}}
    cluster.effective = False  # so that nobody waits for a sweep
    assert floodgate("freeze", "--tag", "c", "--queued-only").exit_code == 3
    (pause,) = cluster.rules.values()
    before = pause.selectors.accepted_before
    assert before is not None
    assert abs(before - pause.created_at) < 1000
    refused = floodgate("thaw", "--tag", "c")
    assert f"lifted by: floodgate thaw --tag c --accepted-before {format_time(before)}\n" in refused.stderr
    both = floodgate("cancel", "--tag", "c", "--queued-only", "--accepted-before", "now", "--yes")
    assert (both.exit_code, len(cluster.rules)) == (2, 1)
    assert "--queued-only is --accepted-before now; give one of them" in both.stderr


def test_a_recurring_pause_is_frozen_and_thawed_by_its_schedule(floodgate: Floodgate, cluster: Cluster) -> None:
    cluster.tags = {"c": {"accepted": 3}}
    cluster.effective = False  # so that nobody waits for a sweep
    nights = ("--schedule", "mo-fr 22:00-8:00", "--timezone", "Europe/Berlin")
    assert floodgate("freeze", "--tag", "c", *nights).exit_code == 3
    assert floodgate("pauses", "add", "--tag", "c", "--schedule", "Sa 10:00-12:00").exit_code == 3
    assert [rule.selectors for rule in cluster.rules.values()] == [
        Selectors(tag="c", schedule="Mo-Fr 22:00-08:00", timezone="Europe/Berlin"),
        Selectors(tag="c", schedule="Sa 10:00-12:00", timezone="UTC"),
    ]
    cluster.effective = True
    refused = floodgate("thaw", "--tag", "c")
    assert "floodgate thaw --tag c --schedule 'Mo-Fr 22:00-08:00' --timezone Europe/Berlin;" in refused.stderr
    assert floodgate("thaw", "--tag", "c", *nights).exit_code == 0
    assert floodgate("thaw", "--tag", "c", "--schedule", "Sa 10:00-12:00").exit_code == 0
    assert not cluster.rules
    assert floodgate("cancel", "--tag", "c", "--schedule", "22:00-08:00", "--yes").exit_code == 2


@pytest.mark.parametrize("selectors", EVERY_SELECTOR)
def test_o10_every_selector_on_cancel_freeze_and_thaw(
    floodgate: Floodgate, cluster: Cluster, selectors: tuple[str, ...]
) -> None:
    cluster.effective = False  # so that nobody waits for a sweep
    assert floodgate("cancel", "--tag", "c", *selectors, "--allow-empty", "--yes").exit_code == 3
    assert floodgate("freeze", "--tag", "c", *selectors, "--allow-empty").exit_code == 3
    error, pause = cluster.rules.values()
    assert (error.kind, pause.kind) == (Kind.ERROR, Kind.PAUSE)
    assert error.selectors == pause.selectors
    assert error.selectors != Selectors(tag="c")
    cluster.effective = True
    assert floodgate("thaw", "--tag", "c").exit_code == 1
    assert len(cluster.rules) == 2, "another pause"
    thawed = floodgate("thaw", "--tag", "c", *selectors)
    assert thawed.exit_code == 0, thawed.output
    assert [rule.kind for rule in cluster.rules.values()] == [Kind.ERROR]


@pytest.mark.parametrize("selectors", EVERY_SELECTOR)
def test_o10_what_thaw_names_can_be_pasted_into_a_shell(
    floodgate: Floodgate, cluster: Cluster, selectors: tuple[str, ...]
) -> None:
    assert floodgate("pauses", "add", "--tag", "it's", *selectors).exit_code == 0
    refused = floodgate("thaw", "--tag", "it's", "--pool", "other")
    assert refused.exit_code == 1
    words = shlex.split(refused.stderr.rstrip("\n").rpartition("lifted by: ")[2])
    assert words[:2] == ["floodgate", "thaw"]
    assert floodgate(*words[1:]).exit_code == 0
    assert not cluster.rules


def test_o10_names_of_tenants_differ_by_case(floodgate: Floodgate, cluster: Cluster) -> None:
    assert floodgate("pauses", "add", "--tag", "c", "--tenant", "Shop").exit_code == 0
    assert floodgate("thaw", "--tag", "c", "--tenant", "shop").exit_code == 1
    assert len(cluster.rules) == 1


def test_o10_a_pause_of_one_node_is_lifted_by_its_id(floodgate: Floodgate, cluster: Cluster) -> None:
    rule_id = json.loads(floodgate("pauses", "add", "--tag", "c", "--this-node", "--json").stdout)["id"]
    refused = floodgate("thaw", "--tag", "c")
    assert (refused.exit_code, f"floodgate pauses remove {rule_id}" in refused.stderr) == (1, True)
    assert floodgate("thaw", "--tag", "d").stderr == "floodgate: there is no pause with tag d\n"


def test_o10_freeze_ends_with_the_command_that_lifts_it(floodgate: Floodgate, cluster: Cluster) -> None:
    cluster.tags["c"] = cluster.tags["c\0my shop"] = {"accepted": 3, "held": 3}
    words = ("--tag", "c", "--except-tag", "vip", "--tenant", "my shop")
    made = json.loads(floodgate("pauses", "add", *words, "--json").stdout)
    cluster.sweep_states[made["id"]] = SweepState(made["id"], 2, SweepPhase.DONE, 3, 3, AT, AT + 1, AT)
    cluster.counts[made["id"]] = {"met": 3, "held": 3}
    frozen = floodgate("freeze", *words)
    assert frozen.exit_code == 0, frozen.output
    assert "floodgate thaw --tag c --except-tag vip --tenant 'my shop'\n" in frozen.stdout
    assert f"floodgate pauses convert {made['id']} 554" in frozen.stdout


def test_errors_undo_tells_how_many_came_back(floodgate: Floodgate, cluster: Cluster) -> None:
    arguments = ("--tag", "c", "--at-the-door", "reject", "--in-flight", "finish", "--yes", "--json")
    rule_id = json.loads(floodgate("errors", "add", "554", *arguments).stdout)["id"]
    rule = cluster.rules[rule_id]
    assert (rule.at_the_door, rule.in_flight, rule.undo) == (AtTheDoor.REJECT, InFlight.FINISH, True)
    assert floodgate("errors", "edit", rule_id, "--no-undo").exit_code == 0
    assert cluster.rules[rule_id].undo is False
    cluster.undoable[rule_id] = 9
    cluster.effective = False
    waiting = floodgate("errors", "undo", rule_id, "--wait", "0")
    assert (waiting.exit_code, "goes on" in waiting.stderr) == (3, True)
    cluster.effective = True
    done = floodgate("errors", "undo", rule_id)
    assert done.exit_code == 0
    assert "9 returned to their queues, 0 left" in done.stdout
    assert cluster.rules[rule_id].enabled is False
