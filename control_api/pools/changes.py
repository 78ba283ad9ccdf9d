"""Changes of the cluster's pools: made as the caller saw all pools, so that none of two changes is lost."""

from collections.abc import Callable
from typing import Final

import msgspec

from control_api.dependencies import Dependencies
from control_api.http.problems import Problem
from mta.model.actor import Actor
from mta.model.audit import Deed
from mta.model.pools import SharedPool
from mta.policy.pools import faults_of, owners
from mta.ports.pools import SharedPools

Edit = Callable[[SharedPool | None], SharedPool | None]

_TRIES: Final = 5


async def change_pool(deps: Dependencies, actor: Actor, name: str, edit: Edit) -> tuple[SharedPool | None, SharedPools]:
    """Replace the pool of the cluster by what `edit` makes of it (None: there is none). Returns it as it was, and the
    pools as they stand now. Raises BadValue, Problem 409, and what `edit` raises."""
    noted = None
    for _ in range(_TRIES):
        seen = await deps.pools.shared()
        was = seen.pools.get(name)
        made = edit(was)
        if made == was:
            return was, seen
        if made is not None:
            _check(name, made, seen)
        deed = _deed(name, was, made)
        if deed != noted:
            await deps.audit.note(actor, deed)
            noted = deed
        if await deps.pools.put(name, made, seen.version):
            return was, await deps.pools.shared()
    raise Problem(409, "others change the pools; try again")


def _check(name: str, pool: SharedPool, seen: SharedPools) -> None:
    for fault in faults_of(pool):
        raise fault
    owner = owners({other: there for other, there in seen.pools.items() if other != name})
    for ip in pool.ips:
        if ip in owner:
            words = f"{ip} is in pool {owner[ip]}; an IP belongs to one pool, remove it there first"
            raise Problem(409, words, "ips")


def _deed(name: str, was: SharedPool | None, made: SharedPool | None) -> Deed:
    before, after = (None if pool is None else msgspec.to_builtins(pool) for pool in (was, made))
    return Deed("pools.remove" if made is None else "pools.put", name, before=before, after=after)
