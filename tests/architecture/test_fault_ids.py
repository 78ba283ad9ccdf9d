"""tests/FAULTS.md explains the ids in the names of tests, and each id that it explains has a test."""

import ast
import re

from tests.support.sources import ROOT, sources

_EXPLAINED = set(re.findall(r"^\| ([A-Z]\d+) \|", (ROOT / "tests" / "FAULTS.md").read_text("utf-8"), re.M))
_NAMED = {
    found.upper()
    for source in sources("tests")
    for node in ast.walk(source.tree)
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    for found in re.findall(r"(?<![a-z0-9])([diork]\d+)(?=_)", node.name)
    if node.name.startswith("test_")
}


def test_each_fault_that_is_explained_has_a_test() -> None:
    assert sorted(_EXPLAINED - _NAMED) == []


def test_each_id_in_the_name_of_a_test_is_explained() -> None:
    assert sorted(_NAMED - _EXPLAINED) == []
