"""The sessions of processes in `{rules}`: each confirms the head of the rule table under its own."""

from collections.abc import Callable, Mapping, Sequence
from itertools import chain

import msgspec

from mta.model.errors import SessionLost, UnreadableRule
from mta.model.rules import Build, Head, PastDot, SessionState
from mta.ports.sessions import Confirmed
from mta.redis_store import codec, keys, rule_records
from mta.redis_store.link import Link
from mta.redis_store.rule_records import read_changes, session_state, this_build
from mta.redis_store.session import StoreSession


class StoredSessions:
    """Fulfils ports.sessions.SessionStore for one session."""

    def __init__(self, link: Link, session: StoreSession, max_staleness: float) -> None:
        """`max_staleness` in seconds, that of the cluster."""
        self._link = link
        self._session = session
        self._max_staleness = max_staleness
        self._heard = b""  # the last cancellation that this session was told of, b"" = it has not confirmed yet

    @property
    def session(self) -> str:
        return self._session.id

    def renew(self) -> str:
        """Go on under a new session, after the old one was given up for dead."""
        self._heard = b""
        return self._session.renew()

    async def max_staleness(self) -> float:
        return self._max_staleness

    def on_published(self, hint: Callable[[], None]) -> None:
        self._link.hear(keys.HEAD_CHANNEL, lambda _: hint())
        self._link.on_reconnect(hint)

    async def confirm(
        self, seq: int, head: Head, past_dot: Sequence[PastDot], metrics: Mapping[str, float]
    ) -> Confirmed:
        session, heard = self._session, self._heard
        canceled: dict[bytes, str] = {}
        while True:
            step_keys, step_args = self._confirm_step(seq, head, heard, past_dot, metrics)
            answer = await self._link.call_kept(b"rules_confirm", step_keys, step_args)
            if answer[0] == b"LOST":
                raise SessionLost(session.id)
            if answer[0] not in (b"OK", b"MORE"):
                break
            heard = answer[1]
            told = answer[2]
            canceled.update((id_, by.decode()) for id_, by in zip(told[::2], told[1::2], strict=True))
            if answer[0] == b"OK":
                self._heard = heard
                return Confirmed(True, head, canceled=canceled)
        told = Head(int(answer[1]), answer[2].decode())
        if answer[0] == b"RELOAD":
            return Confirmed(False, told, reload=True)
        first = head.generation + 1
        try:
            changes = tuple(chain.from_iterable(read_changes(first + at, row) for at, row in enumerate(answer[3])))
        except UnreadableRule:  # it may be gone from the table by now
            return Confirmed(False, told, reload=True)
        return Confirmed(False, told, changes)

    def _confirm_step(
        self, seq: int, head: Head, heard: bytes, past_dot: Sequence[PastDot], metrics: Mapping[str, float]
    ) -> tuple[list[bytes], list[bytes | str | int]]:
        session = self._session
        step_keys = [keys.RULES_HEAD, keys.RULES_SESSIONS, keys.RULES_CHANGES, keys.RULES_CANCELS, keys.RULES_BUILDS]
        step_keys.append(keys.RULES_PARTS)
        step_keys += sorted({keys.past_key(entry.rule) for entry in past_dot})
        args: list[bytes | str | int] = [
            session.id,
            seq,
            head.generation,
            head.change,
            self._about(),
            msgspec.json.encode(metrics),
            heard,
            this_build(),
        ]
        for entry in past_dot:
            args += (entry.rule, entry.id, codec.encode(msgspec.structs.replace(entry, session=session.id)))
        return step_keys, args

    async def cannot_read(self, seq: int, reason: str, metrics: Mapping[str, float]) -> None:
        session = self._session.id
        step_keys = [keys.RULES_HEAD, keys.RULES_SESSIONS, keys.RULES_BUILDS]
        args: list[bytes | str | int] = [session, seq, self._about(), msgspec.json.encode(metrics), this_build(reason)]
        if await self._link.call(b"rules_cannot_read", step_keys, args) == b"LOST":
            raise SessionLost(session)

    def _about(self) -> bytes:
        """JSON: Lua packs strings as text, and text must be UTF-8."""
        return msgspec.json.encode((self._session.node, self._session.pid, self._session.roles))

    async def leave(self) -> None:
        await self.forget(self._session.id)

    async def sessions(self) -> dict[str, SessionState]:
        answer = await self._link.command("HGETALL", keys.RULES_SESSIONS)
        return {
            name.decode(): session_state(name.decode(), raw)
            for name, raw in zip(answer[::2], answer[1::2], strict=True)
        }

    async def builds(self) -> dict[str, Build]:
        answer = await self._link.command("HGETALL", keys.RULES_BUILDS)
        return {
            name.decode(): rule_records.build_decoder.decode(raw)
            for name, raw in zip(answer[::2], answer[1::2], strict=True)
        }

    async def mark_dead(self, session: str, seq: int | None) -> bool:
        args = [session, "" if seq is None else seq]
        return bool(await self._link.call(b"session_dead", [keys.RULES_HEAD, keys.RULES_SESSIONS], args))

    async def forget(self, session: str) -> None:
        await self._link.command("HDEL", keys.RULES_SESSIONS, session)
        await self._link.command("HDEL", keys.RULES_BUILDS, session)
