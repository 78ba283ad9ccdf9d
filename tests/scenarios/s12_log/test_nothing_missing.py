"""The log has every settled delivery, although the worker is killed right after, or the journal under load."""

import os
import signal
from collections import Counter
from typing import Any

from tests.support.node import until


def _stories(lines: list[dict[str, Any]]) -> dict[str, Counter[str]]:
    """Delivery id -> how often each type, by distinct events."""
    events = {line["event"]: line for line in lines}
    found: dict[str, Counter[str]] = {}
    for line in events.values():
        found.setdefault(line["id"], Counter())[line["type"]] += 1
    return found


def _ended(lines: list[dict[str, Any]]) -> int:
    """How many deliveries have a line of their acceptance and one of their end."""
    return sum(story["Reception"] > 0 < story["Delivery"] for story in _stories(lines).values())


def test_a_journal_killed_under_load_misses_nothing_and_its_duplicates_can_be_recognised(place: Any):
    node = place.node
    count, kills = 600, {150, 300, 450}
    with node.sender() as client:
        for n in range(count):
            node.send_on(client, f"u{n}@j{n % 5}.test", ("journal",))
            if n in kills:
                before = node.child("mta.runtime.journal")
                os.kill(before, signal.SIGKILL)
    place.at_rest("journal", count, delivered=count)
    until(lambda: _ended(place.log_of("journal")) == count)  # events come to the log by way of the spool
    lines = place.log_of("journal")
    stories = _stories(lines)
    assert len(stories) == count
    assert {tuple(sorted(story.items())) for story in stories.values()} == {(("Delivery", 1), ("Reception", 1))}
    domains = tuple(f"@j{n}.test" for n in range(5))
    receipts = [r.recipients[0] for r in place.sink.sink.taken if r.recipients[0].endswith(domains)]
    assert sorted(receipts) == sorted(f"u{n}@j{n % 5}.test" for n in range(count))
    by_event: dict[str, list[dict[str, Any]]] = {}
    for line in lines:
        by_event.setdefault(line["event"], []).append(line)
    assert all(line == same[0] for same in by_event.values() for line in same)


def test_k17_a_journal_killed_while_its_log_is_moved_misses_nothing(place: Any):
    node = place.node
    count, moves = 300, {100: "k1", 200: "k2"}
    with node.sender() as client:
        for n in range(count):
            node.send_on(client, f"u{n}@k{n % 5}.test", ("moved-killed",))
            if n in moves:
                journal = node.child("mta.runtime.journal")
                node.log.rename(node.log.with_suffix(f".{moves[n]}"))
                os.kill(node.process.pid, signal.SIGHUP)
                os.kill(journal, signal.SIGKILL)
    place.at_rest("moved-killed", count, delivered=count)

    def told() -> list[dict[str, Any]]:
        moved = [node.log.with_suffix(f".{name}").read_bytes() for name in moves.values()]
        return [line for line in place.lines(*moved) if "moved-killed" in line.get("tags", ())]

    until(lambda: _ended(told()) == count)
    stories = _stories(told())
    assert len(stories) == count
    assert {tuple(sorted(story.items())) for story in stories.values()} == {(("Delivery", 1), ("Reception", 1))}


def test_what_a_worker_settled_before_it_was_killed_is_in_the_log(place: Any):
    node, sink = place.node, place.sink
    node.send([f"u{n}@w{n % 7}.test" for n in range(200)], ("worker",), X_MQ_Delayed="+2s")
    mine = [f"@w{n}.test" for n in range(7)]

    def receipts() -> list[str]:
        return [r.recipients[0] for r in list(sink.sink.taken) if r.recipients[0].endswith(tuple(mine))]

    workers = node.workers()
    until(lambda: len(receipts()) > 20)
    os.kill(workers[0], signal.SIGKILL)
    statement = place.at_rest("worker", 200, delivered=200)
    assert statement["balanced"] is True
    got = Counter(receipts())
    assert len(got) == 200
    until(lambda: _ended(place.log_of("worker")) == 200)
    stories = _stories(place.log_of("worker"))
    assert len(stories) == 200
    assert (
        {story["Delivery"] for story in stories.values()} == {story["Reception"] for story in stories.values()} == {1}
    )
    until(lambda: len(now := node.workers()) == 2 and workers[0] not in now)
