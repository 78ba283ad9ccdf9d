"""Events as webhooks tell them: which of them an endpoint wants, and their JSON."""

from collections.abc import Iterable, Sequence
from typing import Any, Final, Generic, TypeVar

import msgspec

from mta.model.delivery_facts import rfc3339
from mta.model.events import Event, EventType
from mta.model.json_lines import json_lines
from mta.model.record_lines import records
from mta.model.status import ENDED, DeliveryRow, rank_of, standing_of
from mta.model.webhooks import BATCH, TEST, Endpoint, WebhookEvent, When

_Of = TypeVar("_Of")

# A message:updated event has one of two kinds. Endpoints that are told of every change want both.
FINAL: Final = "final"
STEP: Final = "step"

_DELIVERY: Final = EventType.DELIVERY  # to look a member up at its class takes ten times as long
_RECEPTION: Final = EventType.RECEPTION
_RULE: Final = EventType.RULE
_STEPS: Final = (_RECEPTION, EventType.TRANSIENT_FAILURE, EventType.HOLD, EventType.RELEASE, EventType.MOVED)
_MESSAGE: Final = WebhookEvent.MESSAGE_UPDATED.value
_AUDIT: Final = EventType.AUDIT
_OF_RULE: Final = {"effective": WebhookEvent.RULE_EFFECTIVE, "completed": WebhookEvent.RULE_COMPLETED}


def kind_of(event: Event) -> str:
    """FINAL, STEP, or a type of webhook events; "": webhooks do not tell it."""
    kind = event.type
    if event.id is not None:
        if kind is _DELIVERY:
            return FINAL
        if kind is _RECEPTION:
            return STEP
        if not rank_of(event):
            return ""
        return STEP if standing_of(event).status not in ENDED else FINAL
    if kind is _RULE:
        return _OF_RULE.get(event.reason, "")
    if kind is _AUDIT and event.properties is not None and event.properties.get("action") == "brake.pull":
        return WebhookEvent.BRAKE_PULLED
    return ""


class _Told(msgspec.Struct, gc=False):
    """The JSON of one event."""

    type: str
    timestamp: str
    data: Any


class Takers(Generic[_Of]):
    """An index of the filters of endpoints: it finds those that want an event, whatever their number."""

    def __init__(self, endpoints: Iterable[tuple[Endpoint, _Of]]) -> None:
        self.kinds: set[str] = set()  # that some endpoint wants
        self._any_tag: dict[str, list[tuple[str, _Of]]] = {}  # kind -> (tenant, taker)
        self._by_tag: dict[str, dict[str, list[tuple[str, _Of]]]] = {}
        self._always: dict[str, Sequence[_Of]] = {}  # kind -> those who want each event, where there are no others
        for endpoint, taker in endpoints:
            self.kinds.update(_kinds(endpoint))
            for kind in _kinds(endpoint):
                if not endpoint.tags:
                    self._any_tag.setdefault(kind, []).append((endpoint.tenant, taker))
                for tag in endpoint.tags:
                    self._by_tag.setdefault(kind, {}).setdefault(tag, []).append((endpoint.tenant, taker))
        for kind, takers in self._any_tag.items():
            if kind not in self._by_tag and not any(tenant for tenant, _ in takers):
                self._always[kind] = [taker for _, taker in takers]

    @property
    def unwanted(self) -> tuple[EventType, ...]:
        """Types of which no event is wanted; not all of them."""
        return () if STEP in self.kinds else _STEPS

    def of(self, kind: str, event: Event) -> Sequence[_Of]:
        """Each taker once."""
        if kind in self._always:
            return self._always[kind]
        tenant, found = event.tenant, list[_Of]()
        for of, taker in self._any_tag.get(kind, ()):
            if not of or of == tenant:
                found.append(taker)
        by_tag = self._by_tag.get(kind)
        if by_tag:
            for tag in _tags_of(kind, event):
                for of, taker in by_tag.get(tag, ()):
                    if (not of or of == tenant) and taker not in found:
                        found.append(taker)
        return found


def _tags_of(kind: str, event: Event) -> Sequence[str]:
    return (_brake_data(event).get("tag", ""),) if kind == WebhookEvent.BRAKE_PULLED else event.tags


def _kinds(endpoint: Endpoint) -> list[str]:
    kinds: list[str] = []
    for wanted in endpoint.events:
        if wanted is not WebhookEvent.MESSAGE_UPDATED:
            kinds.append(wanted)
        else:
            kinds += (FINAL, STEP) if endpoint.when is When.EVERY else (FINAL,)
    return kinds


def body_of(kind: str, event: Event) -> bytes:
    """The JSON of one event."""
    return bodies_of([(kind, event)])[0]


def bodies_of(events: Sequence[tuple[str, Event]]) -> list[bytes]:
    """The JSON of each of several events: together it costs them half."""
    found = iter(records([DeliveryRow(event.id, event) for _, event in events if event.id is not None]))
    told = [
        _Told(_MESSAGE, (record := next(found)).updated_at, record)
        if event.id is not None
        else _Told(kind, rfc3339(event.time), _data_of_order(kind, event))
        for kind, event in events
    ]
    return json_lines(told).split(b"\n")[:-1]


def _data_of_order(kind: str, event: Event) -> dict[str, Any]:
    return _brake_data(event) if kind == WebhookEvent.BRAKE_PULLED else _rule_data(event)


def batch_body(bodies: Sequence[bytes], at: int) -> bytes:
    """The JSON of several events in one request; `at` is Unix ms."""
    return _body(BATCH, at, b"[" + b",".join(bodies) + b"]")


def test_body(endpoint: Endpoint, at: int) -> bytes:
    """The JSON of an event that somebody ordered for a test."""
    return _body(TEST, at, json_lines([{"webhook": endpoint.id, "message": "This is a test."}])[:-1])


def _body(kind: str, at: int, data: bytes) -> bytes:
    return b'{"type":"%b","timestamp":"%b","data":%b}' % (kind.encode(), rfc3339(at).encode(), data)


def _rule_data(event: Event) -> dict[str, Any]:
    """The selectors of the rule as the log has them, and what the event says of it."""
    said = dict(event.properties or {})
    statement = said.get("statement")
    found: dict[str, Any] = {"rule": said.get("rule", "")}
    if event.forced is not None:
        found["generation"] = event.forced.generation
    found |= {
        name: value
        for name in ("code", "enhanced", "text", "pool", "mta", "domain", "sender", "recipient", "mx", "tenant")
        if (value := getattr(event, name))
    }
    if event.tags:
        found["tags"] = list(event.tags)
    for name in ("change", "effective_at"):
        if said.get(name):
            found[name] = said[name]
    if "past_dot" in said:
        found["past_dot"] = int(said["past_dot"])
    if said.get("unconfirmed"):
        found["unconfirmed"] = said["unconfirmed"].split()
    if statement:
        found["statement"] = msgspec.json.decode(statement)
    return found


def _brake_data(event: Event) -> dict[str, Any]:
    said = dict(event.properties or {})
    found: dict[str, Any] = {"brake": said.get("of", ""), "reason": event.reason}
    if event.tenant:
        found["tenant"] = event.tenant
    if said.get("after"):
        found |= msgspec.json.decode(said["after"])
    return found
