"""Names of queues, taken apart where they can be."""

import pytest

from mta.redis_store import keys


@pytest.mark.parametrize("pool", ["default", "@192.0.2.1", "@2001:db8::1", "@::1"])
@pytest.mark.parametrize("domain", ["example.com", "[192.0.2.7]", "[IPv6:2001:db8::2]", "[IPv6:::1]"])
def test_k16_pool_and_domain_come_out_as_they_went_in(pool: str, domain: str):
    prefix = keys.lane_prefix(0)
    name = keys.due_key(prefix, pool.encode(), domain.encode())[len(prefix) + len("due:") :]
    assert keys.queue_of(name) == (pool.encode(), domain.encode())
