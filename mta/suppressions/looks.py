"""The two looks at suppressions: at mail that is accepted, and at deliveries that have waited."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final, Protocol

from mta.model.ids import DeliveryId, MessageId
from mta.model.mail import Claimed
from mta.model.outcomes import Class
from mta.model.suppressions import Suppressed, Suppression, SuppressionKey, keys_for
from mta.policy.addresses import comparable
from mta.ports.admission import Ending, Undecided
from mta.ports.queueing import DecidedBy, DeciderKind
from mta.ports.suppressions import SuppressionStore
from mta.timing.clock import wall_ms

_FRESH_MS: Final = 1000  # since acceptance: the first look is that recent


class Candidates(Protocol):
    """The knowledge of a process about suppressions."""

    @property
    def is_on(self) -> bool:
        """Whether there may be any."""
        ...

    def may_be(self, keys: Sequence[SuppressionKey]) -> list[SuppressionKey]:
        """Those that may be kept."""
        ...


class SuppressionLooks:
    """Fulfils ports.admission.Decider and ports.suppressions.WaitingSuppressions. The store is asked only about
    recipients whose fingerprint is known."""

    def __init__(self, watch: Candidates, store: SuppressionStore, *, clock: Callable[[], int] = wall_ms) -> None:
        """`clock` gives Unix milliseconds."""
        self._watch = watch
        self._store = store
        self._clock = clock
        self.met = 0  # deliveries that were ended

    @property
    def is_on(self) -> bool:
        return self._watch.is_on

    async def decide(self, mail: Sequence[Undecided]) -> Mapping[MessageId, Sequence[Ending]]:
        """The deliveries whose recipients are suppressed. Raises StoreError."""
        asked: dict[tuple[MessageId, int], list[SuppressionKey]] = {}
        for message, numbers in mail:
            for number in numbers:
                recipient = message.recipients[number - 1]
                if hits := self._hits(recipient.address, recipient.domain, message.tenant, message.topic):
                    asked[message.id, number] = hits
        if not asked:
            return {}
        found = await self._find(asked.values())
        now, ends = self._clock(), dict[MessageId, list[Ending]]()
        for (id_, number), hits in asked.items():
            if (one := _first(hits, found, now)) is not None:
                by = DecidedBy(DeciderKind.SUPPRESSION, one.key.subject)
                ends.setdefault(id_, []).append(
                    Ending(number, Class.FILTERED, by, one.value.reason, one.key.topic, one.value.extended)
                )
                self.met += 1
        return ends

    async def meet(self, claimed: Sequence[Claimed], now: int) -> Mapping[DeliveryId, Suppressed]:
        """Deliveries that have waited, and whose recipients are suppressed. Raises StoreError."""
        asked: dict[DeliveryId, list[SuppressionKey]] = {}
        for one in claimed:
            record = one.record
            if record.attempts or now - record.accepted_at > _FRESH_MS:
                hits = self._hits(record.recipient, one.queue.domain, record.tenant, record.topic)
                if hits:
                    asked[one.id] = hits
        if not asked:
            return {}
        found = await self._find(asked.values())
        met = {id_: by for id_, hits in asked.items() if (by := _first(hits, found, now)) is not None}
        self.met += len(met)
        return met

    def _hits(self, address: str, domain: str, tenant: str, topic: str) -> list[SuppressionKey]:
        return self._watch.may_be(keys_for(comparable(address), domain, tenant, topic))

    async def _find(self, asked: Iterable[Sequence[SuppressionKey]]) -> Mapping[SuppressionKey, Suppression]:
        return await self._store.find({key for hits in asked for key in hits})


def _first(hits: Sequence[SuppressionKey], found: Mapping[SuppressionKey, Suppression], now: int) -> Suppressed | None:
    """The narrowest that is in force."""
    for key in hits:
        value = found.get(key)
        if value is not None and value.in_force(now):
            return Suppressed(key, value)
    return None
