from mta.model.limit_use import WarmUp
from mta.model.pools import PoolSettings
from mta.policy.limits_in_force import ceiling
from mta.policy.warm_up import DAY_MS, allowance, date_of, slice_of, warm_up_limits

DATE = 20_000
NOW = DATE * DAY_MS + 3600
POOL = PoolSettings(ips=("192.0.2.1", "192.0.2.2"), warmup=(50, 100))


def test_a_day_after_one_with_mail_is_the_next_of_the_schedule():
    assert WarmUp(1, DATE, 7, 5).on(DATE) == WarmUp(1, DATE, 7, 5)
    assert WarmUp(1, DATE, 7, 5).on(DATE + 3) == WarmUp(2, DATE + 3)
    assert WarmUp(1, DATE, 7, 0).on(DATE + 1) == WarmUp(1, DATE + 1)
    assert [allowance((50, 100), day) for day in (1, 2, 3)] == [50, 100, None]
    assert date_of(NOW) == DATE


def test_a_process_takes_a_twentieth_at_a_time():
    assert [slice_of(messages) for messages in (1, 60, 1_000_000)] == [1, 3, 100]


def test_a_warm_up_binds_where_no_ip_of_the_pool_can_send_more():
    spent, half = WarmUp(2, DATE, 100, 90), WarmUp(1, DATE, 20, 20)
    first, second = warm_up_limits("news", POOL, POOL.ips, {"192.0.2.1": spent, "192.0.2.2": half}, NOW)
    assert (first.setting, first.scope, first.value, first.used) == ("pools.news.warmup", "ip:192.0.2.1", 100, 100)
    assert (first.free_at, first.binds, second.free_at) == ((DATE + 1) * DAY_MS, False, 0)
    both = warm_up_limits("news", POOL, POOL.ips, dict.fromkeys(POOL.ips, spent), NOW)
    found = ceiling(both)
    assert found is not None
    assert "day 2 of the warm-up of 192.0.2.1 allows 100 messages" in found.words
    alone = warm_up_limits("news", POOL, ("192.0.2.1",), {"192.0.2.1": WarmUp(3, DATE, 100, 90)}, NOW)
    assert alone == [], "it is warm"


def test_warm_ips_take_what_is_left_over():
    pool = PoolSettings(ips=POOL.ips, warmup=POOL.warmup, warm=("192.0.2.2",))
    (limit,) = warm_up_limits("news", pool, pool.ips, {"192.0.2.1": WarmUp(1, DATE, 50, 50)}, NOW)
    assert (limit.scope, limit.binds) == ("ip:192.0.2.1", False)
