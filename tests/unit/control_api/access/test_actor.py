"""The actor of a request reaches every order."""

import pytest
from aiohttp.test_utils import TestClient

from mta.model.actor import Actor, ActorKind
from mta.model.ids import DeliveryId, parse_message_id
from mta.model.outcomes import Class
from mta.model.rules import Kind, Rule, Selectors
from mta.model.scopes import EVERY_SCOPE
from mta.ports.messages import DeliveryStatus
from tests.support.control_api import Cluster

MESSAGE = "01HF7YAT000000000000000000"


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("POST", "/v1/errors", {"code": 554, "tag": "a"}),
        ("PATCH", "/v1/errors/e", {"enabled": False}),
        ("DELETE", "/v1/errors/e", None),
        ("DELETE", "/v1/errors?tag=e", None),
        ("POST", "/v1/errors/e/undo", None),
        ("POST", "/v1/pauses", {"tag": "a"}),
        ("PATCH", "/v1/pauses/p", {"enabled": False}),
        ("DELETE", "/v1/pauses/p", None),
        ("POST", "/v1/pauses/p/convert", {"code": 554}),
        ("POST", f"/v1/messages/{MESSAGE}/cancel", None),
    ],
)
async def test_an_order_names_who_gave_it(
    api: TestClient, cluster: Cluster, method: str, path: str, body: dict[str, object] | None
) -> None:
    cluster.rules = {
        "e": Rule("e", Selectors(tag="e"), 554),
        "p": Rule("p", Selectors(tag="p"), kind=Kind.PAUSE),
    }
    cluster.messages = {parse_message_id(MESSAGE): [DeliveryStatus(DeliveryId(bytes(18)), Class.QUEUED)]}
    assert (await api.request(method, path, json=body)).status < 500
    assert cluster.orders == [Actor(ActorKind.TOKEN, "admin", "127.0.0.1", scopes=EVERY_SCOPE)]


def test_an_actor_is_shown_with_its_address() -> None:
    assert str(Actor(ActorKind.TOKEN, "admin", "192.0.2.1")) == "admin (192.0.2.1)"
    assert str(Actor(ActorKind.TOKEN, "crm", "192.0.2.1", "3f9a")) == "crm (3f9a) (192.0.2.1)"
    assert str(Actor(ActorKind.SYSTEM, "failover")) == "failover"
