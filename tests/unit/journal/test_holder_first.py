"""The journal of the node that holds the history goes first, by the clock of the one that waits."""

from mta.journal.holder_first import HolderFirst
from mta.ports.journal import JournalState


class Journals:
    def __init__(self) -> None:
        self.states: list[JournalState] = []

    async def journals(self) -> list[JournalState]:
        return self.states


async def test_lanes_are_left_to_the_holder_until_its_journal_was_silent_for_a_lease() -> None:
    journals, now = Journals(), [100.0]

    async def holder() -> str:
        return "n1"

    first = HolderFirst(journals, holder, 15.0, clock=lambda: now[0])
    assert await first.must_wait()  # it may be about to start
    now[0] += 14
    journals.states = [JournalState("n1", 1, 5000, {}), JournalState("n2", 1, 5000, {})]
    assert await first.must_wait()
    now[0] += 14
    journals.states = [JournalState("n1", 1, 5000, {}), JournalState("n2", 1, 9000, {})]  # not the holder's
    assert await first.must_wait()
    now[0] += 2
    assert not await first.must_wait()
    journals.states = [JournalState("n1", 1, 9500, {})]  # it is back
    now[0] += 1
    assert await first.must_wait()
