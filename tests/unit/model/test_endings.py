"""Fields of ended deliveries: shared where they were met before, in place where they are new, bounded in any case."""

import msgspec

from mta.model import endings
from mta.model.endings import Common, Commons, Final, short
from mta.model.outcomes import Forced, Reply, Stage

ABOUT = ("a@example.org", ("red",), "default", "acme", "192.0.2.1", "mx.example.com", Forced("r", 7, Stage.ATTEMPT))


def test_o13_what_is_new_stands_in_place_and_what_was_met_is_named_by_a_digest() -> None:
    commons = Commons()
    common, shared = commons.share(*ABOUT)
    assert (common, shared) == (Common(*ABOUT), None)
    common, shared = commons.share(*ABOUT)
    assert shared is not None
    assert common == shared.digest
    assert msgspec.msgpack.decode(shared.raw, type=Common) == Common(*ABOUT)
    assert commons.share(*ABOUT) == (common, shared)
    assert commons.share("b@example.org", *ABOUT[1:])[1] is None
    assert Commons().share(*ABOUT)[1] is None, "each process learns for itself"


def test_o13_senders_that_are_all_different_fill_no_memory(monkeypatch) -> None:
    monkeypatch.setattr(endings, "_MOST", 10)
    commons = Commons()
    for number in range(100):
        assert commons.share(f"bounce-{number}@example.org", *ABOUT[1:])[1] is None
    assert len(commons._met) <= 10


def test_o13_a_plain_end_costs_little_more_than_before() -> None:
    before = msgspec.msgpack.encode(("u00000001@example.com", 1_700_000_000_000, 1, False, None, False))
    digest = b"12345678"
    final = Final("u00000001@example.com", 1_700_000_000_000, attempts=1, common=digest)
    assert len(msgspec.msgpack.encode(final)) - len(before) <= 15
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(final), type=Final) == final
    assert msgspec.msgpack.decode(before, type=Final) == Final("u00000001@example.com", 1_700_000_000_000)


def test_k11_long_replies_are_kept_to_1024_characters() -> None:
    assert short(Reply(550, "5.1.1", "x" * 5000)) == Reply(550, "5.1.1", "x" * 1024)
    reply = Reply(550, "5.1.1", "no")
    assert short(reply) is reply
