"""An actor that is bound to a tenant sees its own mail only, also under a tag that another tenant uses (A4)."""

from typing import Any

import pytest

from control_api.history.selection import selection_of, tenant_of
from control_api.http.problems import Problem
from control_api.rules.mail_of_rule import MailOfRule
from control_api.schemas.history_queries import MessagesQuery
from mta.model.actor import Actor, ActorKind
from mta.model.events import Event, EventType
from mta.model.ids import MessageId, delivery_id
from mta.model.outcomes import Forced, Stage
from mta.model.rules import Rule, Selectors
from mta.policy.rule_table import RuleTable
from tests.support.control_api import AT, Cluster, Sites
from tests.support.memory_history import MemoryHistory

ADMIN = Actor(ActorKind.TOKEN, "admin")
ACME = Actor(ActorKind.TOKEN, "crm", tenant="acme")


def test_a4_a_bound_actor_asks_for_its_own_mail_whatever_it_names() -> None:
    assert (tenant_of(ADMIN), tenant_of(ADMIN, "acme"), tenant_of(ACME), tenant_of(ACME, "acme")) == (
        None, "acme", "acme", "acme",
    )  # fmt: skip
    with pytest.raises(Problem) as refused:
        tenant_of(ACME, "other")
    assert refused.value.status == 403
    assert selection_of(MessagesQuery(tag="sale"), ACME).tenant == "acme"
    assert selection_of(MessagesQuery(tag="sale"), ADMIN).tenant is None


@pytest.mark.parametrize("name", [None, "before", "delivered", "intercepted", "queued", "held", "uncertain", "after"])
async def test_a4_the_deliveries_of_a_rule_for_all_are_those_of_the_tenant(
    cluster: Cluster, history: MemoryHistory, name: Any
) -> None:
    rule = Rule("ab12", Selectors(tag="sale"), 554, generation=1, created_at=AT)
    cluster.rules[rule.id] = rule
    kinds = (EventType.DELIVERY, EventType.INTERCEPTED, EventType.RECEPTION, EventType.HOLD)
    for number, kind in enumerate(kinds * 2):
        tenant = "acme" if number < len(kinds) else "other"
        id_ = delivery_id(MessageId((AT + number).to_bytes(6, "big") + number.to_bytes(10, "big")), 1)
        forced = Forced("ab12", 1, Stage.QUEUED) if kind is not EventType.DELIVERY else None
        history.add(
            Event(kind, AT, id_, tags=("sale",), tenant=tenant, forced=forced, uncertain=kind is EventType.HOLD, seq=1)
        )
    mail = MailOfRule(cluster.effect_of(rule, False), RuleTable.empty("n1"), Sites(cluster), "acme")
    found = [row.last.tenant for rows in [r async for r in mail.pages(history, name, None)] for row in rows]
    assert set(found) <= {"acme"}
    assert found or name == "after"
