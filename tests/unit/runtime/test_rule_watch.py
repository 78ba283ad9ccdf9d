"""A rule that the processes of a node cannot read is said once for the node (K15)."""

import pytest

from mta.model.rules import NO_HEAD, Build, SessionState
from mta.runtime.rule_watch import RuleWatch


class Sessions:
    def __init__(self) -> None:
        self.states = {
            name: SessionState(name, node, pid, ("delivery",), NO_HEAD, 1)
            for name, node, pid in (("a", "n1", 1), ("b", "n1", 2), ("old", "n1", 9), ("far", "n2", 1))
        }
        self.told: dict[str, str] = {}

    async def sessions(self) -> dict[str, SessionState]:
        return self.states

    async def builds(self) -> dict[str, Build]:
        return {name: Build(unreadable=self.told.get(name, "")) for name in self.states}


@pytest.fixture
def sessions() -> Sessions:
    return Sessions()


async def test_k15_one_line_for_all_processes_and_one_when_it_is_over(
    sessions: Sessions, caplog: pytest.LogCaptureFixture
) -> None:
    watch = RuleWatch(sessions, "n1", lambda: {1, 2})
    for told in ({}, {"a": "rule x: why"}, {"a": "rule x: why", "b": "rule x: why"}, {"b": "rule x: why"}, {}, {}):
        sessions.told = told
        await watch.look()
    assert [record.levelname for record in caplog.records] == ["ERROR", "WARNING"]
    assert caplog.records[0].message.startswith("rule x: why; this node confirms no rules and delivers nothing until ")


@pytest.mark.parametrize("name", ["old", "far"])
async def test_k15_what_others_cannot_read_is_not_said(
    sessions: Sessions, caplog: pytest.LogCaptureFixture, name: str
) -> None:
    sessions.told = {name: "rule x: why"}
    await RuleWatch(sessions, "n1", lambda: {1, 2}).look()
    assert not caplog.records
