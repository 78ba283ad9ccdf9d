"""The names of shares and places: nothing is lost on the way there and back, and no two are the same."""

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from mta.model.mail import QueueKey, Record
from mta.model.shares import HIGHEST, TENANT, place_of, share_of, split_place, split_share, weight_of
from mta.redis_store import keys

NAMES = st.from_regex(TENANT, fullmatch=True).filter(str.isascii)
TENANTS = st.just("") | NAMES
PRIORITIES = st.integers(0, HIGHEST)
POOLS = NAMES | st.sampled_from(["@192.0.2.1", "@2001:db8::1"])
DOMAINS = st.sampled_from(["example.com", "[192.0.2.1]", "[IPv6:2001:db8::1]", "a-b.example"])


@given(TENANTS, PRIORITIES)
def test_a_share_says_tenant_and_priority(tenant, priority):
    assert split_share(share_of(tenant, priority)) == (tenant, priority)


@given(POOLS, TENANTS, PRIORITIES)
def test_a_place_says_pool_and_share(pool, tenant, priority):
    share = share_of(tenant, priority)
    assert split_place(place_of(pool, share)) == (pool, share)


@given(POOLS, TENANTS, PRIORITIES, DOMAINS)
def test_the_key_of_a_queue_says_place_and_domain(pool, tenant, priority, domain):
    place, share = place_of(pool, share_of(tenant, priority)), share_of(tenant, priority)
    due, agenda, *shares = keys.queue_keys(b"fg:{0}:", QueueKey(pool, domain), share)
    assert keys.queue_of(due[len(b"fg:{0}:due:") :]) == (place.encode(), domain.encode())
    assert agenda == b"fg:{0}:agenda:" + place.encode()
    assert shares == ([b"fg:{0}:shares:" + pool.encode()] if share else [])


def test_mail_without_tenant_and_priority_is_stored_under_the_pools_own_name():
    assert (share_of("", 0), place_of("default", "")) == ("", "default")
    assert (share_of("acme", 0), share_of("", 2), share_of("acme", 1)) == ("acme", ".2", "acme.1")
    assert place_of("default", "acme.1") == "default~acme.1"


def test_a_higher_class_weighs_more_whatever_the_tenant():
    assert [weight_of(share) for share in ("", "acme", ".1", "acme.1", ".2", "acme.2")] == [1, 1, 4, 4, 16, 16]


def test_mail_of_a_tenant_moves_the_counters_of_its_tags_and_those_of_the_tenant():
    record = Record("a@b", "c@d", ("red", "blue"), 1, 2, 3)
    assert record.counted_tags == ("red", "blue")
    assert msgspec.structs.replace(record, tenant="acme").counted_tags == ("red", "blue", "red\0acme", "blue\0acme")
