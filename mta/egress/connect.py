"""Reaching a destination: the first of its addresses that is ready for MAIL."""

from collections.abc import Awaitable, Callable, Sequence
from typing import NamedTuple

from mta.egress.connection_budget import Attempt
from mta.egress.dial import Line
from mta.egress.house import House
from mta.egress.targets import Target, find_targets
from mta.model.mail import QueueKey
from mta.model.outcomes import Verdict
from mta.model.phases import Phase
from mta.policy.failures import Trouble, unroutable, worst


class Reached(NamedTuple):
    """A line, and the addresses behind it that belong to other hosts, in the order to try them."""

    line: Line
    behind: tuple[Target, ...]


async def reach(
    house: House, queue: QueueKey, attempt: Attempt, greeted: Callable[[], Awaitable[None]]
) -> Reached | Trouble:
    """The first host of the queue's domain that is ready for MAIL, or why there is none."""
    targets = await find_targets(queue.domain, house.delivery, house.settings.smtp.listen, house.resolver)
    return targets if isinstance(targets, Trouble) else await reach_first(house, queue, targets, attempt, greeted)


async def reach_first(
    house: House, queue: QueueKey, targets: Sequence[Target], attempt: Attempt, greeted: Callable[[], Awaitable[None]]
) -> Reached | Trouble:
    """The first of `targets` that is ready for MAIL. An address that could not be connected to is left alone for a
    while."""
    troubles: list[Trouble] = []
    for number, target in enumerate(targets):
        known = house.unreachable.get((target.ip, target.port))
        if known is not None and known[0] > house.loop.time():
            troubles.append(known[1]._replace(host=target.host))  # another name may have led there before
            continue
        source = house.ips.pick(queue.pool, 6 if ":" in target.ip else 4)
        if source is None:
            words = f"the pool {queue.pool} has no address to reach {target.ip} from"
            troubles.append(unroutable(words, "4.4.1", temporary=True)._replace(host=target.host, ip=target.ip))
            continue
        attempt.host, attempt.ip = target.host, target.ip
        house.budget.next_host(attempt, house.loop.time())
        line = await house.dialer.dial(target, source, greeted)
        if not isinstance(line, Trouble):
            return Reached(line, tuple(other for other in targets[number + 1 :] if other.host != target.host))
        bounces = house.delivery.greeting_5xx == "bounce" and line.phase is Phase.GREETING and line.reply.code >= 500
        troubles.append(line._replace(verdict=Verdict.PERMANENT) if bounces else line)
        if line.phase is Phase.CONNECT and not source.ip:  # from an IP of ours it may be the IP that is at fault
            house.unreachable[target.ip, target.port] = house.loop.time() + house.back_off, line
    return worst(troubles)
