"""Answers to orders with an idempotency key on a real store."""

from collections.abc import Callable

import pytest

from mta.model.idempotency import IdempotencyKey, idempotency_key
from mta.ports.idempotency import KeyRefusal, KeyTrouble
from mta.redis_store import keys
from mta.redis_store.kept_answers import CLAIM, StoredAnswers
from mta.redis_store.load import MeasuredLoad
from tests.support.stores import Store


def key_of(name: str, content: str = "") -> IdempotencyKey:
    return idempotency_key(("order",), name, (content.encode(),))


async def refusal(answers: StoredAnswers, key: IdempotencyKey) -> KeyTrouble:
    with pytest.raises(KeyRefusal) as refused:
        await answers.claim(key, "other")
    return refused.value.trouble


async def test_one_owner_carries_an_order_out_and_its_answer_is_kept_for_the_window(
    open_store: Callable[..., Store],
) -> None:
    link = (await open_store()).link
    answers, key = StoredAnswers(link, 1, 300.0, 1024), key_of("k")
    name = keys.answer_key(keys.lane_prefix(0), key.name)
    assert await answers.claim(key, "me") is None
    assert await answers.claim(key, "me") is None, "it renews the claim"
    assert 0 < await link.command("PTTL", name) <= CLAIM * 1000
    assert await refusal(answers, key) is KeyTrouble.UNDER_WAY
    assert await refusal(answers, key_of("k", "other")) is KeyTrouble.OTHER_CONTENT
    await answers.leave(key, "other")
    await answers.keep(key, "other", b"no")
    assert await refusal(answers, key) is KeyTrouble.UNDER_WAY
    await answers.keep(key, "me", b"\x00answer")
    await answers.keep(key, "me", b"\x00answer")
    assert await answers.claim(key, "other") == b"\x00answer"
    assert await refusal(answers, key_of("k", "other")) is KeyTrouble.OTHER_CONTENT
    assert CLAIM * 1000 < await link.command("PTTL", name) <= 300_000
    assert await MeasuredLoad(link, 1).key_bytes() == 80 + 8 + 1 + 7, "counted once"


async def test_an_order_that_had_no_effect_may_be_carried_out_by_another(open_store: Callable[..., Store]) -> None:
    link = (await open_store()).link
    answers, key = StoredAnswers(link, 1, 300.0, 1024), key_of("k")
    assert await answers.claim(key, "me") is None
    await answers.leave(key, "me")
    assert await answers.claim(key, "other") is None
    await answers.leave(key, "other")
    assert await MeasuredLoad(link, 1).key_bytes() == 0
    assert not await link.command("EXISTS", keys.answer_key(keys.lane_prefix(0), key.name))


async def test_no_new_key_is_taken_once_keys_have_their_memory(open_store: Callable[..., Store]) -> None:
    answers, known = StoredAnswers((await open_store()).link, 1, 300.0, 100), key_of("known")
    assert await answers.claim(known, "me") is None
    await answers.keep(known, "me", b"x" * 20)
    assert await refusal(answers, key_of("new")) is KeyTrouble.NO_ROOM
    assert await answers.claim(known, "other") == b"x" * 20
