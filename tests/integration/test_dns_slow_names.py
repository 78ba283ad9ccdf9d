"""10,000 names whose servers do not answer: questions about others are not held up."""

import asyncio

import dns.message

from mta.dns.resolver import DnsResolver
from tests.support.dns_stub import DnsStub

SLOW = 10_000


class Silent(DnsStub):
    """Answers nothing about names below slow.test, at little cost."""

    def __init__(self) -> None:
        super().__init__()
        self.dropped: set[bytes] = set()

    async def answer(self, data: bytes) -> bytes | None:
        if b"\x04slow\x04test\x00" in data:
            self.dropped.add(data[12:40])
            return None
        assert dns.message.from_wire(data)
        return await super().answer(data)


async def test_c100_names_without_an_answer_hold_up_no_other_name() -> None:
    async with Silent() as stub:
        stub.mx("good.test", (10, "mx.good.test"))
        resolver = DnsResolver([stub.address], timeout=60.0)
        slow = [asyncio.ensure_future(resolver.mx(f"d{number}.slow.test")) for number in range(SLOW)]
        await asyncio.sleep(0)
        answer = await resolver.mx("good.test")
        assert answer.hosts == ("mx.good.test",)
        assert not any(task.done() for task in slow)  # it did not wait for the end of them
        for task in slow:
            task.cancel()
        await asyncio.gather(*slow, return_exceptions=True)
        await resolver.close()
