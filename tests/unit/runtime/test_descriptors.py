"""The limit of open files: raised where that is allowed, and said where it is low."""

import logging
import resource

import pytest

from mta.model.settings import DeliverySettings, NodeSettings, Settings, SmtpSettings
from mta.runtime.descriptors import raise_descriptor_limit, warn_of_few_descriptors

NO_LIMIT = resource.RLIM_INFINITY


@pytest.mark.parametrize(
    ("soft", "hard", "raised"),
    [
        (1024, 4096, 4096),
        (1024, 524288, 65536),
        (1024, NO_LIMIT, 65536),
        (1024, 1024, 1024),
        (200000, 524288, 200000),
        (NO_LIMIT, NO_LIMIT, 65536),
    ],
)
def test_k8_the_limit_is_raised_as_far_as_it_may_be(
    monkeypatch: pytest.MonkeyPatch, soft: int, hard: int, raised: int
) -> None:
    asked: list[tuple[int, int]] = []
    monkeypatch.setattr(resource, "getrlimit", lambda what: (soft, hard))
    monkeypatch.setattr(resource, "setrlimit", lambda what, limits: asked.append(limits))
    assert raise_descriptor_limit() == raised
    assert asked == ([(raised, hard)] if raised > soft >= 0 else [])


def test_k8_a_sandbox_that_forbids_it_is_no_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(what: int, limits: tuple[int, int]) -> None:
        raise ValueError("not allowed")

    monkeypatch.setattr(resource, "getrlimit", lambda what: (1024, 4096))
    monkeypatch.setattr(resource, "setrlimit", refuse)
    assert raise_descriptor_limit() == 1024


@pytest.mark.parametrize(
    ("roles", "connections", "limit", "warned"),
    [
        (("smtp", "delivery", "api"), 1000, 1024, True),
        (("smtp", "delivery", "api"), 1000, 65536, False),
        (("api",), 1000, 1024, True),
        (("smtp",), 100, 1024, False),
        (("journal",), 10**6, 256, False),
    ],
)
def test_k8_a_low_limit_is_said_with_the_number_that_is_needed(
    caplog: pytest.LogCaptureFixture, roles: tuple[str, ...], connections: int, limit: int, warned: bool
) -> None:
    settings = Settings(
        node=NodeSettings(name="n1", roles=roles),
        smtp=SmtpSettings(max_connections=connections),
        delivery=DeliverySettings(),
    )
    with caplog.at_level(logging.WARNING):
        warn_of_few_descriptors(settings, limit)
    assert [str(limit) in record.getMessage() for record in caplog.records] == ([True] if warned else [])
