"""Answers of DNS that the workers of a node share: processes that inherit the memory, and a stub server."""

import asyncio
import mmap
import os
import random
import signal
import sys
import textwrap
from collections.abc import AsyncIterator

import pytest

from mta.dns.resolver import DnsResolver
from mta.dns.shared_answers import LONGEST, SIZE, Question, SharedAnswers, answers_memory
from tests.support.dns_stub import DnsStub

NAMES = 300
WORKER = textwrap.dedent(
    """
    import asyncio, sys
    from mta.dns.resolver import DnsResolver
    from mta.dns.shared_answers import Question, SharedAnswers

    async def main(memory, server, names):
        resolver = DnsResolver([server], shared=SharedAnswers(memory))
        found = await asyncio.gather(*(resolver.mx(f"d{n}.test") for n in range(names)))
        print(*(" ".join(answer.hosts) or answer.enhanced for answer in found), sep=",", flush=True)
        await resolver.close()

    def hold(memory, name):
        answers = SharedAnswers(memory)
        assert answers.lock(Question(name, "MX"))
        print("held", flush=True)
        sys.stdin.read()

    if sys.argv[1] == "hold":
        hold(int(sys.argv[2]), sys.argv[3])
    else:
        asyncio.run(main(int(sys.argv[2]), sys.argv[3], int(sys.argv[4])))
    """
)


@pytest.fixture
async def stub() -> AsyncIterator[DnsStub]:
    async with DnsStub() as stub:
        yield stub


async def worker(memory: int, *arguments: str) -> asyncio.subprocess.Process:
    pipe = asyncio.subprocess.PIPE
    command = [sys.executable, "-c", WORKER, arguments[0], str(memory), *arguments[1:]]
    return await asyncio.create_subprocess_exec(*command, stdin=pipe, stdout=pipe, pass_fds=(memory,))


async def test_two_workers_ask_about_each_name_once_and_get_the_same_answer(stub: DnsStub) -> None:
    for number in range(0, NAMES, 3):
        stub.mx(f"d{number}.test", (10, f"mx{number}.test"))
        stub.fail(f"d{number + 1}.test")
    stub.delay = 0.1
    memory = answers_memory()
    workers = [await worker(memory, "ask", stub.address, str(NAMES)) for _ in range(2)]
    one, two = [(await process.communicate())[0].decode().strip().split(",") for process in workers]
    assert one == two == [("5.1.2", f"mx{n}.test", "4.4.3")[(n + 1) % 3 if n % 3 != 2 else 0] for n in range(NAMES)]
    counts = [stub.distinct(f"d{n}.test", "MX") for n in range(NAMES) if n % 3 != 1]  # also those that do not exist
    assert min(counts) == 1
    assert sum(counts) <= 1.5 * len(counts), "a slow machine asks anew"
    os.close(memory)


async def test_the_question_of_a_worker_that_was_killed_is_asked_by_another_one(stub: DnsStub) -> None:
    stub.mx("d0.test", (10, "mx.test"))
    memory = answers_memory()
    dead = await worker(memory, "hold", "d0.test")
    assert dead.stdout is not None
    assert await dead.stdout.readline() == b"held\n"
    other = await worker(memory, "ask", stub.address, "1")
    assert other.stdout is not None
    reading = asyncio.ensure_future(other.stdout.readline())
    assert not (await asyncio.wait((reading,), timeout=1.5))[0], "it waits for the one that asks"
    assert not stub.asked
    dead.send_signal(signal.SIGKILL)
    assert await asyncio.wait_for(reading, 30.0) == b"mx.test\n"
    await asyncio.gather(dead.wait(), other.wait())
    os.close(memory)


async def test_a_worker_that_stands_still_is_not_waited_for_without_end(stub: DnsStub) -> None:
    stub.mx("d0.test", (10, "mx.test"))
    memory = answers_memory()
    still = await worker(memory, "hold", "d0.test")
    assert still.stdout is not None
    assert await still.stdout.readline() == b"held\n"
    resolver = DnsResolver([stub.address], timeout=0.5, shared=SharedAnswers(memory))
    assert (await resolver.mx("d0.test")).hosts == ("mx.test",)
    await resolver.close()
    still.kill()
    await still.wait()


def test_an_answer_holds_until_its_time_and_for_its_question_alone() -> None:
    memory = answers_memory()
    one, two = SharedAnswers(memory), SharedAnswers(memory)
    one.put(Question("a.test", "A"), 100.0, [["192.0.2.1"], False, ""])
    assert two.get(Question("a.test", "A"), 99.0) == (100.0, [["192.0.2.1"], False, ""])
    assert two.get(Question("a.test", "A"), 100.0) is None
    assert two.get(Question("a.test", "AAAA"), 99.0) is None
    one.put(Question("long.test", "TXT"), 100.0, [["x" * LONGEST], False, ""])
    assert two.get(Question("long.test", "TXT"), 99.0) is None, "longer than four slots"


@pytest.mark.parametrize("seed", range(3))
def test_an_answer_that_is_damaged_in_any_place_is_none(seed: int) -> None:
    descriptor = answers_memory()
    answers, question = SharedAnswers(descriptor), Question("a.test", "A")
    answers.put(question, 100.0, [["192.0.2.1"], False, ""])
    memory, chance = mmap.mmap(descriptor, SIZE), random.Random(seed)
    written = memory[:]
    first = next(at for at, byte in enumerate(written) if byte)
    last = len(written.rstrip(b"\0"))
    for _ in range(200):
        at = chance.randrange(first, last)
        memory[at] ^= 1 << chance.randrange(8)
        assert answers.get(question, 99.0) is None
        memory[at] = written[at]
    assert answers.get(question, 99.0) is not None
