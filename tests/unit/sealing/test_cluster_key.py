"""Secrets are opened by the key of the cluster under the words that they were sealed with, and by nothing else."""

import asyncio
from pathlib import Path

import pytest

from mta.model.errors import SealError
from mta.sealing.cluster_key import FILE, ClusterKey


class Store:
    """The fingerprint in the store."""

    def __init__(self) -> None:
        self.fingerprint = ""

    async def claim(self, fingerprint: str) -> str:
        self.fingerprint = self.fingerprint or fingerprint
        return self.fingerprint


def node(folder: Path, store: Store) -> ClusterKey:
    folder.mkdir(exist_ok=True)
    return ClusterKey(str(folder), store.claim)


async def test_the_first_secret_makes_the_key_for_the_nodes_user_alone(tmp_path: Path) -> None:
    store = Store()
    sealed = await node(tmp_path, store).seal(b"secret", "dkim:1")
    assert b"secret" not in sealed
    assert (tmp_path / FILE).stat().st_mode & 0o777 == 0o600
    assert node(tmp_path, store).open(sealed, "dkim:1") == b"secret"
    assert await node(tmp_path, store).seal(b"secret", "dkim:1") != sealed


async def test_other_words_another_key_or_a_changed_octet_do_not_open_it(tmp_path: Path) -> None:
    ours = node(tmp_path / "a", Store())
    sealed = await ours.seal(b"secret", "dkim:1")
    with pytest.raises(SealError):
        ours.open(sealed, "dkim:2")
    for at in (0, 5, len(sealed) - 1):
        with pytest.raises(SealError):
            ours.open(sealed[:at] + bytes([sealed[at] ^ 1]) + sealed[at + 1 :], "dkim:1")
    other = node(tmp_path / "b", Store())
    await other.seal(b"x", "y")
    with pytest.raises(SealError, match="copy the file from a node"):
        other.open(sealed, "dkim:1")


async def test_a_node_without_the_key_seals_nothing_until_it_is_copied(tmp_path: Path) -> None:
    store = Store()
    sealed = await node(tmp_path / "a", store).seal(b"secret", "dkim:1")
    late = node(tmp_path / "b", store)
    with pytest.raises(SealError, match="is missing"):
        await late.seal(b"x", "y")
    with pytest.raises(SealError, match="is missing"):
        late.open(sealed, "dkim:1")
    assert list((tmp_path / "b").iterdir()) == []
    (tmp_path / "b" / FILE).write_bytes((tmp_path / "a" / FILE).read_bytes())
    assert late.open(sealed, "dkim:1") == b"secret"
    assert late.open(await late.seal(b"x", "y"), "y") == b"x"


async def test_a_node_with_the_key_of_another_cluster_seals_nothing(tmp_path: Path) -> None:
    store = Store()
    await node(tmp_path / "a", store).seal(b"x", "y")
    await node(tmp_path / "b", Store()).seal(b"x", "y")
    with pytest.raises(SealError, match="another cluster"):
        await node(tmp_path / "b", store).seal(b"x", "y")


async def test_a_node_that_was_killed_before_it_had_the_file_goes_on_with_its_key(tmp_path: Path) -> None:
    store = Store()
    sealed = await node(tmp_path, store).seal(b"secret", "dkim:1")
    (tmp_path / FILE).rename(tmp_path / "cluster.new")
    again = node(tmp_path, store)
    assert again.open(await again.seal(b"x", "y"), "y") == b"x"
    assert again.open(sealed, "dkim:1") == b"secret"


async def test_two_nodes_that_make_the_key_at_once_have_one(tmp_path: Path) -> None:
    store = Store()
    answers = await asyncio.gather(
        *(node(tmp_path / name, store).seal(b"x", "y") for name in "ab"), return_exceptions=True
    )
    assert sum(isinstance(answer, SealError) for answer in answers) == 1


@pytest.mark.parametrize("content", [b"", b"short\n", b"*" * 44])
async def test_a_file_that_holds_no_key_is_named(tmp_path: Path, content: bytes) -> None:
    (tmp_path / FILE).write_bytes(content)
    with pytest.raises(SealError, match="holds no key"):
        await node(tmp_path, Store()).seal(b"x", "y")
