"""An Egress with in-memory neighbours: a settler that records, rules that can be swapped, limits that can be set."""

import asyncio
from collections.abc import Callable, Sequence
from typing import Any, Self

import msgspec

from mta.egress.egress import Egress
from mta.egress.egress_ports import EgressPorts
from mta.egress.login import Login
from mta.egress.reply_knowledge import ReplyKnowledge
from mta.model.cancel_orders import CancelOrders
from mta.model.ids import MessageId, delivery_id, new_message_id
from mta.model.mail import Claimed, QueueKey, Record
from mta.model.outcomes import Outcome
from mta.model.paths import SendingPath
from mta.model.rules import Head, PastDot, Rule, Selectors
from mta.model.settings import DeliverySettings, NodeSettings, Settings
from mta.policy.rule_table import RuleTable
from mta.policy.shaping import Shaping
from mta.ports.delivery import AddressAnswer, ConnectionShare, MxAnswer, TextAnswer
from mta.ports.rules import Rules
from tests.support.conditions import PATIENCE


class FakeSettle:
    def __init__(self) -> None:
        self.outcomes: list[tuple[Claimed, Outcome]] = []
        self.escapes: list[Claimed] = []
        self.expired: list[Claimed] = []
        self._event = asyncio.Event()

    def settle(self, claimed: Claimed, outcome: Outcome) -> None:
        self.outcomes.append((claimed, outcome))
        self._event.set()

    def expire(self, claimed: Claimed) -> None:
        self.expired.append(claimed)
        self._event.set()

    def escaped(self, claimed: Claimed, mta: str, mx: str, remote_ip: str) -> None:
        self.escapes.append(claimed)

    async def until(self, count: int, within: float = PATIENCE) -> list[Outcome]:
        async def wait() -> None:
            while len(self.outcomes) < count:
                self._event.clear()
                await self._event.wait()

        try:
            await asyncio.wait_for(wait(), within)
        except TimeoutError:
            raise AssertionError(f"{len(self.outcomes)} of {count} within {within} s: {self.outcomes}") from None
        return [outcome for _, outcome in self.outcomes]

    def by_recipient(self) -> dict[str, Outcome]:
        return {claimed.record.recipient: outcome for claimed, outcome in self.outcomes}


class FakeCapacity:
    def __init__(self) -> None:
        self.asked: list[QueueKey] = []

    def room_for(self, queue: QueueKey, room: Callable[[], int]) -> None:
        self.asked.append(queue)

    def room_for_new(self) -> None:
        pass


class FakeRules:
    def __init__(self) -> None:
        self.table = RuleTable.empty("test")
        self.begin = True
        self.dot: bool | Callable[[], bool] = True
        self._change: Callable[[RuleTable], Sequence[PastDot]] | None = None
        self._permit: Callable[[], None] | None = None
        self.lose: Callable[[], None] = lambda: None
        self.canceled: CancelOrders = {}
        self.cancel: Callable[[CancelOrders], None] = lambda orders: None

    def may_send_mail(self) -> bool:
        return self.begin

    def may_send_dot(self) -> bool:
        return self.dot() if callable(self.dot) else self.dot

    def on_change(self, abort: Callable[[RuleTable], Sequence[PastDot]]) -> None:
        self._change = abort

    def on_permit(self, resume: Callable[[], None]) -> None:
        self._permit = resume

    def on_lost(self, drop: Callable[[], None]) -> None:
        self.lose = drop

    def on_cancel(self, abort: Callable[[CancelOrders], None]) -> None:
        self.cancel = abort

    def put(self, *rules: Rule) -> list[PastDot]:
        self.table = RuleTable.build(Head(self.table.head.generation + 1, "c"), rules, "test")
        assert self._change is not None
        return list(self._change(self.table))

    def permit(self) -> None:
        assert self._permit is not None
        self._permit()


class FakeLimits:
    def __init__(self) -> None:
        self.connections = 10_000
        self.full: set[str] = set()  # sites that have no slot
        self.taken = 0
        self.most_taken = 0
        self.messages: Callable[[], float] = lambda: 0.0

    async def take_connection(self, path: SendingPath) -> ConnectionShare | float:
        if self.taken >= self.connections or path.site in self.full:
            return 0.02
        self.taken += 1
        self.most_taken = max(self.taken, self.most_taken)
        return ConnectionShare(path.site, ())

    def give_connection(self, share: ConnectionShare) -> None:
        self.taken -= 1

    def is_wanted(self, site: str) -> bool:
        return False

    def on_slots(self, tell: Callable[[str, bool], None]) -> None:
        pass

    def take_message(self, path: SendingPath) -> float:
        return self.messages()


class FakeSites:
    """Each domain is a site of its own, except where `named` says otherwise; None there: it is not known yet."""

    def __init__(self) -> None:
        self.named: dict[str, str | None] = {}
        self.tell: Callable[[Sequence[str]], None] = lambda domains: None

    def of(self, domain: str) -> str | None:
        return self.named.get(domain, domain)

    def of_target(self, domain: str, host: str) -> str:
        return self.named.get(host, self.named.get(domain)) or domain

    def on_known(self, tell: Callable[[Sequence[str]], None]) -> None:
        self.tell = tell


class FakeResolver:
    """Answers from two dicts; names that are not in them do not exist."""

    def __init__(self) -> None:
        self.hosts: dict[str, MxAnswer] = {}
        self.ips: dict[str, AddressAnswer] = {}
        self.txt: dict[str, TextAnswer] = {}

    async def mx(self, domain: str) -> MxAnswer:
        return self.hosts.get(domain, MxAnswer((), f"the domain {domain} does not exist", False, "5.1.2"))

    async def addresses(self, host: str) -> AddressAnswer:
        return self.ips.get(host, AddressAnswer((), f"the host {host} does not exist"))

    async def texts(self, name: str) -> TextAnswer:
        return self.txt.get(name, TextAnswer())

    def has_texts(self, name: str) -> bool:
        return True


class Rig:
    """`async with Rig(route=str(port)) as rig: rig.send(...)`; keyword arguments are `[delivery]` settings."""

    def __init__(self, settings: dict[str, Any] | None = None, **delivery: Any) -> None:
        defaults: dict[str, Any] = {"idle_timeout": 5.0, "command_timeout": 5.0, "greeting_timeout": 5.0}
        self.settings = Settings(
            node=NodeSettings(name="node.test", data_dir="unused"),
            delivery=DeliverySettings(**(defaults | delivery)),
            **(settings or {}),
        )
        self.settle = FakeSettle()
        self.rules = FakeRules()
        self.limits = FakeLimits()
        self.sites = FakeSites()
        self.resolver = FakeResolver()
        self.capacity = FakeCapacity()
        self.logins: dict[str, Login] = {}  # by relay
        self.replies = ReplyKnowledge()
        self.contents: dict[MessageId, bytes] = {}

    def an_egress(self, rules: Rules) -> Egress:
        ports = EgressPorts(
            self.resolver, rules, self.settle, self.limits, self.sites, self, self.capacity, self.replies
        )
        return Egress(self.settings, Shaping(self.settings), ports, self.logins)

    async def __aenter__(self) -> Self:
        self.egress = self.an_egress(self.rules)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.egress.close()

    async def get(self, message: MessageId, record: Record) -> bytes | None:
        await asyncio.sleep(0)
        return self.contents.get(message)

    def send(
        self,
        *recipients: str,
        content: bytes | None = b"Subject: x\r\n\r\nhello\r\n",
        pool: str = "default",
        tags: tuple[str, ...] = (),
        sender: str = "from@sender.test",
        needs_8bit: bool = False,
        tenant: str = "",
        expires: dict[str, int] | None = None,  # recipient -> Unix ms
        stored: bytes | None = None,  # the content where it does not come with the claim
    ) -> list[Claimed]:
        """One message to recipients of one domain."""
        message = new_message_id(0, 1)
        if stored is not None:
            self.contents[message] = stored
        claims = [
            Claimed(
                delivery_id(message, number),
                b"t",
                QueueKey(pool, recipient.rpartition("@")[2]),
                Record(
                    sender,
                    recipient,
                    tags,
                    len(content or b""),
                    0,
                    (expires or {}).get(recipient, 1 << 50),
                    needs_8bit,
                    tenant=tenant,
                ),
                content,
            )
            for number, recipient in enumerate(recipients, 1)
        ]
        self.egress.deliver(claims)
        return claims


def rule(identity: str = "r1", code: int = 554, **selectors: Any) -> Rule:
    """A rule whose generation is the table's next."""
    return msgspec.structs.replace(
        Rule(identity, Selectors(**selectors), code, f"{code // 100}.7.1", "stopped"), generation=1
    )
