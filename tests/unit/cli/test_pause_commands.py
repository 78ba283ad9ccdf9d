"""`floodgate pauses`, `freeze`, `thaw` and `errors undo`: output and exit statuses."""

import json

from mta.model.rules import AtTheDoor, InFlight, Kind, Selectors
from mta.ports.rules import SweepState
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
    made = json.loads(floodgate("pauses", "add", "--tag", "c", "--domain", "x.example", "--json").stdout)
    cluster.sweep_states[made["id"]] = SweepState(made["id"], 2, "done", 3, 3, AT, AT + 1, AT)
    cluster.counts[made["id"]] = {"met": 3, "held": 3}
    frozen = floodgate("freeze", "--tag", "c", "--domain", "x.example", "--reason", "why", "--duration", "1h")
    assert frozen.exit_code == 0, frozen.output
    assert "effective everywhere since" in frozen.stdout
    assert "3 held" in frozen.stderr
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
    assert (again.exit_code, again.stderr) == (1, "floodgate: there is no pause with exactly these selectors\n")
    assert floodgate("thaw", "--tag", "c", "--domain", "x.example").exit_code == 0
    cluster.effective = False
    floodgate("pauses", "add", "--tag", "d")
    slow = floodgate("thaw", "--tag", "d")
    assert slow.exit_code == 3
    assert [rule.enabled for rule in cluster.rules.values() if rule.selectors.tag == "d"] == [False]


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
