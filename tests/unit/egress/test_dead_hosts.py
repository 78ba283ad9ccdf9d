from mta.egress.dead_hosts import DeadHosts
from mta.egress.targets import Target
from mta.model.phases import Phase
from mta.policy.failures import broken

TARGET = Target("mx1.test", "192.0.2.1", 25)
TROUBLE = broken(Phase.CONNECT, "no answer", "mx1.test", "192.0.2.1")


def test_an_address_is_left_alone_until_its_time_is_over_whatever_name_led_there() -> None:
    dead = DeadHosts()
    dead.add(TARGET, TROUBLE, until=10.0)
    assert dead.trouble_of(TARGET, 9.9) == TROUBLE
    assert dead.trouble_of(TARGET._replace(host="mx2.test"), 9.9) == TROUBLE._replace(host="mx2.test")
    assert dead.trouble_of(TARGET._replace(port=26), 9.9) is None
    assert dead.trouble_of(TARGET, 10.0) is None


def test_only_addresses_whose_time_is_over_are_forgotten() -> None:
    dead = DeadHosts()
    dead.add(TARGET, TROUBLE, until=10.0)
    dead.add(TARGET._replace(ip="192.0.2.2"), TROUBLE, until=20.0)
    dead.forget_expired(10.0)
    assert dead.trouble_of(TARGET, 0.0) is None
    assert dead.trouble_of(TARGET._replace(ip="192.0.2.2"), 0.0) is not None
