"""What sessions keep of unfinished messages is bounded, and every message comes to its end."""

import random

from mta.ingress.input_budget import ALWAYS, HEAVY, Ration

MIB = 1024 * 1024


class Reader:
    def __init__(self) -> None:
        self.reads = True

    def read_on(self) -> None:
        self.reads = True


def test_light_sessions_are_never_stopped() -> None:
    ration = Ration(most=MIB)
    assert all(ration.weigh(Reader(), HEAVY) for _ in range(1000))


def test_beyond_the_most_only_the_oldest_read_on_and_the_next_when_one_is_done() -> None:
    ration, readers = Ration(most=ALWAYS * MIB), [Reader() for _ in range(ALWAYS + 3)]
    for reader in readers:
        reader.reads = ration.weigh(reader, MIB)
    assert [reader.reads for reader in readers] == [True] * (ALWAYS - 1) + [True] + [False] * 3
    assert ration.weigh(readers[0], 2 * MIB)
    ration.weigh(readers[0], 0)
    assert [reader.reads for reader in readers[ALWAYS:]] == [True, False, False]
    for reader in readers[1:]:
        ration.weigh(reader, 0)
    assert all(reader.reads for reader in readers)
    assert ration.weigh(Reader(), 3 * MIB)


def test_all_messages_come_to_their_ends_and_what_is_kept_stays_bounded() -> None:
    draw, size, most = random.Random(1), 3 * MIB, 8 * MIB
    ration, kept = Ration(most), {Reader(): 0 for _ in range(50)}
    while kept:
        able = [reader for reader in kept if reader.reads]
        assert able
        reader = draw.choice(able)
        kept[reader] += 64 * 1024
        if kept[reader] >= size:
            del kept[reader]
            ration.weigh(reader, 0)
        else:
            reader.reads = ration.weigh(reader, kept[reader])
        assert sum(kept.values()) <= most + (ALWAYS + 1) * size + len(kept) * HEAVY
