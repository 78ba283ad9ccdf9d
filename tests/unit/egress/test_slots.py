import msgspec
import pytest

from mta.egress.open_paths import OpenPaths
from mta.egress.path_room import PathRoom
from mta.egress.sending_ips import SendingIps
from mta.egress.slots import Slot, Slots
from mta.model.destination_settings import LimitSettings, SiteSettings
from mta.model.settings import PoolSettings
from mta.policy.shaping import Shaping
from mta.ports.delivery import ConnectionShare
from tests.support.scheduling import QUEUE, SETTINGS

IPS = ("192.0.2.1", "192.0.2.2", "2001:db8::1")


class Limits:
    """Gives what `full` does not name; both by site and IP."""

    def __init__(self):
        self.full = set()
        self.taken = []

    async def take_connection(self, path):
        if (path.site, path.ip) in self.full:
            return 0.5
        self.taken.append((path.site, path.ip))
        return ConnectionShare(path.site, (path.ip,))

    def give_connection(self, share):
        self.taken.remove((share.site, *share.scopes))


@pytest.fixture
def limits():
    return Limits()


@pytest.fixture
def slots(limits):
    sites = {"big": SiteSettings(per_ip=LimitSettings(connections=1)), "plain": SiteSettings(connections=5)}
    settings = msgspec.structs.replace(SETTINGS, pools={QUEUE.pool: PoolSettings(ips=IPS)}, sites=sites)
    return Slots(limits, Shaping(settings), SendingIps(settings), PathRoom(OpenPaths.alone()))


async def test_the_sending_ip_is_one_whose_limits_allow_a_connection(slots, limits):
    limits.full = {("big", "192.0.2.1")}
    for _ in range(3):
        slot = await slots.take(QUEUE, "big")
        assert (slot.path.ip, slot.source.ip) == ("192.0.2.2", "192.0.2.2")
    limits.full.add(("big", "192.0.2.2"))
    assert await slots.take(QUEUE, "big") == 0.5
    assert limits.taken == [("big", "192.0.2.2")] * 3


async def test_without_limits_of_ips_the_connector_chooses_the_ip(slots):
    slot = await slots.take(QUEUE, "plain")
    assert (slot.path.ip, slot.source) == ("", None)


async def test_a_host_of_another_site_or_family_takes_a_slot_of_its_own_and_gives_the_first_back(slots, limits):
    slot = await slots.take(QUEUE, "plain")
    assert await slots.move(slot, QUEUE, "plain", "198.51.100.1") == 0
    assert limits.taken == [("plain", "")]
    assert await slots.move(slot, QUEUE, "big", "2001:db8:1::1") == 0
    assert limits.taken == [("big", "2001:db8::1")]
    limits.full = {("big", "192.0.2.1"), ("big", "192.0.2.2")}
    assert await slots.move(slot, QUEUE, "big", "198.51.100.1") == 0.5
    slots.give(slot)
    assert limits.taken == []


async def test_a_slot_is_given_back_once(slots, limits):
    slot = await slots.take(QUEUE, "plain")
    assert isinstance(slot, Slot)
    slots.give(slot)
    slots.give(slot)
    assert limits.taken == []
