"""Waiting mail after an outage, and from one pool to another, as an operator's commands do it (O12)."""

import asyncio
import json
import pathlib
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from mta.model.settings import RedisSettings
from mta.model.shares import place_of
from mta.redis_store import keys
from mta.redis_store.link import Link
from tests.support.deep_queue import fill
from tests.support.node import running, until
from tests.support.node_and_sink import NodeAndSink, shared
from tests.support.rest import ask
from tests.support.shell import Shell
from tests.support.sink_thread import SinkThread
from tests.support.valkey import free_port

AWAY = f"127.0.0.1:{free_port()}"  # nobody listens there at first


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NodeAndSink]:
    sets = {"workers": 2, "pools__default": {}, "pools__gold__ips": ["127.0.0.2"]}
    sets["delivery__routes"] = f'{{ "away.test" = "{AWAY}" }}'
    with shared(NodeAndSink(tmp_path_factory.mktemp("s35"), **sets)) as made:
        yield made


@pytest.fixture
def shell(place: NodeAndSink) -> Iterator[Shell]:
    shell = Shell(place.node, place.sink)
    shell.environ["FLOODGATE_TOKEN"] = place.node.token or ""
    yield shell
    place.sink.script("RCPT", None)


def defer(place: NodeAndSink, domain: str) -> None:
    """The destination is out of order for this domain."""
    place.sink.script("RCPT", lambda _, argument: "451 4.3.0 out of order" if f"@{domain}" in argument else None)


def deferred(place: NodeAndSink, domain: str, tag: str, count: int) -> None:
    """So many deliveries wait for their next attempt, an hour from now."""
    defer(place, domain)
    place.node.send([f"u{number}@{domain}" for number in range(count)], (tag,))
    until(lambda: len(place.log_of(tag, "TransientFailure")) == count, what="they are not deferred")
    until(lambda: queue_of(place, domain)["scheduled"] == count, what="they do not wait")


def queue_of(place: NodeAndSink, domain: str, pool: str = "default") -> dict[str, object]:
    found = place.call("GET", f"/v1/queues?domain={domain}&pool={pool}")["queues"]
    return found[0] if found else {"scheduled": 0}


def test_o12_after_an_outage_its_mail_is_listed_made_due_and_arrives(place: NodeAndSink, shell: Shell) -> None:
    deferred(place, "down.test", "outage", 12)
    listed = shell.run("queues", "messages", "--domain", "down.test", "--json").json
    assert {record["recipient"] for record in listed} == {f"u{number}@down.test" for number in range(12)}
    assert {(record["attempts"], record["error"]["text"]) for record in listed} == {(1, "out of order")}
    place.sink.script("RCPT", None)
    said = shell.run("queues", "retry", "--domain", "down.test")
    assert said.status == 0, said
    assert said.out == "12 of 12 selected deliveries are due now\n"
    place.rests("outage", delivered=12, queued=0)
    assert sorted(place.arrived("down.test")) == sorted(f"u{number}@down.test" for number in range(12))
    assert shell.run("queues", "messages", "--domain", "down.test", "--json").json == []


def test_c103_a_dead_host_costs_no_attempt_and_an_order_tries_it_at_once(place: NodeAndSink) -> None:
    sent = 0

    def one_learnt_it_from_another() -> bool:
        """Each worker gets mail; a delivery for which no connection was tried says so."""
        nonlocal sent
        place.node.send(f"u{sent}@away.test", ("away",))
        sent += 1
        until(lambda: len(place.log_of("away", "TransientFailure")) == sent, what="it is not deferred")
        lines = place.log_of("away", "TransientFailure")
        return any(line["text"].startswith("not tried: another worker") for line in lines)

    until(one_learnt_it_from_another, what="each worker tried the host itself")
    lines = place.logged("away", "TransientFailure", sent)
    assert {line.get("attempt", 0) for line in lines} == {0, 1}
    assert all("attempt" not in line for line in lines if line["text"].startswith("not tried"))
    until(lambda: queue_of(place, "away.test")["scheduled"] == sent, what="they do not wait")
    with running(away := SinkThread(port=int(AWAY.partition(":")[2]))):
        answer = place.call("POST", "/v1/queues/retry?wait=50s", {"domain": "away.test"})
        assert answer["moved"] == sent
        place.rests("away", delivered=sent, queued=0)
        assert len(away.sink.received) == sent
    tried = {line["recipient"]: line["attempt"] for line in place.logged("away", "Delivery", sent)}
    assert tried == {line["recipient"]: line.get("attempt", 0) + 1 for line in lines}


def test_o12_mail_moves_to_another_pool_and_leaves_from_its_ip(place: NodeAndSink, shell: Shell) -> None:
    deferred(place, "blocked.test", "block", 8)
    place.sink.script("RCPT", None)
    said = shell.run("queues", "move", "--domain", "blocked.test", "--pool", "default", "--to-pool", "gold", "--json")
    assert said.json == {"moved": 8, "seen": 8, "kept": 0}
    assert queue_of(place, "blocked.test", "gold")["scheduled"] == 8
    assert place.arrived("blocked.test") == [], "it keeps its due time"
    moved = place.logged("block", "Moved", 8)
    assert {(event["pool"], event["reason"], event["seq"]) for event in moved} == {("gold", "from pool default", 3)}
    assert shell.run("queues", "retry", "--tag", "block", "--json").json["moved"] == 8
    place.rests("block", delivered=8)
    assert {one.peer.partition(":")[0] for one in place.taken("blocked.test")} == {"127.0.0.2"}


def test_o12_what_a_pause_holds_moves_and_stays_held(place: NodeAndSink, shell: Shell) -> None:
    pause = place.call("POST", "/v1/pauses?wait=50s&until=swept", {"domain": "held.test", "pool": "default"})
    place.node.send([f"u{number}@held.test" for number in range(5)], ("heldmove",))
    place.rests("heldmove", held=5)
    answer = place.call("POST", "/v1/queues/move?wait=50s", {"domain": "held.test", "to_pool": "gold"})
    assert (answer["moved"], answer["cursor"]) == (5, None)
    until(lambda: queue_of(place, "held.test", "gold").get("held") == 5, what="it is not held there")
    place.rests("heldmove", held=5)
    place.call("DELETE", f"/v1/pauses/{pause['id']}?wait=50s")
    place.rests("heldmove", delivered=5)
    assert {one.peer.partition(":")[0] for one in place.taken("held.test")} == {"127.0.0.2"}


def test_i9_mail_is_moved_to_no_pool_that_nobody_serves(place: NodeAndSink, shell: Shell) -> None:
    said = shell.run("queues", "move", "--domain", "blocked.test", "--to-pool", "platinum")
    assert said.status == 1
    assert "no node serves pool platinum" in said.err


def test_o12_a_tagged_retry_does_not_wake_the_mail_of_others(
    place: NodeAndSink, shell: Shell, tmp_path: pathlib.Path
) -> None:
    deferred(place, "both.test", "first", 3)
    place.node.send("later@both.test", ("second",))
    until(lambda: queue_of(place, "both.test")["scheduled"] == 4, what="it is not deferred")
    place.sink.script("RCPT", None)
    assert shell.run("queues", "retry", "--tag", "first").out == "3 of 3 selected deliveries are due now\n"
    place.rests("first", delivered=3)
    assert place.node.statement("second")["queued"] == 1
    assert shell.run("queues", "retry", "--domain", "both.test").status == 0
    place.rests("second", delivered=1)


def damage(place: NodeAndSink, domain: str, change: Callable[[bytes], bytes]) -> None:
    """Each record of the waiting mail at the domain becomes what `change` makes of it."""
    asyncio.run(_damage(place.node.ready["redis"], domain.encode(), change))


async def _damage(url: str, domain: bytes, change: Callable[[bytes], bytes]) -> None:
    link = Link(url, RedisSettings(timeout=5.0))
    try:
        await link.open()
        for lane in range(int(await link.command("HGET", keys.META_SETTINGS, "lanes"))):
            prefix = keys.lane_prefix(lane)
            shares = await link.command("SMEMBERS", keys.shares_key(prefix, b"default"))
            for share in ("", *(each.decode() for each in shares)):
                due = keys.due_key(prefix, place_of("default", share).encode(), domain)
                for id_ in await link.command("ZRANGE", due, 0, -1):
                    record = await link.command("HGET", keys.lane_key(lane, b"rec"), id_)
                    await link.command("HSET", keys.lane_key(lane, b"rec"), id_, change(record))
    finally:
        await link.close()


def parked(shell: Shell, domain: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = shell.run("parked", "list", "--domain", domain, "--json").json
    return found


def test_parked_mail_is_released_and_arrives(place: NodeAndSink, shell: Shell) -> None:
    deferred(place, "poison.test", "poison", 3)
    place.sink.script("RCPT", None)
    damage(place, "poison.test", lambda record: b"\5" + record[1:])  # five processes have died with it
    shell.run("queues", "retry", "--domain", "poison.test")
    place.rests("poison", parked=3)
    listed = parked(shell, "poison.test")
    assert {one["recipient"] for one in listed} == {f"u{number}@poison.test" for number in range(3)}
    assert {one["why"] for one in listed} == {"process after process died or gave up while it held the delivery"}
    assert place.arrived("poison.test") == []
    one = listed[0]["id"]
    assert shell.run("parked", "release", one).out == "1 released\n"
    place.rests("poison", delivered=1, parked=2)
    assert shell.run("parked", "release", "--domain", "poison.test", "--json").json == {"released": 2, "unreadable": 0}
    place.rests("poison", delivered=3, uncertain=0)
    assert len(place.arrived("poison.test")) == 3
    assert len(place.logged("poison", "Release", 3)) == 3


def test_parked_mail_is_removed_and_what_is_lost_is_said(place: NodeAndSink, shell: Shell) -> None:
    deferred(place, "torn.test", "torn", 2)
    damage(place, "torn.test", lambda record: b"\5" + record[1:])
    shell.run("queues", "retry", "--domain", "torn.test")
    place.rests("torn", parked=2)
    assert shell.run("parked", "remove", "--domain", "torn.test").status == 2, "nobody can be asked"
    said = shell.run("parked", "remove", "--domain", "torn.test", "--yes")
    assert said.status == 0, said
    assert said.out.splitlines()[0] == "2 removed; 2 of them may have reached their recipients before"
    assert "u0@torn.test" in said.out
    place.rests("torn", canceled=2, parked=0)
    assert {event["reason"] for event in place.logged("torn", "Cancellation", 2)} == {"parked mail removed by admin"}
    assert parked(shell, "torn.test") == []


def of_tenants(place: NodeAndSink, domain: str, tag: str) -> None:
    """Two deliveries of acme, one of rival and one of nobody wait for an hour."""
    for recipient, tenant in (("a1", "acme"), ("a2", "acme"), ("r", "rival"), ("n", "")):
        headers = {"X_MQ_Tenant": tenant} if tenant else {}
        place.node.send(f"{recipient}@{domain}", (tag,), **headers)
    until(lambda: len(place.log_of(tag, "TransientFailure")) == 4, what="they are not deferred")


@pytest.fixture
def bound(place: NodeAndSink) -> Callable[..., tuple[int, Any]]:
    """(status, answer) of a request with the token of a tenant."""
    tokens = {
        tenant: place.call("POST", "/v1/tokens", {"name": tenant, "scopes": ["admin"], "tenant": tenant})["token"]
        for tenant in ("acme", "rival")
    }

    def call(tenant: str, method: str, path: str, body: Any = None) -> tuple[int, Any]:
        raw = None if body is None else json.dumps(body).encode()
        answer = ask(place.api, method, path, raw, token=tokens[tenant])
        return answer.status, answer.body

    return call


def test_a4_a_bound_token_moves_its_own_mail_alone(place: NodeAndSink, shell: Shell, bound: Any) -> None:
    defer(place, "moves.test")
    of_tenants(place, "moves.test", "moves")
    order = {"to_pool": "gold", "everything": True}
    assert bound("acme", "POST", "/v1/queues/move?wait=50s", order | {"tenant": "rival"})[0] == 404
    status, done = bound("acme", "POST", "/v1/queues/move?wait=50s", order)
    assert (status, done["moved"], done["seen"]) == (200, 2, 2), done
    assert queue_of(place, "moves.test", "gold")["scheduled"] == queue_of(place, "moves.test")["scheduled"] == 2
    assert sorted(line["recipient"] for line in place.logged("moves", "Moved", 2)) == ["a1@moves.test", "a2@moves.test"]
    place.sink.script("RCPT", None)
    shell.run("queues", "retry", "--domain", "moves.test")
    until(lambda: sorted(place.arrived("moves.test")) == [f"{name}@moves.test" for name in ("a1", "a2", "n", "r")])


def test_a4_a_bound_token_sees_and_works_on_its_own_parked_mail(place: NodeAndSink, shell: Shell, bound: Any) -> None:
    defer(place, "bound.test")
    of_tenants(place, "bound.test", "bound")
    place.sink.script("RCPT", None)
    damage(place, "bound.test", lambda record: b"\5" + record[1:])
    shell.run("queues", "retry", "--domain", "bound.test")
    place.rests("bound", parked=4)
    every = {one["recipient"]: one["id"] for one in parked(shell, "bound.test")}
    status, listed = bound("acme", "GET", "/v1/parked?domain=bound.test")
    assert sorted(one["recipient"] for one in listed["parked"]) == ["a1@bound.test", "a2@bound.test"]
    assert [one["id"] for one in bound("rival", "GET", "/v1/parked")[1]["parked"]] == [every["r@bound.test"]]
    for path in ("/v1/parked/release?wait=50s", "/v1/parked/release"):
        status, done = bound("rival", "POST", path, {"id": [every["a1@bound.test"], every["n@bound.test"]]})
        assert (status, done["released"]) == (200, 0), done
    assert bound("rival", "DELETE", "/v1/parked?tenant=acme&everything=true")[0] == 404
    status, done = bound("acme", "POST", "/v1/parked/release?wait=50s", {"everything": True})
    assert (status, done["released"]) == (200, 2), done
    status, done = bound("rival", "DELETE", "/v1/parked?everything=true&wait=50s")
    assert [one["id"] for one in done["lost"]] == [every["r@bound.test"]], done
    until(lambda: sorted(place.arrived("bound.test")) == ["a1@bound.test", "a2@bound.test"])
    assert {line["actor"].split(" ")[0] for line in place.logged("bound", "Release", 2)} == {"acme"}
    assert shell.run("parked", "release", "--domain", "bound.test").out == "1 released\n"


def test_o12_the_list_tells_why_a_destination_defers_and_how_fast_it_takes_mail(
    place: NodeAndSink, shell: Shell
) -> None:
    deferred(place, "why.test", "why", 4)

    def known() -> bool:
        queue = queue_of(place, "why.test")
        return "at" in queue.get("last_reply", {})  # a worker has told it

    until(known, what="the last reply is not told")
    reply = queue_of(place, "why.test")["last_reply"]
    assert (reply["code"], reply["enhanced"], reply["text"]) == (451, "4.3.0", "out of order")
    assert queue_of(place, "why.test")["rate"] == 0.0
    [of_tag] = place.call("GET", "/v1/queues?tag=why")["queues"]
    assert (of_tag["domain"], of_tag["scheduled"]) == ("why.test", 4)
    place.sink.script("RCPT", None)
    shell.run("queues", "retry", "--tag", "why")
    place.rests("why", delivered=4)
    place.node.send("one@why.test", ("still",), X_MQ_Delayed="+1h")
    until(lambda: (queue_of(place, "why.test")["rate"] or 0) > 0, what="no rate is told")


def test_o12_an_explanation_names_the_rule_that_decides(place: NodeAndSink, shell: Shell) -> None:
    rule = place.order(tag="explained", domain="explained.test")
    said = shell.run("explain", "--pool", "default", "--domain", "explained.test", "--tag", "explained", "--json").json
    assert (said["decides"], said["effect"]) == (rule["id"], "it ends with 554")
    other = shell.run("explain", "--pool", "default", "--domain", "explained.test", "--tag", "else")
    assert "No rule matches: it is delivered." in other.out
    assert "it asks for tag explained" in other.out
    place.lift(rule)


def test_o12_mail_that_moves_to_and_fro_does_not_escape_a_sweep(place: NodeAndSink, shell: Shell) -> None:
    """A sweep walks pool by pool: mail that goes from a pool before it to one behind it would be missed."""
    later = int(time.time() * 1000) + 3_600_000
    fill(place.node.ready["redis"], "toandfro.test", 4000, "toandfro", due_at=later)
    over = threading.Event()

    def move() -> None:
        pools = ["default", "gold"]
        while not over.is_set():
            body = {"domain": "toandfro.test", "pool": pools[0], "to_pool": pools[1]}
            place.call("POST", "/v1/queues/move?wait=50s", body, want=(200, 202))
            pools.reverse()

    mover = threading.Thread(target=move)
    mover.start()
    try:
        until(lambda: len(place.log_of("toandfro", "Moved")) > 200, what="nothing moves")
        rule = place.order("swept", tag="toandfro")
        done = place.complete(rule)
    finally:
        over.set()
        mover.join(90.0)
    assert (done["intercepted"]["queued"], done["queued"]) == (4000, 0), done
    place.rests("toandfro", queued=0)
    assert place.arrived("toandfro.test") == []
    place.lift(rule)
