"""Reaching a destination: the first of its addresses that is ready for MAIL."""

from mta.egress.dial import Line
from mta.egress.house import House
from mta.egress.targets import find_targets
from mta.model.mail import QueueKey
from mta.model.phases import Phase
from mta.policy.failures import Trouble, unroutable, worst


async def reach(house: House, queue: QueueKey) -> Line | Trouble:
    """A line, or why there is none. An address that could not be connected to is left alone for a while."""
    targets = await find_targets(queue.domain, house.delivery, house.settings.smtp.listen, house.resolver)
    if isinstance(targets, Trouble):
        return targets
    troubles: list[Trouble] = []
    for target in targets:
        known = house.unreachable.get((target.ip, target.port))
        if known is not None and known[0] > house.loop.time():
            troubles.append(known[1])
            continue
        source = house.ips.pick(queue.pool, 6 if ":" in target.ip else 4)
        if source is None:
            words = f"the pool {queue.pool} has no address to reach {target.ip} from"
            troubles.append(unroutable(words, "4.4.1", temporary=True))
            continue
        line = await house.dialer.dial(target, source)
        if not isinstance(line, Trouble):
            return line
        troubles.append(line)
        if line.phase is Phase.CONNECT and not source.ip:  # from an IP of ours it may be the IP that is at fault
            house.unreachable[target.ip, target.port] = house.loop.time() + house.back_off, line
    return worst(troubles)
