"""Processes that die under load: nothing that was answered 250 is lost, and a second copy is explained."""

import os
import signal
import time
from collections import Counter

from tests.support.injector import Injector
from tests.support.node import Node, running, until
from tests.support.recount import assert_balanced
from tests.support.sink import HOLD
from tests.support.sink_thread import SinkThread
from tests.support.valkey import Valkey

SETS = {"delivery__lease": "5s", "rules__max_staleness": "1s", "redis__timeout": "2s"}


def received(sink: SinkThread) -> Counter[str]:
    return Counter(address for message in list(sink.sink.received) if message.taken for address in message.recipients)


def settled(node: Node, timeout: float = 60.0) -> dict:
    """The statement once nothing is queued any more."""

    def look() -> dict | None:
        statement = node.statement("load")
        return statement if statement["queued"] == 0 and statement["accepted"] else None

    return until(look, timeout)


def test_F05_F06_a_killed_worker_loses_nothing_and_repeats_only_what_it_held(tmp_path):
    valkey, sink = Valkey(tmp_path / "valkey"), SinkThread()
    with running(valkey, sink):
        node = Node(tmp_path / "n1", redis=valkey.url, delivery__route=sink.address, **SETS)
        with running(node):
            load = Injector(node)
            held_at_death: Counter[str] = Counter()
            with running(load):
                for _ in range(2):
                    before = len(load.taken)
                    until(lambda: len(load.taken) > before + 200)  # noqa: B023
                    victim = until(lambda: len(node.workers()) == 2 and node.workers())[0]
                    sink.script(".", HOLD)  # what is under way now is past its dot, its reply lost with the worker
                    until(lambda: claims_of(valkey, victim) > 0)  # noqa: B023
                    os.kill(victim, signal.SIGSTOP)
                    held_at_death[str(victim)] = claims_of(valkey, victim)
                    os.kill(victim, signal.SIGKILL)
                    sink.script(".", None)
                    sink.release("250 2.0.0 ok")
                    until(lambda: victim not in node.workers() and len(node.workers()) == 2)  # noqa: B023
            statement = settled(node)
            until(lambda: load.taken <= received(sink).keys())
            copies = received(sink)
            extra = sum(copies.values()) - len(copies)
            print(f"{len(load.taken)} taken, {extra} second copies, held at the deaths: {dict(held_at_death)}")
            assert not load.refused & copies.keys(), "what was refused must not be delivered"
            assert copies.keys() <= load.taken | load.unknown
            assert extra <= sum(held_at_death.values())
            assert statement["balanced"]
            assert statement["delivered"] == statement["accepted"] == len(copies)
            assert_balanced(valkey.url)


def claims_of(valkey: Valkey, pid: int) -> int:
    """How many deliveries the sessions of a process hold."""
    return sum(
        int(valkey.ask("HLEN", f"fg:{{{lane}}}:claimed:{session}").strip()[1:])
        for session in sessions(valkey)
        if f".{pid}." in session
        for lane in range(4)
    )


def sessions(valkey: Valkey) -> list[str]:
    answer = valkey.ask("HKEYS", "fg:{rules}:sessions").split(b"\r\n")
    return [line.decode() for line in answer if line and line[:1] not in b"*$"]


def test_F10_valkey_killed_and_restarted_under_load_loses_nothing(tmp_path):
    valkey, sink = Valkey(tmp_path / "valkey"), SinkThread()
    with running(valkey, sink):
        # Longer than the store is away on the busiest machine: nobody is called dead meanwhile.
        sets = SETS | {"delivery__lease": "30s"}
        node = Node(tmp_path / "n1", redis=valkey.url, delivery__route=sink.address, **sets)
        with running(node):
            load = Injector(node)
            with running(load):
                for _ in range(2):
                    before = len(load.taken)
                    until(lambda: len(load.taken) > before + 200)  # noqa: B023
                    valkey.stop(signal.SIGKILL)
                    time.sleep(0.5)  # how long the store is away
                    valkey.start()
                before = len(load.taken)
                until(lambda: len(load.taken) > before + 200)
            statement = settled(node)
            until(lambda: load.taken <= received(sink).keys())
            copies = received(sink)
            print(f"{len(load.taken)} taken, {len(load.refused)} refused, {len(load.unknown)} unknown, {load.codes}")
            assert load.codes <= {250, 421, 451, 452}, "a store that is away is no reason for a 5xx"
            assert not load.refused & copies.keys(), "what was refused must not be delivered"
            assert copies.keys() <= load.taken | load.unknown
            assert sum(copies.values()) == len(copies), "outcomes are kept until the store answers"
            assert statement["balanced"]
            assert statement["delivered"] == statement["accepted"] == len(copies)
            assert_balanced(valkey.url)


def test_F03_a_killed_node_delivers_the_rest_after_its_restart(tmp_path):
    sink = SinkThread()
    with running(sink):
        sink.script("GREETING", "421 4.3.2 later")
        node = Node(
            tmp_path / "n1", delivery__route=sink.address, delivery__retries=["1s"], node__drain_timeout="2s", **SETS
        )
        node.start()
        workers = node.workers()
        node.send([f"a{n}@one.example" for n in range(50)], tags=("load",))
        node.stop(signal.SIGKILL)
        until(lambda: not any(alive(pid) for pid in workers), what="workers outlive their supervisor")
        sink.script("GREETING", None)
        with running(node):
            statement = settled(node)
            assert (statement["accepted"], statement["delivered"], statement["balanced"]) == (50, 50, True)
            assert received(sink) == Counter(f"a{n}@one.example" for n in range(50))
            assert_balanced(node.ready["redis"])


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True
