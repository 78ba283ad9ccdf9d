"""The routes of a domain, in order, and the TLS that each needs."""

import pytest

from mta.model.destination_settings import DomainSettings, RelaySettings, SiteSettings
from mta.model.errors import BadValue
from mta.model.settings import Address, DeliverySettings, NodeSettings, Settings
from mta.policy.routes import MX, Route, Routes, route_of
from mta.policy.tls import TlsLevel, TlsNeed, TlsNeeds

RELAYS = {"out": RelaySettings(host="relay.test"), "in": RelaySettings(host="10.0.0.5", port=25, tls="none")}
OUT = Route("relay:out", Address("relay.test", 587), "out")


@pytest.mark.parametrize(
    ("domain", "expected"),
    [
        ("a.test", (OUT, MX)),
        ("x.b.test", (Route("10.0.0.2:26", Address("10.0.0.2", 26)),)),
        ("y.x.b.test", (Route("10.0.0.2:26", Address("10.0.0.2", 26)),)),
        ("b.test", (Route("10.0.0.9:25", Address("10.0.0.9", 25)),)),
        ("mx.test", (MX,)),
    ],
)
def test_routes_by_domain(domain: str, expected: tuple[Route, ...]) -> None:
    routes = {"a.test": ("relay:out", "mx"), "*.b.test": ("10.0.0.2:26",), "mx.test": ("",)}
    assert Routes(DeliverySettings(route="10.0.0.9:25", routes=routes), RELAYS).of(domain) == expected


def test_a_relay_that_nobody_named_is_refused_with_those_that_are_there() -> None:
    with pytest.raises(BadValue, match=r"'relay:ouy' names no relay; \[relays\] has out, in"):
        route_of("relay:ouy", RELAYS)
    with pytest.raises(BadValue, match=r"add \[relays.out\]"):
        route_of("relay:out", {})


def test_tls_is_that_of_the_relay_else_of_the_domain_else_of_the_site_else_of_the_node() -> None:
    settings = Settings(
        node=NodeSettings(),
        delivery=DeliverySettings(ca_file="/ca.pem"),
        relays=RELAYS,
        domains={"bank.test": DomainSettings(tls="verified"), "*.slow.test": DomainSettings(tls="none")},
        sites={"strict": SiteSettings(tls="required")},
    )
    needs = TlsNeeds(settings)
    assert needs.of("bank.test", "strict", MX) == TlsNeed(TlsLevel.VERIFIED, "/ca.pem")
    assert needs.of("a.slow.test", "strict", MX).level is TlsLevel.NONE
    assert needs.of("slow.test", "strict", MX).level is TlsLevel.REQUIRED
    assert needs.of("slow.test", "other", MX) == TlsNeed(TlsLevel.OPPORTUNISTIC, "/ca.pem")
    assert needs.of("a.slow.test", "strict", OUT).level is TlsLevel.VERIFIED
    assert needs.of("bank.test", "strict", route_of("relay:in", RELAYS)).level is TlsLevel.NONE
