"""Libraries of several builds in one store: each loaded where it is absent, none replaced."""

import msgspec
import pytest

from mta.model.errors import StoreError
from mta.model.rules import NO_HEAD, Build, newest_format
from mta.redis_store import keys, library
from mta.redis_store.libraries import StoredLibraries
from mta.runtime.old_libraries import UNUSED, OldLibraries
from tests.support.stores import Store

OTHER = "fg_00000000"
_CODE = """#!lua name=%s
redis.register_function('%s_accept', function() return 'other' end)
"""


async def load_other(store: Store, name: str = OTHER) -> None:
    for master in store.link._topology.every_master():
        await master.command("FUNCTION LOAD", _CODE % (name, name))


async def drop(store: Store, *names: str) -> None:
    for name in names:
        await store.link.remove_library(name)


async def test_k15_each_build_calls_its_own_steps(open_store):
    store = await open_store()
    await load_other(store)
    await store.link.load_library()
    assert {OTHER, library.NAME} <= await store.link.libraries()
    assert await store.link.command("FCALL", f"{OTHER}_accept", 1, keys.lane_key(0, b"lane")) == b"other"
    assert len(await store.link.call(b"agenda", [keys.lane_key(0, b"lane")], [1, 0])) == 1
    await drop(store, OTHER)


async def test_k15_a_library_that_is_there_is_left_as_it_is(open_store):
    """A name that holds a hash cannot stand for another one, with any text."""
    store = await open_store()
    await drop(store, library.NAME)
    await load_other(store, library.NAME)
    await store.link.load_library()
    assert await store.link.command("FCALL", f"{library.NAME}_accept", 1, keys.lane_key(0, b"lane")) == b"other"
    await drop(store, library.NAME)
    await store.link.load_library()


async def test_k15_a_step_whose_library_was_removed_loads_it_again(open_store):
    store = await open_store()
    await drop(store, library.NAME, library.NAME)
    assert len(await store.link.call(b"agenda", [keys.lane_key(0, b"lane")], [1, 0])) == 1


async def test_k15_a_library_that_cannot_be_loaded_is_an_error(open_store, monkeypatch):
    store = await open_store()
    monkeypatch.setattr(library, "CODE", "#!lua name=fg_11111111\nnonsense")
    with pytest.raises(StoreError, match="compil"):
        await store.link.load_library()


async def test_k15_a_library_that_no_session_names_goes_after_an_hour(open_store):
    store = await open_store()
    now = [0.0]
    keeper = OldLibraries(StoredLibraries(store.link), store.rules, lambda: now[0])
    for name in (OTHER, "fg1", "fg_22222222", "somebody_elses"):
        await load_other(store, name)
    assert (await store.rules.confirm(1, NO_HEAD, (), {})).ok
    registered = await open_store("n2")
    assert (await registered.rules.confirm(1, NO_HEAD, (), {})).ok
    builds = await store.rules.builds()
    assert builds[registered.session.id] == Build(library.NAME, newest_format())
    await _say(store, registered, Build("fg_22222222"))
    await _say(store, "gone.worker.1.00000000", Build(OTHER))  # its session is no more
    await keeper.look()
    assert (await store.rules.builds()).keys() == {store.session.id, registered.session.id}
    now[0] = UNUSED - 1.0
    await keeper.look()
    assert {OTHER, "fg1", "fg_22222222", library.NAME} <= await store.link.libraries()
    now[0] = UNUSED
    await keeper.look()
    assert await store.link.libraries() == {"fg_22222222", "somebody_elses", library.NAME}
    await drop(store, "fg_22222222", "somebody_elses")


async def test_k15_an_hour_without_a_session_begins_when_the_last_one_leaves(open_store):
    store, other = await open_store(), await open_store("n2")
    now = [0.0]
    keeper = OldLibraries(StoredLibraries(store.link), store.rules, lambda: now[0])
    await load_other(store)
    assert (await other.rules.confirm(1, NO_HEAD, (), {})).ok
    await _say(store, other, Build(OTHER))
    await keeper.look()
    now[0] = UNUSED * 2
    await keeper.look()
    await other.rules.leave()
    await keeper.look()
    assert OTHER in await store.link.libraries()
    now[0] += UNUSED
    await keeper.look()
    assert OTHER not in await store.link.libraries()


async def test_k15_the_first_builds_say_nothing_and_keep_their_library(open_store):
    store, other = await open_store(), await open_store("n2")
    now = [0.0]
    keeper = OldLibraries(StoredLibraries(store.link), store.rules, lambda: now[0])
    await load_other(store, "fg1")
    assert (await other.rules.confirm(1, NO_HEAD, (), {})).ok
    await store.link.command("HDEL", keys.RULES_BUILDS, other.session.id)
    await keeper.look()
    now[0] = UNUSED
    await keeper.look()
    assert "fg1" in await store.link.libraries()
    await drop(store, "fg1")


async def _say(store: Store, session: Store | str, build: Build) -> None:
    name = session if isinstance(session, str) else session.session.id
    await store.link.command("HSET", keys.RULES_BUILDS, name, msgspec.json.encode(build))
