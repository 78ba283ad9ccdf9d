import pytest

from mta.model.pools import PoolSettings, SharedPool
from mta.policy.pools import faults_of, hidden, in_force, is_usable, owners
from mta.policy.served_pools import why_it_waits

OWN = {"default": PoolSettings(), "news": PoolSettings(ips=("192.0.2.1",))}


def test_a_pool_of_the_cluster_takes_the_place_of_one_of_the_file():
    shared = {"news": SharedPool(ips=("192.0.2.2",)), "more": SharedPool(ips=("192.0.2.3",))}
    assert in_force(OWN, shared) == {**shared, "default": PoolSettings()}
    assert hidden(OWN, shared) == ["news"]
    assert hidden(OWN, {"default": shared["news"]}) == [], "nobody wrote the pool that a file without pools has"


def test_the_system_chooses_for_pools_of_a_file_only():
    assert is_usable(PoolSettings())
    assert not is_usable(SharedPool())
    assert is_usable(SharedPool(ips=("192.0.2.2",)))


@pytest.mark.parametrize(
    ("pool", "field"),
    [
        (PoolSettings(ips=("192.0.2.300",)), "ips"),
        (PoolSettings(ips=("fe80::1%eth0",)), "ips"),
        (PoolSettings(ips=("2001:db8::1", "2001:DB8:0::1")), "ips"),
        (PoolSettings(ips=("192.0.2.1",), weights={"192.0.2.2": 2}), 'weights."192.0.2.2"'),
        (PoolSettings(ehlo="a b"), "ehlo"),
        (PoolSettings(warmup=(5,)), "warmup"),
        (PoolSettings(ips=("192.0.2.1",), warmup=(5,) * 367), "warmup"),
        (PoolSettings(ips=("192.0.2.1",), warm=("192.0.2.2",)), "warm"),
    ],
)
def test_a_fault_names_the_field(pool, field):
    assert [fault.field for fault in faults_of(pool)] == [field]
    assert not list(faults_of(PoolSettings(ips=("192.0.2.1", "2001:db8::1"), weights={"192.0.2.1": 2}, ehlo="a.b")))


def test_an_ip_has_one_owner_in_whatever_form_it_is_written():
    assert owners({"a": PoolSettings(ips=("2001:DB8:0::1",))}) == {"2001:db8::1": "a"}


def test_the_reason_says_why_nobody_serves_a_known_pool():
    assert "add-ip news" in why_it_waits("news", SharedPool())
    assert "none holds 192.0.2.1" in why_it_waits("news", OWN["news"])
    assert "no node that delivers has it" in why_it_waits("default", OWN["default"])
