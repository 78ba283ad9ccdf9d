"""Messages with an idempotency key: each is accepted once, and a repeat gets the answer of the first."""

from collections.abc import Callable, Sequence
from typing import Final

from mta.admission.known_calls import replies_of
from mta.model.idempotency import IdempotencyKey
from mta.model.outcomes import Reply
from mta.ports.admission import Admission, Done, Prepare
from mta.ports.idempotency import CallPart, KeepMode, KeptCall, OncePart
from mta.timing.clock import wall_seconds

OTHER_CONTENT: Final = Reply(550, "5.6.0", "another message came with this idempotency key; give each its own key")
UNDER_WAY: Final = Reply(451, "4.5.0", "a message with this idempotency key is under way, try again later")
NO_ROOM: Final = Reply(452, "4.3.1", "too many idempotency keys are kept, try again later or without a key")


class OncePerKey:
    """Admits single messages that have a key."""

    def __init__(
        self,
        admission: Admission,
        lanes: int,
        window: float,
        has_room: Callable[[], bool],
        *,
        clock: Callable[[], float] = wall_seconds,
    ) -> None:
        """`window` is in seconds; `has_room`: whether the store has room for new keys; `clock` gives Unix seconds."""
        self._admission = admission
        self._lanes = lanes
        self._window_ms = int(window * 1000)
        self._has_room = has_room
        self._clock = clock
        self._under_way: set[bytes] = set()
        self.replayed = 0

    def admit(self, key: IdempotencyKey, prepare: Prepare, done: Done) -> Reply | None:
        """As `Admission.admit`."""
        if key.name in self._under_way:
            return UNDER_WAY
        first = self._admission.begin_call(key.lane(self._lanes))
        message = prepare(first, int(self._clock() * 1000))
        if isinstance(message, Reply):
            return self._admission.admit(lambda message_id, now_ms: message, done)  # it counts refusals
        keep_ms = self._window_ms + max(0, message.due_at - message.accepted_at)
        keep = KeepMode.KEEP if self._has_room() else KeepMode.NO_ROOM
        part = CallPart(key, first, 0, 1, 1, keep_ms, keep)

        def answered(replies: Sequence[Reply | None]) -> None:
            self._under_way.discard(key.name)
            done(replies[0])

        def known(kept: KeptCall | None) -> None:
            self._under_way.discard(key.name)
            done(self._reply(key, kept))

        self._under_way.add(key.name)
        refusal = self._admission.admit_part([message], answered, OncePart(part, known))
        if refusal is not None:
            self._under_way.discard(key.name)
        return refusal

    def _reply(self, key: IdempotencyKey, kept: KeptCall | None) -> Reply:
        """To a message whose key the store knows, or has no room for."""
        if kept is None:
            return NO_ROOM
        if kept.content != key.content:
            return OTHER_CONTENT
        self.replayed += 1
        return replies_of(kept)[0]
