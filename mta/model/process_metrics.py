"""The metrics of a process: a worker tells them with each confirmation of its rules, a journal with its leases.

The API exports them; both sides name them by this list. A process of another release may tell more, or less.
"""

from collections.abc import Mapping
from typing import Final, NamedTuple


class ProcessMetric(NamedTuple):
    """One figure, or one for each set of values of its labels."""

    key: str  # in what the process tells; the values of the labels follow a colon, parted by "|"
    name: str  # as it is exported, without "floodgate_"
    help: str
    labels: tuple[str, ...] = ()
    is_counter: bool = True  # False: a gauge

    def of(self, *values: str) -> str:
        """The key for one value of each label."""
        return f"{self.key}:{'|'.join(values)}"

    def each(self, figures: Mapping[str, float]) -> dict[str, float]:
        """The figures by value of the only label, as a process tells them."""
        return {self.of(value): figure for value, figure in figures.items()}


MESSAGES: Final = ProcessMetric("intake", "messages", "Messages at their end of data, by the answer.", ("answer",))
REPLAYED: Final = ProcessMetric(
    "replayed", "messages_replayed", "Messages whose idempotency key was known, answered as the first time."
)
ACCEPTED_DELIVERIES: Final = ProcessMetric(
    "accepted_deliveries", "deliveries_accepted", "Deliveries (one for each recipient) of accepted messages."
)
ACCEPTED_BYTES: Final = ProcessMetric("accepted_bytes", "accepted_bytes", "Bytes of accepted messages.")
CONNECTIONS_IN: Final = ProcessMetric(
    "connections_in", "connections_in", "Client connections that are open.", is_counter=False
)
CONNECTIONS_REFUSED: Final = ProcessMetric(
    "connections_refused", "connections_refused", "Client connections that were refused at their greeting."
)
SIGNATURES: Final = ProcessMetric("signatures", "dkim_signatures", "DKIM signatures that were made.")
UNSIGNABLE: Final = ProcessMetric(
    "unsignable", "dkim_refused", "Messages that were answered 4xx since they could not be signed."
)
CLAIMED: Final = ProcessMetric("claimed", "deliveries_claimed", "Deliveries that were claimed to be attempted.")
SETTLED: Final = ProcessMetric("settled", "deliveries_settled", "Claimed deliveries by their outcome.", ("outcome",))
REPLIES: Final = ProcessMetric(
    "replies",
    "replies",
    "Deliveries that a worker has decided, by outcome, class of the remote's reply, and pool; 20 pools have a name.",
    ("outcome", "reply", "pool"),
)
KNOWN_REPLIES: Final = ProcessMetric(
    "known_replies",
    "failures_known",
    "Deliveries that failed, by category, party at fault, and provider as the entry of the reply names it.",
    ("category", "fault", "provider"),
)
STALE: Final = ProcessMetric(
    "stale", "settlements_stale", "Outcomes of deliveries that had been given to another process."
)
REDECIDED: Final = ProcessMetric(
    "redecided", "settlements_redecided", "Outcomes that were decided again, since the rules had changed."
)
RETRIED_CALLS: Final = ProcessMetric(
    "retried_calls",
    "settle_calls_retried",
    "Settling calls that were made again after an error of the store.",
)
CONNECTIONS_OUT: Final = ProcessMetric(
    "connections_out", "connections_out", "Connections to destinations that are open.", is_counter=False
)
POOLS_CHANGE: Final = ProcessMetric(
    "pools_change",
    "pools_change",
    "Number of the last change of the cluster's pools that the process has put in force.",
    is_counter=False,
)
SUPPRESSIONS_CHANGE: Final = ProcessMetric(
    "suppressions_change",
    "suppressions_change",
    "Number of the last announcement of suppressions that is in force in the process.",
    is_counter=False,
)
SUPPRESSIONS: Final = ProcessMetric(
    "suppressions", "suppressions_known", "Suppressions of which the process has a fingerprint.", is_counter=False
)
PERMIT_STOPS: Final = ProcessMetric(
    "permit_stops", "permit_stops", "Times that MAIL or a final dot had to wait for a permit.", ("before",)
)
PERMIT_ABORTS: Final = ProcessMetric(
    "permit_aborts", "permit_aborts", "Transactions that were aborted since no permit came before their final dot."
)
ESCAPED: Final = ProcessMetric(
    "escaped", "escaped_dots", "Final dots whose permit was gone when they had been written."
)
REAPED: Final = ProcessMetric("reaped", "sessions_reaped", "Dead sessions whose claims were taken back.")
RECLAIMED: Final = ProcessMetric(
    "reclaimed", "deliveries_reclaimed", "Deliveries that were taken back from dead sessions."
)
JOURNAL_DROPPED: Final = ProcessMetric(
    "journal_dropped", "journal_dropped", 'Event entries dropped unread (journal.when_behind = "drop").'
)
JOURNAL_UNDECODABLE: Final = ProcessMetric(
    "journal_undecodable", "journal_undecodable", "Events that could not be decoded; their lines show the bytes."
)
JOURNAL_FAILURES: Final = ProcessMetric(
    "journal_failures", "journal_failures", "Times that the store, the spool or the log could not be used."
)
SPOOL_BYTES: Final = ProcessMetric(
    "spool_bytes", "journal_spool_bytes", "Size of the journal's spool on the node's disk.", is_counter=False
)
SPOOL_DAMAGED: Final = ProcessMetric(
    "spool_damaged", "journal_spool_damaged", "Stretches of the spool that could not be read."
)
BOUNDED_ORDERS: Final = ProcessMetric(
    "bounded_orders",
    "bounded_orders_undecided",
    "Orders with a bound that hold mail and are not decided yet.",
    is_counter=False,
)
BOUNDED_ORDER_OLDEST: Final = ProcessMetric(
    "bounded_order_oldest",
    "bounded_order_oldest_seconds",
    "Time since the oldest of these orders was given.",
    is_counter=False,
)
LOOP_HOLDS: Final = ProcessMetric(
    "loop_holds", "loop_holds", "Times that the event loop of the process that takes mail over HTTP was held for 20 ms."
)
LOOP_LONGEST: Final = ProcessMetric(
    "loop_longest",
    "loop_longest_hold_seconds",
    "The longest hold of that event loop in the last minute or two.",
    is_counter=False,
)
BRAKES: Final = ProcessMetric(
    "brakes", "brakes_watched", "Brakes that the process counts outcomes for.", is_counter=False
)

HISTORY_EVENTS: Final = ProcessMetric("history_events", "history_events", "Events that the journal wrote to history.")
HISTORY_FAILURES: Final = ProcessMetric(
    "history_failures", "history_failures", "Times that the database of the history could not be written."
)
HISTORY_LOST: Final = ProcessMetric(
    "history_lost", "history_lost", "Times that history lost events and shows a Gap instead."
)
HISTORY_BEHIND: Final = ProcessMetric(
    "history_behind",
    "history_behind_seconds",
    "Time since history last had everything that the journal's spool has.",
    is_counter=False,
)

PROCESS_METRICS: Final = (
    MESSAGES,
    REPLAYED,
    ACCEPTED_DELIVERIES,
    ACCEPTED_BYTES,
    CONNECTIONS_IN,
    CONNECTIONS_REFUSED,
    SIGNATURES,
    UNSIGNABLE,
    CLAIMED,
    SETTLED,
    REPLIES,
    KNOWN_REPLIES,
    STALE,
    REDECIDED,
    RETRIED_CALLS,
    CONNECTIONS_OUT,
    POOLS_CHANGE,
    SUPPRESSIONS_CHANGE,
    SUPPRESSIONS,
    PERMIT_STOPS,
    PERMIT_ABORTS,
    ESCAPED,
    REAPED,
    RECLAIMED,
    JOURNAL_DROPPED,
    JOURNAL_UNDECODABLE,
    JOURNAL_FAILURES,
    SPOOL_BYTES,
    SPOOL_DAMAGED,
    HISTORY_EVENTS,
    HISTORY_FAILURES,
    HISTORY_LOST,
    HISTORY_BEHIND,
    BOUNDED_ORDERS,
    BOUNDED_ORDER_OLDEST,
    BRAKES,
    LOOP_HOLDS,
    LOOP_LONGEST,
)
