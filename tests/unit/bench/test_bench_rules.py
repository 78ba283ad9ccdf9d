import json
import socket
import threading
from collections import Counter
from pathlib import Path

import msgspec

from bench.changes import Change, account
from bench.plan import CAMPAIGN, CUSTOMERS, customer_of
from bench.rest import Rest
from bench.rule_mix import KINDS, rule, selectors_of
from bench.usage import server_memory
from control_api.rules.body import read_rule
from mta.model.rules import Head
from mta.policy.rule_table import RuleTable
from tests.measure import lookup


def test_no_two_rules_of_the_mix_select_alike() -> None:
    found = {msgspec.json.encode(selectors_of(number)) for number in range(2_000)}
    assert len(found) == 2_000


def test_the_kinds_take_turns() -> None:
    shapes = Counter(tuple(selectors_of(number)) for number in range(100))
    assert shapes == {
        ("tag",): 20,
        ("tag", "domain"): 20,
        ("pool", "domain"): 20,
        ("domain",): 20,
        ("tags_all",): 20,
    }
    assert len(KINDS) == len(shapes)


def test_no_rule_of_the_mix_matches_relayed_mail() -> None:
    table = RuleTable.build(Head(1, "x"), [lookup.made(number) for number in range(2_000)])
    for number in range(CUSTOMERS):
        tags = (CAMPAIGN, customer_of(number))
        assert table.match("default", "", f"d{number % 5}.bench.test", tags) is None


def test_a_rule_of_the_mix_is_an_order_that_the_api_takes() -> None:
    for number in range(len(KINDS)):
        taken = read_rule(rule(number), "n1", 0)
        assert taken.selectors == lookup.made(number).selectors


def test_changes_are_counted_by_what_became_of_them() -> None:
    found = account([Change(201, 0.1), Change(200, 0.3), Change(202, 2.0), Change(503, 0.2), Change(0, 1.0)])
    assert (found["effective"], found["accepted_only"], found["failed"]) == (2, 1, 2)
    assert found["statuses"] == {"0": 1, "200": 1, "201": 1, "202": 1, "503": 1}
    assert found["latency_ms"]["max"] == 2000.0


async def test_a_call_that_nobody_answers_is_an_answer_too() -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    async with Rest(f"http://127.0.0.1:{port}", "token") as rest:
        answer = await rest.call("GET", "/v1/errors")
    assert answer.status == 0
    assert "Connect" in answer.body


def test_the_servers_memory_is_what_it_says(tmp_path: Path) -> None:
    said = b"# Memory\r\nused_memory:1234\r\nused_memory_human:1K\r\nused_memory_peak:5678\r\n"
    said += b"mem_clients_slaves:1\r\nmem_clients_normal:20\r\nmem_aof_buffer:300\r\n"

    def serve(listener: socket.socket) -> None:
        link, _ = listener.accept()
        with link:
            assert link.recv(100) == b"INFO memory\r\n"
            link.sendall(b"$%d\r\n%b\r\n" % (len(said), said))

    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "s"))
        listener.listen()
        server = threading.Thread(target=serve, args=(listener,))
        server.start()
        found = server_memory(f"unix://{tmp_path / 's'}")
        server.join()
    assert found == {"used_memory": 1234, "used_memory_peak": 5678, "buffers": 321}


def test_a_lookup_is_measured_and_kept_with_what_it_found(tmp_path: Path) -> None:
    assert lookup.main(["--rules", "10", "--rules", "50", "--times", "5", "--results", str(tmp_path)]) == 0
    (data,) = tmp_path.glob("*-lookup.json")
    (page,) = tmp_path.glob("*-lookup.md")
    sizes = json.loads(data.read_text())["sizes"]
    assert [size["rules"] for size in sizes] == [10, 50]
    for size in sizes:
        winners = [found["rule"] for found in size["lookups"].values()]
        assert winners == [None, None, None, "00000000"]
    assert "| ns per lookup | 10 rules | 50 rules |" in page.read_text()
