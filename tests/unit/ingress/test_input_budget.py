"""Sessions keep a bounded amount of unfinished messages, and every message comes to its end."""

import random

from mta.ingress.input_budget import ALWAYS, HEAVY, InputBudget

MIB = 1024 * 1024


class Reader:
    def __init__(self) -> None:
        self.reads = True

    def resume(self) -> None:
        self.reads = True


def test_light_sessions_are_never_stopped() -> None:
    budget = InputBudget(most=MIB)
    assert all(budget.charge(Reader(), HEAVY) for _ in range(1000))


def test_beyond_the_most_only_the_oldest_read_on_and_the_next_when_one_is_done() -> None:
    budget, readers = InputBudget(most=ALWAYS * MIB), [Reader() for _ in range(ALWAYS + 3)]
    for reader in readers:
        reader.reads = budget.charge(reader, MIB)
    assert [reader.reads for reader in readers] == [True] * (ALWAYS - 1) + [True] + [False] * 3
    assert budget.charge(readers[0], 2 * MIB)
    budget.charge(readers[0], 0)
    assert [reader.reads for reader in readers[ALWAYS:]] == [True, False, False]
    for reader in readers[1:]:
        budget.charge(reader, 0)
    assert all(reader.reads for reader in readers)
    assert budget.charge(Reader(), 3 * MIB)


def test_all_messages_come_to_their_ends_and_what_is_kept_stays_bounded() -> None:
    draw, size, most = random.Random(1), 3 * MIB, 8 * MIB
    budget, kept = InputBudget(most), {Reader(): 0 for _ in range(50)}
    while kept:
        able = [reader for reader in kept if reader.reads]
        assert able
        reader = draw.choice(able)
        kept[reader] += 64 * 1024
        if kept[reader] >= size:
            del kept[reader]
            budget.charge(reader, 0)
        else:
            reader.reads = budget.charge(reader, kept[reader])
        assert sum(kept.values()) <= most + (ALWAYS + 1) * size + len(kept) * HEAVY
