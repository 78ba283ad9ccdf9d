"""Routing: queue domains, pools, times, and refusals."""

import idna
import pytest

from mta.model.errors import BadValue
from mta.model.injection import Injection
from mta.model.mail import Recipient
from mta.model.outcomes import Reply
from mta.model.units import LAST_MS, format_time
from mta.policy.routing import Route, RoutingDefaults, queue_domain, route
from mta.policy.sending_window import read_window

DEFAULTS = RoutingDefaults("default", 3600.0, 7)
NOW = 1_800_000_000_000


@pytest.mark.parametrize(
    ("domain", "queue"),
    [("Example.COM", "example.com"), ("bücher.example", "xn--bcher-kva.example"), ("[1.2.3.4]", "[1.2.3.4]"),
     ("[ipv6:2001:DB8:0::1]", "[IPv6:2001:db8::1]"), ("a_b.example.", "a_b.example")],
)  # fmt: skip
def test_the_queue_of_a_domain(domain, queue):
    assert queue_domain(domain) == queue


@pytest.mark.parametrize("domain", ["", ".", "[1.2.3]", "[IPv6:x]", "a..ü", "x" * 254])
def test_what_is_no_domain(domain):
    with pytest.raises(BadValue):
        queue_domain(domain)


def test_k3_a_long_name_is_refused_before_it_is_encoded(monkeypatch):
    monkeypatch.setattr(idna, "encode", lambda *_, **__: pytest.fail("encoded"))
    with pytest.raises(BadValue, match="1 to 253 octets"):
        queue_domain("ü" * 300_000 + ".example")


def test_i4_no_expiry_is_later_than_a_time_can_be_written():
    way = route(["a@b"], Injection(due_at=LAST_MS - 5), DEFAULTS, NOW)
    assert not isinstance(way, Reply)
    assert format_time(way.expires_at) == "9999-12-31T23:59:59.999Z"


def test_defaults_hold_where_nothing_is_asked():
    way = route(['"a@b"@X.example', "c@y.example"], Injection(), DEFAULTS, NOW)
    assert way == Route(
        (Recipient('"a@b"@X.example', "x.example"), Recipient("c@y.example", "y.example")),
        "default", NOW, NOW + 3_600_000, 7,
    )  # fmt: skip


def test_age_counts_from_the_scheduled_time():
    way = route(["a@b"], Injection(pool="@192.0.2.1", due_at=NOW + 5000, max_attempts=0), DEFAULTS, NOW)
    assert not isinstance(way, Reply)
    assert way == Route(way.recipients, "@192.0.2.1", NOW + 5000, NOW + 3_605_000, 0)


def test_a_scheduled_time_that_has_passed_is_now():
    way = route(["a@b"], Injection(due_at=5), DEFAULTS, NOW)
    assert not isinstance(way, Reply)
    assert way.due_at == NOW


@pytest.mark.parametrize("asked", [Injection(expires_at=NOW), Injection(due_at=NOW + 9, expires_at=NOW + 9)])
def test_what_would_expire_before_it_is_due_is_refused(asked):
    way = route(["a@b"], asked, DEFAULTS, NOW)
    assert isinstance(way, Reply)
    assert (way.code, way.enhanced) == (550, "5.6.0")
    assert "X-MQ-MaxDeliverTime" in way.text


def test_mail_outside_its_window_is_due_when_it_opens_and_its_age_counts_from_then():
    shut = NOW - NOW % 86_400_000 + 10 * 3_600_000
    window = read_window("12:00-13:00")
    for due_at in (None, shut + 5):
        way = route(["a@b"], Injection(due_at=due_at, window=window), DEFAULTS, shut)
        assert not isinstance(way, Reply)
        assert (way.due_at, way.expires_at) == (shut + 7_200_000, shut + 7_200_000 + 3_600_000)
    way = route(["a@b"], Injection(expires_at=shut + 3_600_000, window=window), DEFAULTS, shut)
    assert isinstance(way, Reply), "it would expire before its window opens"
