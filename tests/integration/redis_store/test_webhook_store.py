"""The webhook endpoints of the cluster on a real store."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from mta.redis_store import webhook_store
from mta.redis_store.webhook_store import StoredEndpoints
from tests.support.stores import Store
from tests.unit.webhooks.rig import endpoint


async def test_a_token_of_a_tenant_makes_a_tenth_of_the_endpoints_at_most(
    open_store: Callable[..., Store], monkeypatch: pytest.MonkeyPatch
) -> None:
    table = StoredEndpoints((await open_store()).link)
    monkeypatch.setattr(webhook_store, "MOST_OF_TENANT", 2)

    async def add(name: str, *, bound: bool = True, **more: Any) -> Any:
        made = endpoint(id=name, **({"tenant": "acme"} | more))
        return await table.edit(name, lambda known: made, bound=bound)

    await add("wh_other", tenant="", bound=False, description='"tenant":"acme"')
    done = await asyncio.gather(*(add(f"wh_{number}") for number in range(4)), return_exceptions=True)
    refused = [str(one) for one in done if isinstance(one, Exception)]
    assert refused == ["url: there are 2 webhooks of the tenant acme already; remove some"] * 2
    assert await add("wh_5", tenant="rival"), "another tenant has a share of its own"
    assert await add("wh_6", bound=False), "an administrator is bounded by the cap alone"
    monkeypatch.setattr(webhook_store, "MOST", 5)
    with pytest.raises(ValueError, match="there are 5 webhooks already"):
        await add("wh_7", bound=False)
