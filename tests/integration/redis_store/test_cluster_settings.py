"""The setting that all nodes share: the lanes of the store."""

import pytest

from mta.model.errors import SettingsError
from mta.redis_store import keys
from mta.redis_store.cluster_settings import SCHEMA, ClusterSettings


async def test_the_first_node_writes_the_lanes_and_no_later_one_may_have_others(open_store):
    store = await open_store()
    await store.link.command("DEL", keys.META_SETTINGS)
    first = ClusterSettings(store.link)
    await first.open(5.0, 256)
    assert first.lanes == 256
    anchors = [await store.link.command("HGET", keys.lane_key(lane, b"lane"), "schema") for lane in (0, 100, 255)]
    assert anchors == [b"%d" % SCHEMA] * 3
    for lanes in (1, 4, 255):
        with pytest.raises(SettingsError, match=rf"redis\.lanes is {lanes} here and 256 in the store.*taken away"):
            await ClusterSettings(store.link).open(5.0, lanes)
    await store.link.command("HSET", keys.META_SETTINGS, "lanes", 16)
    with pytest.raises(SettingsError, match=r"set redis\.lanes = 16 .*HSET fg:\{meta\}:settings lanes 17,"):
        await ClusterSettings(store.link).open(5.0, 17)
    await store.link.command("HSET", keys.META_SETTINGS, "lanes", 4)
