"""Connections and outlets say at the debug level what becomes of them."""

import logging

import pytest

from mta.model.destination_settings import DomainSettings
from mta.model.outcomes import ReturnReason
from tests.support.egress_rig import Rig, rule
from tests.support.sink import STALL, Sink


def said_by(caplog: pytest.LogCaptureFixture) -> list[str]:
    """As it was said then: `caplog.messages` asks the connections again."""
    return [record.message for record in caplog.records]


async def test_the_life_of_a_connection_and_its_outlet(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "mta.egress")
    async with Sink() as sink, Rig(route=f"{sink.host}:{sink.port}") as rig:
        rig.send("a@example.com")
        await rig.settle.until(1)
    said = [text.partition(" -> ")[0] + text.rpartition("]")[2] for text in said_by(caplog) if "<Connection" in text]
    assert said == [
        "<Connection 127.0.0.1 idle carried=0> is open, 1 to example.com in all",
        "<Connection 127.0.0.1 idle carried=1> closes",
        "<Connection 127.0.0.1 quitting carried=1> was closed",
    ]
    assert said_by(caplog)[0] == "<Outlet default/example.com waiting=0 connections=0 idle=0 opening=0> is made"


async def test_a_transaction_that_a_rule_ends(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "mta.egress")
    async with Sink() as sink, Rig(route=f"{sink.host}:{sink.port}") as rig:
        sink.script["MAIL"] = STALL
        rig.send("a@example.com", tags=("stop",))
        await sink.until(lambda sink: any(command.startswith("MAIL") for _, command in sink.commands))
        rig.rules.put(rule(tag="stop"))
        await rig.settle.until(1)
    assert any(text.endswith("abandons its transaction") for text in said_by(caplog))


async def test_deliveries_that_find_no_slot_carry_the_reason(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "mta.egress")
    settings = {"domains": {"example.com": DomainSettings(connections=1)}}
    async with Sink() as sink, Rig(settings, route=f"{sink.host}:{sink.port}") as rig:
        rig.limits.connections = 0
        rig.send("a@example.com")
        (outcome,) = await rig.settle.until(1)
    assert (outcome.returned, outcome.reason) == (ReturnReason.NO_SLOT, ReturnReason.NO_SLOT.words)
    assert any("gets no slot of its domain" in text for text in said_by(caplog))
