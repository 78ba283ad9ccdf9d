"""Which deliveries of a batch may be claimed as they are accepted, and that each reservation is handed over once."""

from mta.admission.claim_on_accept import hand_over, reserve
from mta.model.ids import new_message_id
from mta.model.mail import NewMessage, QueueKey, QueueShare, Recipient
from mta.model.outcomes import Class
from mta.ports.queueing import UNDECIDED, AcceptanceDecision, DecidedBy, DeciderKind, EndedAtAcceptance

NOW = 1_700_000_000_000
COM, NET = QueueKey("default", "example.com"), QueueKey("default", "example.net")


class Delivery:
    def __init__(self, **room):
        self.room = room
        self.asked, self.taken = [], []

    def reserve(self, queue, count):
        self.asked.append((queue, count))
        return min(count, self.room.get(queue.domain.partition(".")[2], 100))

    def take(self, queue, reserved, claimed):
        self.taken.append((queue, reserved, claimed))


def mail(*domains, due=NOW, pool="default", **more):
    recipients = tuple(Recipient(f"a@{domain}", domain) for domain in domains)
    return NewMessage(
        new_message_id(0, NOW), "", recipients, pool, (), b"x", False, NOW, due, NOW * 2, 0, (), "192.0.2.1", **more
    )


def test_the_deliveries_of_a_batch_are_counted_by_queue():
    delivery = Delivery()
    batch = [mail("example.com", "example.net", "example.com"), mail("example.com"), mail("example.com", pool="gold")]
    gold = QueueKey("gold", "example.com")
    assert reserve(delivery, batch, UNDECIDED) == {QueueShare(COM): 3, QueueShare(NET): 1, QueueShare(gold): 1}
    assert delivery.asked == [(COM, 3), (NET, 1), (gold, 1)]
    assert all(type(queue) is QueueKey for queue, _ in delivery.asked)


def test_shares_of_a_queue_are_reserved_apart_and_ask_for_its_room_in_turn():
    delivery = Delivery()
    batch = [mail("example.com", tenant="a"), mail("example.com", tenant="a"), mail("example.com", priority=2)]
    assert reserve(delivery, batch, UNDECIDED) == {QueueShare(COM, "a"): 2, QueueShare(COM, ".2"): 1}
    assert delivery.asked == [(COM, 2), (COM, 1)]


def test_mail_for_later_and_deliveries_that_end_are_not_claimed():
    mixed = mail("example.com", "example.net")
    end = EndedAtAcceptance(1, Class.INTERCEPTED, DecidedBy(DeciderKind.RULE, "r1"), b"", b"", 0)
    decision = AcceptanceDecision(3, {mixed.id: [end]})
    assert reserve(Delivery(), [mixed, mail("example.com", due=NOW + 1)], decision) == {QueueShare(NET): 1}


def test_a_queue_without_room_is_no_reservation_and_is_not_handed_over():
    delivery = Delivery(net=0, com=1)
    reserved = reserve(delivery, [mail("example.net", "example.com", "example.com")], UNDECIDED)
    assert reserved == {QueueShare(COM): 1}
    hand_over(delivery, reserved, {QueueShare(COM): ["claimed"]})
    hand_over(delivery, reserved, {})
    assert delivery.taken == [(COM, 1, ["claimed"]), (COM, 1, ())]
