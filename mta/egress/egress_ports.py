"""The ports that egress was given."""

from collections.abc import Callable
from typing import NamedTuple

from mta.egress.reply_knowledge import ReplyKnowledge
from mta.egress.sts_policies import StsParts
from mta.model.mail import QueueKey
from mta.model.outcomes import Reply
from mta.model.shares import weight_of
from mta.policy.turns import Weigh
from mta.ports.content import Content
from mta.ports.delivery import Capacity, Limits, Resolver, Settle, Sites, WarmUps
from mta.ports.rules import Rules
from mta.ports.tls_results import TlsResults

Refused = Callable[[QueueKey, Reply, str, str], None]  # queue, reply, host, sending IP


class EgressPorts(NamedTuple):
    """Each part of egress takes those that it asks."""

    resolver: Resolver
    rules: Rules
    settle: Settle
    limits: Limits
    sites: Sites
    content: Content
    capacity: Capacity
    replies: ReplyKnowledge
    weigh: Weigh = weight_of  # the weight of a share
    warm_ups: WarmUps | None = None  # None: no IP is warming up
    sts: StsParts | None = None  # None: MTA-STS policies are not looked at
    tls_results: TlsResults | None = None  # None: they are not kept
    refused: Refused | None = None  # hears of each host that refused one more connection of a queue
