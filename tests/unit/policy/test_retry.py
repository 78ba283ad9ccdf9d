import msgspec
from hypothesis import given
from hypothesis import strategies as st

from mta.model.settings import DeliverySettings
from mta.policy.retry import delay_ms, next_attempt
from mta.policy.shaping import Shaping
from tests.support.scheduling import NOW, QUEUE, SETTINGS, a_record


def plan(**delivery):
    return Shaping(msgspec.structs.replace(SETTINGS, delivery=DeliverySettings(**delivery))).plan(QUEUE)


PLAN = plan(retries=(60.0, 300.0))
chances = st.floats(0, 1, exclude_max=True)


@given(st.integers(1, 50), chances)
def test_delays_stay_within_ten_percent_and_the_last_repeats(attempts, chance):
    want = 60_000 if attempts == 1 else 300_000
    assert want * 0.9 - 1 <= delay_ms((60.0, 300.0), attempts, chance) <= want * 1.1


def test_the_messages_own_retries_win():
    assert next_attempt(a_record(retries=(7,)), 1, NOW, PLAN, 0.5) == NOW + 7000


def test_attempts_run_out_by_message_or_by_node():
    assert next_attempt(a_record(max_attempts=2), 2, NOW, PLAN, 0.5) is None
    assert next_attempt(a_record(max_attempts=2), 1, NOW, PLAN, 0.5) == NOW + 60_000
    assert next_attempt(a_record(), 3, NOW, plan(max_attempts=3), 0.5) is None


def test_an_attempt_that_would_come_too_late_is_not_waited_for():
    assert next_attempt(a_record(expires_at=NOW + 60_000), 1, NOW, PLAN, 0.5) is None
    assert next_attempt(a_record(expires_at=NOW + 60_001), 1, NOW, PLAN, 0.5) == NOW + 60_000
