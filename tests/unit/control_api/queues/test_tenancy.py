"""Whose waiting mail a request is about."""

import pytest

from control_api.http.problems import Problem
from control_api.queues.tenancy import tenant_of
from control_api.queues.work import selection_of
from control_api.schemas.queue_bodies import MailSelectors
from mta.model.actor import Actor, ActorKind
from mta.model.errors import BadValue
from mta.ports.queue_work import MailSelection

BOUND = Actor(ActorKind.TOKEN, "crm", tenant="acme")
FREE = Actor(ActorKind.TOKEN, "crm")


def test_a4_a_bound_token_selects_the_mail_of_its_tenant_alone() -> None:
    assert tenant_of(FREE, None) is None
    assert tenant_of(FREE, "other") == "other"
    assert tenant_of(BOUND, None) == "acme"
    assert tenant_of(BOUND, "acme") == "acme"
    with pytest.raises(Problem) as problem:
        tenant_of(BOUND, "other")
    assert problem.value.status == 404


def test_a4_everything_means_all_of_the_tenant() -> None:
    assert selection_of(MailSelectors(everything=True), BOUND) == MailSelection(tenant="acme")
    assert selection_of(MailSelectors(domain="x.test"), BOUND) == MailSelection(domain="x.test", tenant="acme")
    with pytest.raises(BadValue):
        selection_of(MailSelectors(), BOUND)
