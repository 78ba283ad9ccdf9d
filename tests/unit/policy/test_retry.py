import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mta.model.destination_settings import DomainSettings
from mta.model.mail import IpWish
from mta.model.outcomes import Origin, Outcome, Reply, Verdict
from mta.model.replies import Known, Reaction
from mta.model.settings import DeliverySettings
from mta.policy.retry import asked_seconds, delay_ms, ip_wish, next_attempt
from mta.policy.sending_window import read_window
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


def test_a_retry_outside_the_window_moves_to_its_next_opening():
    hour = 3_600_000
    midnight = NOW - NOW % 86_400_000
    window = read_window("12:00-13:00")
    late = midnight + 13 * hour - 30_000
    opens = midnight + 36 * hour
    assert next_attempt(a_record(window=window, expires_at=opens + 1), 1, late, PLAN, 0.5) == opens
    assert next_attempt(a_record(window=window, expires_at=opens), 1, late, PLAN, 0.5) is None
    assert next_attempt(a_record(window=window, expires_at=opens), 1, late - 60_000, PLAN, 0.5) == late


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("Greylisted, try again in 5 minutes", 300),
        ("Greylisted for 300 seconds", 300),
        ("greylisting in action, please come back in 00:04:59", 299),
        ("Please retry after 2h", 7200),
        ("deferred, try again in 90 s", 90),
        ("Try again later", None),
        ("try again; error 300 seen", None),
    ],
)
def test_c103_the_time_that_a_server_asks_for(text: str, seconds: int | None) -> None:
    assert asked_seconds(text) == seconds


def refusal(text: str, category: str = "greylisted", reaction: Reaction = Reaction.RETRY) -> Outcome:
    known = Known(category, "peer", reaction)
    return Outcome(Verdict.TEMPORARY, Reply(450, "", text), Origin.REMOTE, "192.0.2.1", known=known)


def test_c103_the_time_that_is_asked_for_is_kept_within_the_schedule() -> None:
    steps = plan(retries=(60.0, 600.0))
    for asked, waits in (("300 seconds", 300), ("1 s", 60), ("30 h", 600)):
        due = next_attempt(a_record(), 1, NOW, steps, 0.0, refusal(f"try again in {asked}"))
        assert due == NOW + waits * 1000
    slow = next_attempt(a_record(), 1, NOW, steps, 0.5, refusal("x", "rate_limited", Reaction.SLOW_DOWN))
    assert slow == NOW + 600_000, "a step is left out"


UNTRIED = Outcome(Verdict.TEMPORARY, Reply(451, "4.4.1", "dead"), Origin.LOCAL, untried=True)


def test_c103_no_attempt_is_used_up_where_no_connection_was_tried() -> None:
    steps = plan(retries=(60.0, 600.0, 3600.0), max_attempts=2)
    for attempts, age, waits in ((0, 0, 60), (1, 0, 600), (0, 61, 600), (0, 661, 3600), (0, 400_000, 3600)):
        record = a_record(accepted_at=NOW - age * 1000, expires_at=NOW + 10**9)
        due = next_attempt(record, attempts, NOW, steps, 0.5, UNTRIED)
        assert due == NOW + waits * 1000, (attempts, age)
    assert next_attempt(a_record(max_attempts=1), 0, NOW, steps, 0.5, UNTRIED) is not None
    assert next_attempt(a_record(), 0, NOW, plan(retries=()), 0.5, UNTRIED) == NOW + 5000, "its one attempt is left"
    assert next_attempt(a_record(expires_at=NOW + 1), 0, NOW, steps, 0.5, UNTRIED) is None


def test_mail_expires_by_the_age_that_its_destination_allows() -> None:
    hour, day = 3_600_000, 86_400_000
    aged = Shaping(
        msgspec.structs.replace(
            SETTINGS,
            delivery=DeliverySettings(retries=(3600.0,), max_age=3 * 86400.0),
            domains={QUEUE.domain: DomainSettings(max_age=86400.0)},
        )
    ).plan(QUEUE)

    def goes_on(accepted: int, expires: int, scheduled: int = 0) -> bool:
        record = a_record(accepted_at=NOW - accepted, expires_at=NOW + expires, scheduled_at=scheduled)
        return next_attempt(record, 1, NOW, aged, 0.5) is not None

    assert goes_on(22 * hour, 3 * day - 22 * hour)
    assert not goes_on(23 * hour, 3 * day - 23 * hour)
    assert not goes_on(hour, hour), "the message's own time is sooner"
    assert goes_on(40 * hour, 3 * day - 40 * hour, scheduled=NOW - hour), "its time begins when it was to be sent"
    assert goes_on(30 * hour, 3 * day - 20 * hour), "a pause held it for ten hours"


def test_d17_the_ip_of_the_next_attempt() -> None:
    grey, blocked = refusal("x"), refusal("x", "ip_block")
    first = ip_wish(None, grey, 2)
    assert first == IpWish("192.0.2.1", False, 1)
    second = ip_wish(first, grey, 2)
    assert second == IpWish("192.0.2.1", False, 2)
    assert ip_wish(second, grey, 2) is None, "no more than delivery.same_ip_retries"
    assert ip_wish(first, blocked, 2) == IpWish("192.0.2.1", True)
    assert ip_wish(first, refusal("x", "quota"), 2) is None
    unreachable = Outcome(Verdict.TEMPORARY, Reply(451), Origin.LOCAL)
    assert ip_wish(first, unreachable, 2) == first
    assert ip_wish(None, grey, 0) is None
