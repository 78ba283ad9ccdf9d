"""The observations of a demo run and the conditions that they must meet; pure, so a test can make each one fail."""

from typing import Any

import msgspec

LATE_AFTER = 0.25  # seconds after effective_at from which a MAIL of the campaign counts as late
SHARED_CONNECTIONS = 4
EFFECTIVE_WITHIN = 1.0


class Receipt(msgspec.Struct, frozen=True):
    """One message as the sink read its final dot; Unix seconds."""

    recipient: str
    at: float
    connection: int


class Mail(msgspec.Struct, frozen=True):
    """One MAIL command of the campaign or of the others, told apart by the envelope sender; Unix seconds."""

    sender: str
    at: float
    connection: int


class Seen(msgspec.Struct):
    """Everything that the verdict rests on; times are Unix seconds."""

    campaign: dict[str, str]  # recipient -> message id that the 250 named
    others: dict[str, str]
    campaign_sender: str
    receipts: list[Receipt] = []
    mails: list[Mail] = []
    ordered_at: float = 0.0
    queued_at_order: int = 0
    order_took: float = 0.0
    order: dict[str, Any] = {}
    effective_at: float | None = None
    tag_statement: dict[str, Any] = {}
    rule_statement: dict[str, Any] = {}
    node_status: int | None = None

    def received(self, of: dict[str, str], until: float = float("inf")) -> list[Receipt]:
        return [receipt for receipt in self.receipts if receipt.recipient in of and receipt.at <= until]

    def shared_connections(self) -> int:
        """Connections that had carried the campaign and other mail when the order was given."""
        campaign = {receipt.connection for receipt in self.received(self.campaign, self.ordered_at)}
        return len(campaign & {receipt.connection for receipt in self.received(self.others, self.ordered_at)})

    def late_mails(self) -> list[Mail]:
        if self.effective_at is None:
            return []
        limit = self.effective_at + LATE_AFTER
        return [mail for mail in self.mails if mail.sender == self.campaign_sender and mail.at > limit]

    def unlisted(self) -> list[str]:
        """Campaign recipients whose dot the sink read after `effective_at` and whom `past_dot` does not name."""
        if self.effective_at is None:
            return []
        listed = {str(entry.get("recipient")) for entry in self.order.get("past_dot", [])}
        return [
            receipt.recipient
            for receipt in self.received(self.campaign)
            if receipt.at > self.effective_at and receipt.recipient not in listed
        ]

    def order_to_effective(self) -> float | None:
        return None if self.effective_at is None else max(self.effective_at - self.ordered_at, 0.0)


def conditions(seen: Seen) -> list[tuple[str, bool, str]]:
    """Each condition: what must hold, whether it does, and the figures."""
    return [*_before(seen), *_after(seen), *_books(seen)]


def _before(seen: Seen) -> list[tuple[str, bool, str]]:
    total = len(seen.campaign)
    early = len(seen.received(seen.campaign, seen.ordered_at))
    shared = seen.shared_connections()
    return [
        ("at the order 10 % of the campaign had been received", early * 10 >= total, f"{early} of {total}"),
        (
            "at the order half of the campaign was still queued",
            seen.queued_at_order * 2 >= total,
            f"{seen.queued_at_order} of {total}",
        ),
        (
            f"{SHARED_CONNECTIONS} connections were shared with the other tag",
            shared >= SHARED_CONNECTIONS,
            str(shared),
        ),
    ]


def _after(seen: Seen) -> list[tuple[str, bool, str]]:
    took = seen.order_to_effective()
    late, unlisted = seen.late_mails(), seen.unlisted()
    others = {receipt.recipient for receipt in seen.received(seen.others)}
    twice = len(seen.receipts) - len({receipt.recipient for receipt in seen.receipts})
    return [
        (
            "the order was effective within 1 s",
            seen.order.get("effective") is True and took is not None and took < EFFECTIVE_WITHIN,
            "not effective" if took is None else f"{took * 1000:.0f} ms",
        ),
        (
            "no campaign MAIL reached the sink later than 250 ms after effective_at",
            took is not None and not late,
            f"{len(late)} late",
        ),
        (
            "each campaign message whose dot was read after effective_at is in past_dot",
            took is not None and not unlisted,
            f"{len(unlisted)} unlisted" + (f", such as {unlisted[0]}" if unlisted else ""),
        ),
        (
            "all other mail arrived",
            others == set(seen.others),
            f"{len(others)} of {len(seen.others)}",
        ),
        ("nothing arrived twice", twice == 0, f"{twice} twice"),
    ]


def _books(seen: Seen) -> list[tuple[str, bool, str]]:
    tag, rule = seen.tag_statement, seen.rule_statement
    unique = len({receipt.recipient for receipt in seen.received(seen.campaign)})
    intercepted = _sum(tag.get("intercepted"))
    delivered, accepted = tag.get("delivered"), tag.get("accepted")
    return [
        ("the statement's delivered equals the receipts", delivered == unique, f"{delivered} and {unique}"),
        (
            "intercepted and delivered are all that was accepted",
            accepted == len(seen.campaign) and intercepted + (delivered or 0) == accepted,
            f"{intercepted} + {delivered} = {accepted}",
        ),
        ("the tag's statement balances", tag.get("balanced") is True, f"balanced {tag.get('balanced')}"),
        (
            "the rule's statement is complete, balances, and intercepted as many",
            rule.get("complete") is True
            and rule.get("balanced") is True
            and _sum(rule.get("intercepted")) == intercepted,
            f"complete {rule.get('complete')}, balanced {rule.get('balanced')}, "
            f"intercepted {_sum(rule.get('intercepted'))}",
        ),
        ("the node drained and ended with status 0", seen.node_status == 0, f"status {seen.node_status}"),
    ]


def _sum(stages: Any) -> int:
    return sum(stages.values()) if isinstance(stages, dict) else 0


def report(seen: Seen) -> dict[str, Any]:
    """Everything for `--json`."""
    took = seen.order_to_effective()
    held = conditions(seen)
    late = seen.late_mails()
    return {
        "ok": all(ok for _, ok, _ in held),
        "campaign": len(seen.campaign),
        "others": len(seen.others),
        "received_before_order": len(seen.received(seen.campaign, seen.ordered_at)),
        "queued_at_order": seen.queued_at_order,
        "shared_connections": seen.shared_connections(),
        "order_to_effective_ms": None if took is None else round(took * 1000, 1),
        "order_reply_ms": round(seen.order_took * 1000, 1),
        "campaign_received": len(seen.received(seen.campaign)),
        "others_received": len(seen.received(seen.others)),
        "late_mails": len(late),
        "unlisted": seen.unlisted(),
        "order": seen.order,
        "statement": seen.tag_statement,
        "rule_statement": seen.rule_statement,
        "conditions": [{"condition": what, "holds": ok, "found": found} for what, ok, found in held],
    }
