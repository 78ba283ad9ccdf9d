import pytest

from mta.model.settings import DeliverySettings, SiteSettings
from mta.policy.routes import Routes
from mta.policy.sites import SiteTable

SITES = {
    "big": SiteSettings(mx=("*.big.test", "mx.other.test"), domains=("own.test", "*.hosted.test")),
    "near": SiteSettings(mx=("*.eu.big.test",)),
}


def table(**delivery):
    return SiteTable(SITES, Routes(DeliverySettings(**delivery), {}), lambda host: ".".join(host.split(".")[-2:]))


@pytest.mark.parametrize(
    ("host", "site"),
    [
        ("mx1.in.big.test", "big"),
        ("MX1.Big.Test.", "big"),
        ("mx.other.test", "big"),
        ("mx2.other.test", "other.test"),
        ("a.eu.big.test", "near"),
        ("big.test", "big.test"),
        ("192.0.2.1", "example.com"),
        ("mx\udc80.big.test", "example.com"),
    ],
)
def test_the_host_decides_the_site_by_its_longest_pattern_else_by_its_organisation(host, site):
    assert table().of_target("example.com", host) == site
    assert table().of_target("own.test", host) == "big", "a domain that a site names is of it, wherever it is hosted"


@pytest.mark.parametrize(
    ("domain", "site"),
    [
        ("own.test", "big"),
        ("a.b.hosted.test", "big"),
        ("hosted.test", None),
        ("[192.0.2.1]", "[192.0.2.1]"),
        ("example.com", None),
    ],
)
def test_some_domains_have_their_site_by_the_settings_alone(domain, site):
    assert table().of_domain(domain) == site


@pytest.mark.parametrize(
    ("route", "site"),
    [("mx9.big.test:25", "big"), ("127.0.0.1:25", "example.com"), ("smtp.relay.test:587", "relay.test")],
)
def test_a_route_takes_the_place_of_the_mx(route, site):
    assert table(route=route).of_domain("example.com") == site
