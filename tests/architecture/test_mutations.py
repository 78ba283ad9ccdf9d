"""The table of mutations names lines and tests that exist; `make mutations` tries them."""

import pytest

from tests.mutations.mutation import Mutation
from tests.mutations.table import MUTATIONS
from tests.support.sources import ROOT


@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda mutation: mutation.name)
def test_a_mutation_is_of_one_place_and_has_its_test(mutation: Mutation) -> None:
    assert mutation.old != mutation.new
    whole = (ROOT / mutation.file).read_text("utf-8")
    assert whole.count(mutation.old) == 1, "this line has changed: mend the table"
    if mutation.file.endswith(".py"):
        compile(whole.replace(mutation.old, mutation.new), mutation.file, "exec")
    path, _, name = mutation.test.partition("::")
    assert f"def {name.partition('[')[0]}(" in (ROOT / path).read_text("utf-8")


def test_each_is_tried_once() -> None:
    names = [mutation.name for mutation in MUTATIONS]
    assert len(names) == len(set(names))
