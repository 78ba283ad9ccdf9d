"""The audit in `{rules}`: entries of the rule table's lane."""

import contextlib
from collections.abc import Callable

import msgspec

from mta.model.actor import Actor
from mta.model.audit import Deed, deed_event
from mta.model.entries import Entry
from mta.model.rule_events import RuleEvent
from mta.ports.audit import NotedEvent
from mta.ports.journal import RULES_LANE, source_of
from mta.redis_store import codec, keys
from mta.redis_store.link import Link
from mta.timing.clock import wall_ms

_decode = msgspec.msgpack.Decoder(RuleEvent).decode


class StoredAudit:
    """Fulfils ports.audit.Audit."""

    def __init__(self, link: Link, wall: Callable[[], int] = wall_ms) -> None:
        self._link = link
        self._wall = wall

    async def note(self, actor: Actor, deed: Deed) -> None:
        event = codec.encode(deed_event(actor, deed, self._wall()))
        await self._link.call_kept(b"audit", [keys.RULES_HEAD, keys.RULES_EVENTS], [event])

    async def keep_account(self, event: RuleEvent) -> None:
        await self._link.call(b"audit", [keys.RULES_HEAD, keys.RULES_EVENTS], [codec.encode(event)])

    async def read(self, below: str, most: int) -> list[NotedEvent]:
        epoch = int(await self._link.command("HGET", keys.RULES_HEAD, "epoch") or 1)
        newest = f"({below}" if below else "+"
        rows = await self._link.command("XREVRANGE", keys.RULES_EVENTS, newest, "-", "COUNT", most)
        found = []
        for name, fields in rows:
            entry = Entry(name.decode(), *fields[1::2])
            for index, raw in reversed(list(enumerate(entry.events))):
                with contextlib.suppress(msgspec.DecodeError):  # of another build: the log shows that it is there
                    event_id = f"{source_of(RULES_LANE, epoch)}.{entry.id}.{index}"
                    found.append(NotedEvent(entry.id, event_id, _decode(raw)))
        return found
