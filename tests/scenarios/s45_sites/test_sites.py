"""Domains behind one site share its limits and its connections, over workers, nodes, pools and tenants."""

import pathlib
import time
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.support.dns_thread import DnsThread
from tests.support.node import Node, running, until
from tests.support.recount import assert_balanced
from tests.support.sink import DROP, HOLD, Sink
from tests.support.sink_thread import SinkThread
from tests.support.story import at_rest
from tests.support.valkey import Valkey

DOMAINS = 500
MOST = 3
REACTIONS = """[
    { name = "busy", site = "big", code = "421", text = "too many of you", threshold = "4/h", action = "connections",
      value = 1, for = "4s", scope = "pool" },
    { name = "spam", site = "big", code = "450", text = "campaign", threshold = "5/h", for = "1h", scope = "tag" },
]""".replace("\n", " ")


class Town:
    """A provider with four MX hosts that takes the mail of all domains, and two nodes that send to it."""

    def __init__(self, folder: pathlib.Path) -> None:
        self.sink, self.dns, self.valkey = SinkThread(), DnsThread(), Valkey(folder / "valkey")
        self.folder = folder
        self.domains = [f"d{n}.test" for n in range(DOMAINS)]
        self.nodes: list[Node] = []

    def start(self) -> "Town":
        self.valkey.start()
        self.sink.start()
        self.dns.start()
        for n in range(4):
            self.dns.stub.a(f"mx{n}.in.big.test", "127.0.0.1")
        for n, domain in enumerate(self.domains):
            self.dns.stub.mx(domain, (10, f"mx{n % 4}.in.big.test"))
        sets = {
            "redis": self.valkey.url,
            "delivery.dns_servers": [self.dns.stub.address],
            "delivery.mta_sts": False,  # half of the questions
            "delivery.mx_port": self.sink.sink.port,
            "sites": f'{{ big = {{ mx = "*.big.test", connections = {MOST} }} }}',
            "pools": "{ one = {}, two = {}, own = {} }",
            "reactions": REACTIONS,
        }
        of_second = sets | {"pools": "{ one = {}, two = {} }"}
        self.nodes = [Node(self.folder / name, name, **of) for name, of in (("n1", sets), ("n2", of_second))]
        for node in self.nodes:
            node.start()
        return self

    def stop(self) -> None:
        for part in (*self.nodes, self.dns, self.sink, self.valkey):
            part.stop()


@pytest.fixture(scope="module")
def town(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Town]:
    place = Town(tmp_path_factory.mktemp("sites"))
    with running(place):
        yield place


def test_two_tenants_to_500_domains_behind_one_site_never_exceed_its_budget_on_two_nodes(town: Town) -> None:
    for number, (tenant, pool) in enumerate((("a", "one"), ("b", "two"))):
        every = [f"{tenant}@{domain}" for domain in town.domains]
        text = f"X-MQ-Tag: sites\r\nX-MQ-Tenant: {tenant}\r\nX-MQ-Pool: {pool}\r\nSubject: test\r\n\r\nhello\r\n"
        with town.nodes[number].sender() as client:
            assert client.sendmail("from@example.org", every, text) == {}
    total = 2 * DOMAINS
    sink = town.sink.sink
    arrive(town, "sites", lambda: len(sink.taken) == total, 100.0)
    assert sink.most_open == MOST  # never more, and all were used
    assert set(Counter(message.recipients[0] for message in sink.taken).values()) == {1}
    assert sink.connections < DOMAINS  # domains with the same host use one another's connections
    found = town.nodes[0].call("GET", "/v1/limits?pool=one&domain=d1.test")[1]
    assert (found["site"], found["limits"][0]["setting"]) == ("big", "sites.big.connections")
    at_rest(town.nodes[0], delivered=total)


def arrive(town: Town, tag: str, holds: Callable[[], Any], timeout: float = 100.0, *, every: float = 3.0) -> None:
    """It holds in the end. Mail of the tag is retried each `every` seconds: a busy stub of a DNS server leaves some
    questions unanswered, and an answer that the sink gave just now may not be settled yet."""
    asked = time.monotonic()

    def look() -> Any:
        nonlocal asked
        if not (found := holds()) and time.monotonic() > asked + every:
            retry(town, tag)
            asked = time.monotonic()
        return found

    until(look, timeout, lambda: what_waits(town))


def retry(town: Town, tag: str) -> None:
    status, answer = town.nodes[0].call("POST", "/v1/queues/retry?wait=50s", {"tag": tag})
    assert status == 200, answer


class Flow:
    """The sink holds each message at its dot and takes those that it holds every now and then, so that connections stay
    open and the mail lasts."""

    def __init__(self, sink: SinkThread, every: float) -> None:
        self._sink = sink
        self._every = every  # seconds
        self._released = 0.0
        sink.script(".", HOLD)

    def until(self, holds: Callable[[], Any], timeout: float = 60.0) -> None:
        def look() -> Any:
            now = time.monotonic()
            if now > self._released + self._every:
                self._released = now
                self._sink.release("250 2.0.0 taken")
            return holds()

        until(look, timeout)

    def end(self) -> None:
        """The sink takes mail as it comes."""
        self._sink.script(".", None)
        self._sink.release("250 2.0.0 taken")


def what_waits(town: Town) -> str:
    """The queues that have mail, with their last replies, and each node's last log lines."""
    queues = town.nodes[0].call("GET", "/v1/queues?limit=20")[1]["queues"]
    said = [node.errors()[-2000:] for node in town.nodes]
    return f"{len(town.sink.sink.taken)} taken; {queues}; {said}"


def send(town: Town, tag: str, count: int, pool: str = "one") -> None:
    """Half of the mail through each node, each delivery to a domain of its own."""
    for half, node in enumerate(town.nodes):
        node.send([f"{tag}@{domain}" for domain in town.domains[half:count:2]], (tag,), X_MQ_Pool=pool)


def at_most(sink: Sink, connections: int) -> Callable[[], bool]:
    """Whether 30 messages in a row came while no more connections were open."""
    begun = len(sink.taken)

    def holds() -> bool:
        nonlocal begun
        if sink.most_open > connections:
            sink.most_open, begun = sink.open, len(sink.taken)
        return len(sink.taken) >= begun + 30

    return holds


def settled(town: Town, tag: str, count: int) -> None:
    until(lambda: town.nodes[0].statement(tag)["delivered"] == count, 60.0)


def limit(town: Town, **order: object) -> str:
    status, answer = town.nodes[1].call("PUT", "/v1/limits", {"site": "big", "reason": "too fast"} | order)
    assert status in (200, 201), answer
    return str(answer["id"])


def lift(town: Town, order: str) -> None:
    assert town.nodes[0].call("DELETE", f"/v1/limits/orders/{order}")[0] == 200


def test_a_limit_order_holds_on_all_nodes_while_mail_flows_and_leaks_no_slot(town: Town) -> None:
    sink = town.sink.sink
    before = len(sink.taken)
    flow = Flow(town.sink, 0.05)
    send(town, "fewer", 400)
    until(lambda: sink.open == MOST, 60.0)
    order = limit(town, connections=1)
    flow.until(at_most(sink, 1))  # all processes know it by now
    begun = len(sink.taken)
    flow.until(lambda: len(sink.taken) >= begun + 30)
    assert sink.most_open == 1

    def shown() -> tuple[float, str]:
        (first, *_) = town.nodes[0].call("GET", "/v1/limits?pool=one&domain=d1.test")[1]["limits"]
        return first["value"], first.get("order", "")

    until(lambda: shown() == (1, order), what="the API of the other node follows in its own time")
    lift(town, order)
    flow.until(lambda: sink.open == MOST)
    flow.end()
    arrive(town, "fewer", lambda: len(sink.taken) == before + 400)
    assert sink.most_open == MOST
    until(lambda: not sink.open, 60.0)
    settled(town, "fewer", 400)
    at_rest(town.nodes[0], delivered=before + 400)


def test_a_site_that_an_order_closes_gets_no_mail_until_it_is_opened(town: Town) -> None:
    sink = town.sink.sink
    before = len(sink.taken)
    flow = Flow(town.sink, 0.1)
    send(town, "closed", 150)
    flow.until(lambda: len(sink.taken) > before + 10)
    order = limit(town, closed=True, duration="1h")
    # Longer than the two seconds in which all processes know it.
    flow.until(lambda: not sink.open and time.time() - sink.begun[-1].mail_at > 4.0)
    there = len(sink.begun)
    assert there < before + 150, "mail was left when the site was closed"
    found = town.nodes[0].call("GET", "/v1/explain?pool=one&domain=d1.test")[1]
    assert (found["ceiling"], found["limits"][0]["order"]) == ("closed", order)
    listed = town.nodes[0].call("GET", "/v1/limits/orders?site=big")[1]["orders"]
    assert [(one["id"], one["now"], one["reason"]) for one in listed] == [(order, {"closed": 1.0}, "too fast")]
    assert len(sink.begun) == there
    lift(town, order)
    flow.end()
    arrive(town, "closed", lambda: len(sink.taken) == before + 150)
    settled(town, "closed", 150)
    at_rest(town.nodes[0], delivered=before + 150)


def test_a_limit_order_of_one_pool_leaves_the_other_alone(town: Town) -> None:
    sink = town.sink.sink
    before = len(sink.taken)
    order = limit(town, pool="one", closed=True)
    found = town.nodes[1].call("GET", "/v1/limits?pool=two&domain=d1.test")[1]["limits"]
    assert [one["name"] for one in found] == ["connections"]
    send(town, "first", 20)
    send(town, "second", 20, pool="two")
    arrive(town, "second", lambda: len(sink.taken) >= before + 20, every=8.0)
    late = [message.recipients[0] for message in sink.taken[before:]]
    assert sum(one.startswith("second") for one in late) >= 20 - sum(one.startswith("first") for one in late)
    lift(town, order)
    arrive(town, "first", lambda: len(sink.taken) == before + 40, every=8.0)
    settled(town, "first", 20)
    settled(town, "second", 20)
    at_rest(town.nodes[0], delivered=before + 40)


def deferred(town: Town, tag: str) -> set[str]:
    """The deliveries of the tag that the sink put off."""
    lines = [line for node in town.nodes for line in node.events() if tag in line.get("tags", ())]
    return {line["id"] for line in lines if line["type"] == "TransientFailure" and line["text"] == "later"}


def scheduled(node: Node, tag: str) -> int:
    """The deliveries of the tag that wait for a time."""
    return sum(queue["scheduled"] for queue in node.call("GET", f"/v1/queues?tag={tag}")[1]["queues"])


def ordered(node: Node, path: str, **body: object) -> dict[str, Any]:
    status, made = node.call("POST", path, body)
    assert status in (200, 201), made
    return dict(made)


def test_a_rule_by_site_ends_and_holds_the_mail_of_its_domains_on_two_nodes(town: Town) -> None:
    """One domain nobody has asked about, and one of which DNS has nothing; `new.test` comes when the rule stands."""
    one, two = town.nodes
    for domain in ("later.test", "new.test"):
        town.dns.stub.mx(domain, (10, "mx0.in.big.test"))
    town.dns.stub.mx("other.test", (10, "mx.other.test"))
    town.dns.stub.a("mx.other.test", "127.0.0.1")
    town.sink.script("RCPT", lambda _, argument: "451 4.3.0 later" if "wait" in argument else None)
    one.send([f"wait{n}@d{n}.test" for n in range(5)] + ["wait@other.test"], ("stopped",), X_MQ_Pool="one")
    one.send(["wait@later.test", "wait@gone.test"], ("stopped",), X_MQ_Pool="one", X_MQ_Delayed="+1h")
    arrive(town, "stopped", lambda: len(deferred(town, "stopped")) == 6, every=8.0)
    until(lambda: scheduled(one, "stopped") == 8, what="none is attempted once more")
    town.sink.script("RCPT", None)
    assert one.call("POST", "/v1/queues/retry?wait=0s", {"site": "small"})[1]["seen"] == 0
    rule = ordered(two, "/v1/errors?until=swept&wait=60s", code=554, extended="5.7.1", site="big", tag="stopped")
    assert rule["site"] == "big"
    said = two.call("GET", f"/v1/errors/{rule['id']}/statement")[1]
    assert said["intercepted"]["queued"] == 6, said
    assert (said["sweep"]["state"], said["sweep"]["unresolved"]) == ("done", 1)
    for node in town.nodes:
        node.send(["stopped@d7.test", "stopped@new.test", "goes@other.test"], ("stopped",), X_MQ_Pool="one")
    until(lambda: len(town.sink.to("other.test")) == 2, 60.0)
    until(lambda: two.statement("stopped")["queued"] == 2, 60.0)  # to other.test and gone.test
    assert not [name for seen in town.sink.sink.begun for name in seen.recipients if name.startswith("stopped")]
    assert [found["id"] for found in one.call("GET", "/v1/errors?site=big")[1]] == [rule["id"]]
    assert one.call("GET", "/v1/errors?site=other.test")[1] == []
    two.call("DELETE", f"/v1/errors/{rule['id']}")

    pause = ordered(one, "/v1/pauses?until=swept&wait=60s", site="big", tag="held")
    two.send(["held@d8.test", "held@other.test"], ("held",), X_MQ_Pool="one")
    until(lambda: one.statement("held")["held"] == 1 and one.statement("held")["delivered"] == 1, 60.0)
    done = one.call("POST", "/v1/queues/move?wait=50s", {"site": "big", "tag": "held", "to_pool": "two"})[1]
    assert (done["moved"], done["seen"]) == (1, 1)
    one.call("DELETE", f"/v1/pauses/{pause['id']}")
    until(lambda: one.statement("held")["delivered"] == 2, 60.0)
    taken = [name for seen in town.sink.sink.taken for name in seen.recipients if name.startswith("held")]
    assert sorted(taken) == ["held@d8.test", "held@other.test"]


def test_replies_to_two_nodes_together_make_one_reaction_that_eases_again(town: Town) -> None:
    sink = town.sink.sink
    before = len(sink.taken)
    town.sink.script("MAIL", "421 4.7.0 too many of you")
    send(town, "busy", 100)
    (order,) = until(lambda: orders_of_reactions(town), 60.0)  # it lasts four seconds
    town.sink.script("MAIL", None)
    assert (order["created_by"], order["pool"], order["connections"]) == ("reaction:busy", "one", 1)
    assert "4 replies within 1h: 421 4.7.0 too many of you" in order["reason"]
    arrive(town, "busy", lambda: len(sink.taken) == before + 100)
    until(lambda: not orders_of_reactions(town), 60.0)  # eased, then over
    audit = town.nodes[0].call("GET", "/v1/audit?limit=50")[1]["entries"]
    assert {entry["by"] for entry in audit if entry.get("of") == order["id"]} == {"reaction:busy"}
    settled(town, "busy", 100)


def orders_of_reactions(town: Town) -> list[dict[str, Any]]:
    status, answer = town.nodes[0].call("GET", "/v1/reactions")
    assert status == 200
    assert [one["name"] for one in answer["reactions"]] == ["busy", "spam"]
    return list(answer["orders"])


def test_history_selects_and_counts_by_site(town: Town) -> None:
    (holder, *_) = [node for node in town.nodes if node.call("GET", "/v1/stats")[0] == 200]
    send(town, "history", 4)
    settled(town, "history", 4)

    def listed(site: str) -> list[dict[str, Any]]:
        return list(holder.call("GET", f"/v1/messages?tag=history&site={site}")[1]["messages"])

    until(lambda: len(listed("big")) == 4, 60.0)  # the journal has noted the site of each domain
    assert listed("other.test") == []
    rows = holder.call("GET", "/v1/stats?by=tag&by=site")[1]["stats"]
    assert [(row["site"], row["accepted"]) for row in rows if row["tag"] == "history"] == [("big", 4)]
    assert "big" in {row["site"] for row in holder.call("GET", "/v1/stats?by=site")[1]["stats"]}


def test_a_reaction_of_scope_tag_pauses_the_campaign_and_leaves_other_mail_alone(town: Town) -> None:
    sink = town.sink.sink
    before = len(sink.taken)
    town.sink.script("RCPT", lambda _, argument: "450 4.7.1 this campaign" if "spam" in argument else None)
    domain = town.domains[0]
    for n in range(6):
        town.nodes[n % 2].send(f"spam{n}@{domain}", tags=("spam",), X_MQ_Pool="one")
    until(lambda: bool(pauses(town)), 60.0)
    (pause,) = pauses(town)
    assert (pause["created_by"], pause["tag"], pause["site"]) == ("reaction:spam", "spam", "big")
    assert "450 4.7.1 this campaign" in pause["reason"]
    town.nodes[0].send(f"other@{domain}", tags=("other",), X_MQ_Pool="one")
    until(lambda: len(sink.taken) == before + 1)
    until(lambda: town.nodes[0].statement("spam")["held"] == 6, 60.0)
    town.sink.script("RCPT", None)
    assert town.nodes[0].call("DELETE", f"/v1/pauses/{pause['id']}?wait=50s")[0] == 200
    until(lambda: town.nodes[0].statement("spam")["held"] == 0, 60.0)
    arrive(town, "spam", lambda: len(sink.taken) == before + 7)


def pauses(town: Town) -> list[dict[str, Any]]:
    status, answer = town.nodes[0].call("GET", "/v1/pauses")
    assert status == 200
    return list(answer)


def wide(town: Town) -> dict[str, Any]:
    """The limit that slow start gives the mail to `wide.example`; {} = none."""
    orders = town.nodes[1].call("GET", "/v1/limits/orders?site=wide.example")[1]["orders"]
    assert len(orders) < 2, orders
    return dict(orders[0]) if orders else {}


def test_a_rate_reply_halves_the_connections_to_a_site_and_success_opens_them_again(town: Town) -> None:
    sink, node = town.sink.sink, town.nodes[0]
    town.dns.stub.mx("wide.test", (10, "mx.wide.example"))
    town.dns.stub.a("mx.wide.example", "127.0.0.1")
    flow = Flow(town.sink, 0.2)
    for part in range(4):
        node.send([f"m{part}.{n}@wide.test" for n in range(100)], ("wide",), X_MQ_Pool="own")
    flow.until(lambda: sink.open >= 8)
    town.sink.script("MAIL", "421 4.7.28 we see an unusual rate of mail from you")
    flow.until(lambda: bool(wide(town)))
    flow.until(lambda: not sink.open)
    town.sink.script("MAIL", None)
    order = wide(town)
    assert (order["created_by"], order["ip"]) == ("slow start", "node:n1")
    assert "421 4.7.28 we see an unusual rate" in order["reason"]
    found = node.call("GET", "/v1/limits?pool=own&domain=wide.test")[1]["limits"]
    assert [(one["name"], one["order"]) for one in found] == [("connections", order["id"])]

    retry(town, "wide")
    # Connections that were opened before a process knew the limit end after their transaction.
    flow.until(lambda: 1 <= sink.open <= wide(town)["connections"])
    seen: list[tuple[int, int]] = []

    def grows() -> bool:
        there = sink.open  # read first: limits only rise now
        seen.append((there, wide(town)["connections"]))
        return seen[-1][1] >= seen[0][1] + 3

    flow.until(grows)
    assert all(there <= most for there, most in seen), seen
    flow.end()
    arrive(town, "wide", lambda: len(town.sink.to("wide.test")) == 400)
    settled(town, "wide", 400)
    assert_balanced(node.ready["redis"])


def a_moment(connection: int, argument: str) -> None:
    """An answer that takes its time."""
    time.sleep(0.005)


@pytest.mark.parametrize("refusal", ["421 4.7.0 Too many concurrent connections from your host", DROP])
def test_a_site_that_refuses_connections_beyond_its_own_number_is_seldom_tried(town: Town, refusal: str) -> None:
    sink, node, domains = town.sink.sink, town.nodes[0], 60
    name = "closes" if refusal == DROP else "greets"
    town.dns.stub.a(f"mx.{name}.example", "127.0.0.1")
    for n in range(domains):
        town.dns.stub.mx(f"{name}{n}.test", (10, f"mx.{name}.example"))
    until(lambda: not sink.open, 60.0)
    refused, before = 0, len(sink.taken)

    def greeting(connection: int, argument: str) -> str | None:
        nonlocal refused
        if sink.open <= 4:
            return None
        refused += 1
        return refusal

    town.sink.script("GREETING", greeting)
    town.sink.script(".", a_moment)
    for part in range(10):
        node.send([f"m{part}@{name}{n}.test" for n in range(domains)], (name,), X_MQ_Pool="own")
    arrive(town, name, lambda: len(sink.taken) == before + 10 * domains, every=8.0)
    town.sink.script("GREETING", None)
    town.sink.script(".", None)
    settled(town, name, 10 * domains)
    assert refused <= domains / 2, f"{refused} refused connections for {10 * domains} messages"
    asked = sum(town.dns.stub.distinct(f"{name}{n}.test", "MX") for n in range(domains))
    assert domains <= asked <= 1.6 * domains, "the workers of the node share the answers; a busy stub is asked anew"
