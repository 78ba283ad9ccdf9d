"""The verdict on a seed of cancellations: every answer held against what arrived and what the store says."""

from collections.abc import Callable, Iterator

from tests.races.cancel_race import Evidence
from tests.races.plan import Campaign
from tests.races.verdict import differences, some

_SENT = {"SENT", "DELIVERED"}


def failures(evidence: Evidence) -> list[str]:
    """One sentence for each promise that was broken, with at most a few examples."""
    return [sentence for check in _CHECKS for sentence in check(evidence)]


def _answers_are_final(evidence: Evidence) -> Iterator[str]:
    strange = set(evidence.codes()) - {200, 202, 409}
    if strange:
        yield f"answers that are none: {some(strange)}"
    open_ = {message for message, answers in evidence.answers.items() if answers[-1].code == 202}
    if open_:
        yield f"still 202 at the end: {some(open_)}"
    if {200, 409} - set(evidence.codes()):
        yield f"nothing was raced for: {dict(evidence.codes())}"


def _answers_agree(evidence: Evidence) -> Iterator[str]:
    for message, answers in evidence.answers.items():
        said = [answer for answer in answers if answer.code != 202]
        if any(answer != said[0] for answer in said):
            yield f"{message} was told differently: {some(f'{a.code} {a.statuses}' for a in said)}"


def _answers_fit_their_records(evidence: Evidence) -> Iterator[str]:
    for message, answers in evidence.answers.items():
        for answer in answers:
            said = set(answer.statuses.values())
            ended = said <= _SENT | {"CANCELED"}
            fits = {200: ended and "CANCELED" in said, 409: bool(said) and said <= _SENT, 202: not ended}
            if not fits.get(answer.code):
                yield f"{message}: {answer.code} with {answer.statuses}"


def _canceled_never_arrives_and_the_rest_does(evidence: Evidence) -> Iterator[str]:
    receipts, uncertain = evidence.receipts(), evidence.after.ledger.uncertain()
    if uncertain:
        yield f"uncertain without a fault: {some(uncertain)}"
    for answers in evidence.answers.values():
        for id_, status in answers[-1].statuses.items():
            if status == "CANCELED" and receipts[id_]:
                yield f"{id_}: told that it is canceled, and it arrived {receipts[id_]} times"
            elif status in _SENT and receipts[id_] != 1:
                yield f"{id_}: told that it was sent, and it arrived {receipts[id_]} times"


def _the_store_says_the_same(evidence: Evidence) -> Iterator[str]:
    ledger, receipts = evidence.after.ledger, evidence.receipts()
    accepted = {f"{t.message}.{n}" for t in evidence.told for n in range(1, len(t.mail.recipients) + 1)}
    if accepted != ledger.ended.keys():
        yield f"accepted, and not ended or the reverse: {some(accepted ^ ledger.ended.keys())}"
    told = {
        id_ for said in evidence.answers.values() for id_, status in said[-1].statuses.items() if status == "CANCELED"
    }
    if told != ledger.ids("canceled"):
        yield f"canceled as the store has it, or as it was told, not both: {some(told ^ ledger.ids('canceled'))}"
    if ledger.ids("delivered") != receipts.keys() or accepted != ledger.ids("canceled") | ledger.ids("delivered"):
        yield f"delivered, and no receipt or the reverse: {some(ledger.ids('delivered') ^ receipts.keys())}"
    twice = {id_ for id_, count in receipts.items() if count > 1}
    if twice:
        yield f"second copies without a fault: {some(twice)}"


def _statements_equal_the_recount(evidence: Evidence) -> Iterator[str]:
    yield from evidence.after.broken
    for campaign in Campaign:
        ids = {
            f"{told.message}.{n}"
            for told in evidence.told
            if told.mail.campaign is campaign
            for n in range(1, len(told.mail.recipients) + 1)
        }
        yield from differences(evidence.after.tags[campaign], evidence.after.ledger.account(ids))


def _the_log_says_the_same(evidence: Evidence) -> Iterator[str]:
    for kind, how in (("Delivery", "delivered"), ("Cancellation", "canceled")):
        logged = [line["id"] for line in evidence.after.log if line["type"] == kind]
        if sorted(logged) != sorted(evidence.after.ledger.ids(how)):
            yield f"{kind} lines are not what ended so: {some(set(logged) ^ evidence.after.ledger.ids(how))}"


_CHECKS: tuple[Callable[[Evidence], Iterator[str]], ...] = (
    _answers_are_final,
    _answers_agree,
    _answers_fit_their_records,
    _canceled_never_arrives_and_the_rest_does,
    _the_store_says_the_same,
    _statements_equal_the_recount,
    _the_log_says_the_same,
)
