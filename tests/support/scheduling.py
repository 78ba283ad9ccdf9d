"""Small stand-ins for what scheduling talks to."""

import asyncio
from collections import defaultdict

from mta.model.errors import StoreAway
from mta.model.ids import delivery_id, lane_of, new_message_id
from mta.model.mail import Claimed, QueueKey, QueueShare, Record
from mta.model.rules import Head
from mta.model.settings import DeliverySettings, NodeSettings, Settings
from mta.policy.rule_table import RuleTable
from mta.ports.queueing import Due, Move, Settled
from tests.support.eventually import eventually

QUEUE = QueueKey("p", "example.com")
SETTINGS = Settings(node=NodeSettings(name="n1", data_dir="/nowhere"))
TERMS_DELIVERY = DeliverySettings()
NOW = 1_800_000_000_000


def a_record(**changes):
    return Record(
        **{"sender": "a@x", "recipient": "b@example.com", "tags": ("t",), "size": 10, "accepted_at": NOW,
           "expires_at": NOW + 10**9} | changes
    )  # fmt: skip


def a_claim(lane=0, queue=QUEUE, reclaims=0, share="", **record):
    return Claimed(
        delivery_id(new_message_id(lane, NOW), 1), b"1", queue, a_record(**record), b"x", reclaims, share=share
    )  # fmt: skip


class FakeRules:
    def __init__(self, *rules, generation=1):
        self.table = RuleTable.build(Head(generation, "c"), rules, "n1")
        self.permit = True
        self.canceled = {}

    def may_send_mail(self):
        return self.permit

    def on_permit(self, resume):
        self.resume = resume


class FakeClaims:
    """Queues in memory; `away` counts calls that fail, `applied_but_lost` calls whose answer is lost."""

    def __init__(self, lanes=1):
        self.lanes = lanes
        self.due = [defaultdict(list) for _ in range(lanes)]
        self.settled, self.notes, self.calls, self.claims = [], [], [], []
        self.rates = []  # of each call
        self.away = self.lost_answers = self.agendas = 0
        self.held = {}
        self.barrier = 0
        self.marked = set()  # ids whose cancellation is asked for

    def put(self, *claims, at=NOW):
        for one in claims:
            self.due[lane_of(one.id)][QueueShare(one.queue, one.share)].append((at, one))

    async def agenda(self, lane, pools, most):
        self.agendas += 1
        await asyncio.sleep(0)
        found = [
            Due(queue, min(at for at, _ in items), share)
            for (queue, share), items in self.due[lane].items()
            if items and queue.pool in pools
        ]
        return sorted(found, key=lambda due: due.at)[:most]

    async def claim(self, lane, requests, most_bytes):
        self.claims.append(list(requests))
        await asyncio.sleep(0)
        taken = []
        for queue, most, share in requests:
            of = QueueShare(queue, share)
            items = self.due[lane][of]
            ready = [item for item in items if item[0] <= NOW][:most]
            self.due[lane][of] = [item for item in items if item not in ready]
            taken += [one for _, one in ready]
        self.held.update((one.id, one) for one in taken)
        return taken

    async def note(self, lane, events):
        self.notes += events

    async def settle(self, lane, changes, rates=()):
        self.calls.append([(change.id, change.again) for change in changes])
        self.rates.append(list(rates))
        await asyncio.sleep(0)
        if self.away:
            self.away -= 1
            raise StoreAway("away")
        answers = []
        for change in changes:
            if 0 <= change.generation < self.barrier:
                answers.append(Settled.OLD_RULES)
            elif change.id in self.marked and change.move is not Move.END:
                answers.append(Settled.CANCEL)
                change.canceled_by = "ops"
            elif change.id in {done.id for done in self.settled}:
                answers.append(Settled.STALE)
            else:
                answers.append(Settled.OK)
                self.settled.append(change)
        if self.lost_answers:
            self.lost_answers -= 1
            raise StoreAway("answer lost")
        return answers


class FakeDeliver:
    def __init__(self, room=1000):
        self.left = defaultdict(lambda: room)
        self.taken = []
        self.beyond = {}  # headroom of shares
        self.crowded = set()  # queues whose connections are all busy

    def room(self, queue):
        return self.left[queue]

    def headroom(self, queue, share):
        return self.beyond.get(share, 0)

    def can_start(self, queue):
        return queue not in self.crowded

    def deliver(self, deliveries):
        self.taken += deliveries
        self.left[deliveries[0].queue] -= len(deliveries)
        beyond = self.beyond.get(deliveries[0].share, 0)
        assert self.left[deliveries[0].queue] >= -beyond, "more than there was room for"


async def until(condition):
    await eventually(condition, least=0.001)
