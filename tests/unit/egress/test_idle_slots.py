"""Connections without mail, while mail of others waits for a slot of their site."""

import asyncio
import time

import pytest

from mta.egress.idle_slots import KEPT_FOR
from tests.support.egress_rig import FakeLimits, Rig
from tests.support.sink import Sink


@pytest.fixture(autouse=True)
def wanted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(FakeLimits, "is_wanted", lambda self, site: True)


async def test_a_connection_without_mail_is_closed_long_before_its_idle_timeout() -> None:
    async with Sink() as sink, Rig(route=f"{sink.host}:{sink.port}", idle_timeout=60.0) as rig:
        sent = time.monotonic()
        rig.send("a@example.com")
        await rig.settle.until(1)
        await sink.until(lambda sink: sink.open == 0)
        assert time.monotonic() - sent >= KEPT_FOR, "it waits for the next message"


async def test_a_connection_that_gets_mail_again_and_again_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mta.egress.idle_slots.KEPT_FOR", 5.0)
    async with Sink() as sink, Rig(route=f"{sink.host}:{sink.port}", idle_timeout=60.0) as rig:
        for number in range(1, 21):
            rig.send(f"a{number}@example.com")
            await rig.settle.until(number)
            await asyncio.sleep(0)
        assert sink.connections == 1
