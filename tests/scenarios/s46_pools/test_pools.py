"""Pools over REST, as the destination sees them: in force on two nodes, and work that an IP hands on when it leaves."""

import json
import threading
import time
from typing import Any

import pytest

from tests.support.commands import call
from tests.support.node import until
from tests.support.sink import STALL, Received
from tests.support.story import at_rest

NOWHERE = "192.0.2.77"  # no node of the cluster holds it


def test_a_pool_is_in_force_on_both_nodes_without_a_restart(cluster: Any) -> None:
    made = cluster.pool("one", ips=["127.0.0.2", "127.0.0.3"], weights={"127.0.0.2": 3}, ehlo="one.example.com")
    assert (made["nodes"], made["warnings"]) == (["n1", "n2"], [])
    cluster.send("one.test", 40, "one")
    assert set(cluster.arrive("one.test", 40)) <= {"127.0.0.2", "127.0.0.3"}
    assert ("EHLO one.example.com") in {line for _, line in cluster.sink.sink.commands}
    listed = {pool["name"]: pool["layer"] for pool in cluster.call("GET", "/v1/pools")["pools"]}
    assert listed == {"default": "settings", "filed": "settings", "one": "cluster"}


def test_an_ip_that_leaves_hands_its_work_on_and_no_message_is_lost_or_doubled(cluster: Any) -> None:
    cluster.pool("moves", ips=["127.0.0.4"])
    cluster.sink.watch_lag()
    stop, sent = threading.Event(), list[int]()

    def send() -> None:
        while not stop.is_set():
            cluster.send("moves.test", 20, "moves", len(sent))
            sent.extend(range(20))

    def late(since: float) -> list[Received]:
        """The messages that were begun after that for certain."""
        bound = since + 0.25 + cluster.sink.lag
        return [message for message in cluster.taken("moves.test") if message.mail_at > bound]

    sending = threading.Thread(target=send)
    sending.start()
    try:
        until(lambda: len(cluster.taken("moves.test")) >= 50)
        cluster.call("POST", "/v1/poolips?wait=50s", {"name": "moves", "ip": "127.0.0.5"})
        answer = cluster.call("DELETE", "/v1/poolips?wait=50s&name=moves&ip=127.0.0.4")
        in_force = time.time()
        assert (answer["ips"], answer["in_force"]) == (["127.0.0.5"], True)
        until(lambda: late(in_force), what="no mail is sent any more")
    finally:
        stop.set()
        sending.join(60)
    found = cluster.arrive("moves.test", len(sent))
    assert found["127.0.0.4"] + found["127.0.0.5"] == len(sent)
    assert {message.peer for message in late(in_force)} == {"127.0.0.5"}
    recipients = [message.recipients[0] for message in cluster.taken("moves.test")]
    assert len(set(recipients)) == len(recipients)


def test_mail_that_was_claimed_for_a_pool_goes_back_when_the_pool_leaves(cluster: Any) -> None:
    """Its one connection per node hangs in MAIL, and the rest of what the workers claimed waits behind it."""
    cluster.pool("gone", ips=["127.0.0.6"])
    cluster.sink.script("MAIL", lambda _, line: STALL if "hang" in line else None)
    try:
        cluster.sink.script("GREETING", lambda _, __: STALL)
        cluster.send("gone.test", 30, "gone")
        until(lambda: cluster.call("GET", "/v1/queues?pool=gone")["queues"][0]["claimed"] > 0)
        answer = cluster.pool("gone", ips=[NOWHERE])
        assert "none holds 192.0.2.77" in answer["warnings"][0]
        until(lambda: cluster.call("GET", "/v1/queues?pool=gone")["queues"][0]["claimed"] == 0)
    finally:
        cluster.sink.script("GREETING", None)
        cluster.sink.script("MAIL", None)
    assert not cluster.taken("gone.test")
    cluster.pool("gone", ips=["127.0.0.7"])
    assert cluster.arrive("gone.test", 30) == {"127.0.0.7": 30}


def test_the_cluster_wins_over_the_file_and_readyz_names_it(cluster: Any) -> None:
    made = cluster.pool("filed", ips=["127.0.0.8"])
    assert any("[pools.filed]" in warning for warning in made["warnings"])
    until(lambda: any("pools remove filed" in one for one in cluster.call("GET", "/readyz").get("warnings", [])))
    cluster.send("filed.test", 4, "filed")
    assert cluster.arrive("filed.test", 4) == {"127.0.0.8": 4}
    removed = cluster.call("DELETE", "/v1/pools?wait=50s", {"name": "filed"})
    assert (removed["in_force"], removed["layer"]) == (True, "cluster")
    cluster.send("again.test", 4, "filed")
    assert cluster.arrive("again.test", 4) == {"127.0.0.9": 4}


def test_a_pool_without_ips_waits_and_the_file_is_never_emptied(cluster: Any) -> None:
    made = cluster.call("POST", "/v1/pools?wait=50s", {"name": "bare", "description": "of a client"})
    assert "floodgate pools add-ip bare" in made["warnings"][0]
    assert cluster.call("PUT", "/v1/pools/default", {}, (409,))["error"]["field"] == "ips"
    cluster.send("bare.test", 2, "bare")
    added = cluster.call("POST", "/v1/poolips?wait=50s", {"name": "bare", "ip": "127.0.0.10", "weight": 2})
    assert (added["weights"], added["nodes"]) == ({"127.0.0.10": 2}, ["n1", "n2"])
    assert cluster.arrive("bare.test", 2) == {"127.0.0.10": 2}
    taken = cluster.call("POST", "/v1/poolips", {"name": "filed", "ip": "127.0.0.10"}, (409,))
    assert "PUT /v1/pools/filed" in taken["error"]["message"]
    other = cluster.call("PUT", "/v1/pools/two", {"ips": ["127.0.0.10"]}, (409,))
    assert "pool bare" in other["error"]["message"]


def test_the_commands_do_the_same(cluster: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    node = cluster.nodes[0]
    monkeypatch.setenv("FLOODGATE_URL", node.ready["api"])
    monkeypatch.setenv("FLOODGATE_TOKEN", node.token or (node.folder / "admin.token").read_text().strip())
    assert call("pools", "set", "cli", "--ip", "127.0.0.11", "--ehlo", "cli.example.com").exit_code == 0
    assert call("pools", "add-ip", "cli", "127.0.0.12", "--weight", "2").exit_code == 0
    assert call("pools", "set", "cli", "--ehlo", "").exit_code == 0
    shown = json.loads(call("pools", "show", "cli", "--json").stdout)
    assert (shown["ips"], shown["weights"]) == (["127.0.0.11", "127.0.0.12"], {"127.0.0.12": 2})
    assert "ehlo" not in shown
    assert call("pools", "remove-ip", "cli", "127.0.0.12").exit_code == 0
    assert call("pools", "remove-ip", "cli", "127.0.0.12").exit_code == 1
    names = [pool["name"] for pool in json.loads(call("pools", "list", "--json").stdout)]
    assert names.count("cli") == 1
    assert call("pools", "remove", "cli").exit_code == 0
    assert call("pools", "show", "cli").exit_code == 1


def test_the_books_balance_afterwards(cluster: Any) -> None:
    total = len(cluster.sink.sink.taken)
    at_rest(cluster.nodes[0], delivered=total)
