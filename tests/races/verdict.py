"""The verdict on a seed: sink, store, log and API, compared with the promises."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from tests.races.aftermath import Aftermath
from tests.races.ledger import Ledger
from tests.races.plan import POOLS, STATES, Campaign, Fault, Mail, Plan
from tests.races.source import Told

LATEST_MAIL = 1000.0  # milliseconds after effective_at, on a busy machine: the destination reads it later
_ENOUGH_LANES = 2


class Receipt(NamedTuple):
    """A dot that the sink read, for one recipient."""

    id: str  # of the delivery
    campaign: Campaign
    dot_at: float
    replied_at: float


class Evidence(NamedTuple):
    """All that is known of a seed at its end; times are Unix milliseconds."""

    plan: Plan
    told: list[Told]
    before: Ledger  # shortly before the order
    ordered_at: float
    rule: Mapping[str, Any]  # fetched right after the answer
    effective_at: float
    rule_later: Mapping[str, Any]  # fetched at the end
    account: Mapping[str, Any]  # the rule's statement
    after: Aftermath

    def deliveries(self) -> dict[str, Mail]:
        """By id, all that was accepted: as the source was told, and where it was told nothing, as the log says."""
        found = {
            f"{t.message}.{n}": t.mail for t in self.told if t.message for n in range(1, len(t.mail.recipients) + 1)
        }
        untold = {address: t.mail for t in self.told if not t.message for address in t.mail.recipients}
        received = {line["recipient"]: line["id"] for line in self.after.log if line["type"] == "Reception"}
        return found | {received[address]: mail for address, mail in untold.items() if address in received}

    def receipts(self) -> list[Receipt]:
        numbers = {to: (n, mail.campaign) for mail in self.plan.mails for n, to in enumerate(mail.recipients, 1)}
        return [
            Receipt(
                f"{transaction.message}.{numbers[to][0]}", numbers[to][1], transaction.dot_at, transaction.replied_at
            )
            for transaction in self.after.seen
            if transaction.dot_at
            for to in transaction.recipients
        ]

    def past_dot(self) -> set[str]:
        return {entry["id"] for entry in self.rule["past_dot"]}

    def escaped(self) -> set[str]:
        return {line["id"] for line in self.after.log if line["type"] == "Escaped"}

    def excused(self) -> set[str]:
        """Those that may arrive after effective_at: those listed, and those escaped where a process was stopped."""
        stopped = self.plan.fault in (Fault.PAUSED, Fault.LOST)
        return self.past_dot() | (self.escaped() if stopped else set())

    def late_receipts(self) -> list[Receipt]:
        return [r for r in self.receipts() if r.campaign is Campaign.STOP and r.dot_at > self.effective_at]

    def latest_mail(self) -> float:
        """Milliseconds from effective_at to the last MAIL of the campaign that was stopped."""
        stopped = {address for mail in self.plan.mails if mail.campaign is Campaign.STOP for address in mail.recipients}
        times = [t.mail_at for t in self.after.seen if stopped.intersection(t.recipients + t.refused)]
        return max(times, default=0.0) - self.effective_at

    def ids_of(self, campaign: str) -> set[str]:
        return {id_ for id_, mail in self.deliveries().items() if mail.campaign == campaign}

    def copies(self) -> int:
        """Receipts beyond the first of each delivery."""
        receipts = self.receipts()
        return len(receipts) - len({receipt.id for receipt in receipts})

    def latecomers(self) -> set[str]:
        """Mail of the campaign that came in after the order and is not due yet: the rule meets it at its attempt, where
        it was not met at the door."""
        timely = {told.message for told in self.told if told.at <= self.ordered_at}
        return {
            id_
            for id_, one in self.after.ledger.living.items()
            if one.state == "scheduled" and Campaign.STOP in one.tags and id_.partition(".")[0] not in timely
        }

    def states(self) -> Counter[str]:
        """Deliveries of the campaign by state, shortly before the order."""
        return Counter(one.state for one in self.before.living.values() if Campaign.STOP in one.tags)


def covered(ledger: Ledger, states: tuple[str, ...] = STATES) -> bool:
    """Whether the campaign has deliveries in each of the states, in both pools and in two lanes."""
    found = [one for one in ledger.living.values() if Campaign.STOP in one.tags]
    pools = {(one.state, one.pool) for one in found}
    lanes = Counter(state for state, _ in {(one.state, one.lane) for one in found})
    return all(lanes[state] >= _ENOUGH_LANES and {(state, pool) for pool in POOLS} <= pools for state in states)


def failures(evidence: Evidence) -> list[str]:
    """One sentence for each promise that was broken, with at most a few examples."""
    return [sentence for check in _CHECKS for sentence in check(evidence)]


def _late_dots_are_listed(evidence: Evidence) -> Iterator[str]:
    missing = {receipt for receipt in evidence.late_receipts() if receipt.id not in evidence.excused()}
    if missing:
        latest = max(receipt.dot_at for receipt in missing) - evidence.effective_at
        names = some(receipt.id for receipt in missing)
        yield f"dots read up to {latest:.1f} ms after effective_at, and not in past_dot: {names}"


def _no_late_mail(evidence: Evidence) -> Iterator[str]:
    latest = evidence.latest_mail()
    if latest > LATEST_MAIL:
        yield f"a MAIL of the campaign {latest:.0f} ms after effective_at"


def _past_dot_is_what_was_past_its_dot(evidence: Evidence) -> Iterator[str]:
    """Where every worker could say so."""
    if evidence.plan.fault is not Fault.NONE:
        return
    listed, receipts = evidence.past_dot(), evidence.receipts()
    unanswered = {
        r.id for r in receipts if r.campaign is Campaign.STOP and r.dot_at <= evidence.effective_at < r.replied_at
    }
    if unanswered - listed:
        yield f"its dot was not answered at effective_at, and not in past_dot: {some(unanswered - listed)}"
    if listed - {receipt.id for receipt in receipts}:
        yield f"in past_dot, and no dot was read: {some(listed - {receipt.id for receipt in receipts})}"
    if evidence.account["delivered"]["after"] != len(listed):
        yield f"{len(listed)} are in past_dot, {evidence.account['delivered']['after']} were delivered after"


def _past_dot_is_fixed(evidence: Evidence) -> Iterator[str]:
    later = {entry["id"] for entry in evidence.rule_later["past_dot"]}
    if later != evidence.past_dot() or evidence.rule_later["effective_at"] != evidence.rule["effective_at"]:
        yield f"past_dot or effective_at changed after the answer: {some(later ^ evidence.past_dot())}"


def _nothing_is_lost(evidence: Evidence) -> Iterator[str]:
    known, accepted = evidence.after.ledger, evidence.deliveries()
    waiting = known.living.keys() - evidence.latecomers()
    if waiting:
        yield f"{len(waiting)} deliveries never ended: {some(f'{id_} {known.living[id_]}' for id_ in waiting)}"
    lost = accepted.keys() - known.ended.keys() - known.living.keys()
    if lost:
        yield f"accepted, and unknown to the store: {some(lost)}"
    foreign = (known.ended.keys() | known.living.keys()) - accepted.keys()
    if foreign:
        yield f"in the store, and never accepted: {some(foreign)}"


def _the_other_campaign_arrives(evidence: Evidence) -> Iterator[str]:
    reached = {receipt.id for receipt in evidence.receipts()}
    missing = evidence.ids_of(Campaign.KEEP) - reached
    if missing:
        yield f"of the other campaign {len(missing)} never arrived: {some(missing)}"


def _receipts_match_by_id(evidence: Evidence) -> Iterator[str]:
    reached = {receipt.id for receipt in evidence.receipts()}
    delivered = evidence.after.ledger.ids("delivered")
    if delivered - reached:
        yield f"delivered, and no receipt: {some(delivered - reached)}"
    strange = reached - delivered - evidence.after.ledger.uncertain()
    if strange:
        yield f"receipts neither delivered nor uncertain: {some(strange)}"


def _no_doubt_without_a_fault(evidence: Evidence) -> Iterator[str]:
    if evidence.plan.fault is not Fault.NONE:
        return
    if evidence.after.ledger.uncertain():
        yield f"uncertain without a fault: {some(evidence.after.ledger.uncertain())}"
    if evidence.copies():
        yield f"{evidence.copies()} second copies without a fault"
    if evidence.escaped():
        yield f"escaped without a fault: {some(evidence.escaped())}"


def _statements_equal_the_recount(evidence: Evidence) -> Iterator[str]:
    for tag, statement in evidence.after.tags.items():
        yield from differences(statement, evidence.after.ledger.account(evidence.ids_of(tag)))


def differences(statement: Mapping[str, Any], account: Mapping[str, Any]) -> Iterator[str]:
    """Where the statement of a tag is not what was counted one by one."""
    told = {name: statement[name] for name in account}
    if told != account or statement["balanced"] is not True:
        yield f"statement of {statement['tag']}: {told}, balanced: {statement['balanced']}; recount: {account}"


def _the_account_equals_the_recount(evidence: Evidence) -> Iterator[str]:
    rule, counted = evidence.account, evidence.after.ledger.account(evidence.ids_of(Campaign.STOP))
    told = {name: rule[name] for name in ("accepted", "intercepted", "queued", "held", "uncertain", "matched")}
    told["delivered"] = rule["delivered"]["before"] + rule["delivered"]["after"]
    wanted = {name: counted[name] for name in told if name in counted}
    wanted["matched"] = counted["accepted"] - rule["delivered"]["before"]
    if told != wanted or not (rule["complete"] is rule["balanced"] is True):
        yield f"account of the rule: {rule}; recount: {wanted}"


def _the_log_equals_the_recount(evidence: Evidence) -> Iterator[str]:
    late = {line["id"] for line in evidence.after.log if line["type"] == "LateOutcome" and line.get("code") == 250}
    logged = {line["id"] for line in evidence.after.log if line["type"] == "Delivery"}
    delivered = evidence.after.ledger.ids("delivered")
    if not logged <= delivered <= logged | late:
        yield f"deliveries that the log and the store tell apart: {some(logged ^ delivered)}"
    intercepted = evidence.after.ledger.ids("intercepted")
    logged = {line["id"] for line in evidence.after.log if line["type"] == "Intercepted"}
    if not intercepted <= logged <= intercepted | late:
        yield f"interceptions that the log and the store tell apart: {some(logged ^ intercepted)}"


def _the_books_are_whole(evidence: Evidence) -> Iterator[str]:
    yield from evidence.after.broken


def _every_state_was_met(evidence: Evidence) -> Iterator[str]:
    if not covered(evidence.before):
        yield f"the campaign was not in every state, two lanes and two pools when the order came: {evidence.states()}"


_CHECKS: tuple[Callable[[Evidence], Iterator[str]], ...] = (
    _late_dots_are_listed,
    _no_late_mail,
    _past_dot_is_what_was_past_its_dot,
    _past_dot_is_fixed,
    _nothing_is_lost,
    _the_other_campaign_arrives,
    _receipts_match_by_id,
    _no_doubt_without_a_fault,
    _statements_equal_the_recount,
    _the_account_equals_the_recount,
    _the_log_equals_the_recount,
    _the_books_are_whole,
    _every_state_was_met,
)


def some(things: Iterable[Any]) -> str:
    """A few examples."""
    found = sorted(map(str, things))
    return ", ".join(found[:5]) + (f" and {len(found) - 5} more" if len(found) > 5 else "")
