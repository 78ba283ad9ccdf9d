"""tests/FAULTS.md and tests/CHECKLIST.md explain the ids that tests name, and each id that they explain has a test."""

import re

from tests.support.sources import ROOT, sources

_TEST = re.compile(r"^ *(?:async )?def (test_\w+)\(", re.MULTILINE)
_FIRST_LINE = re.compile(r'\A"""([^\n]*)')  # of a module's docstring


def explained(page: str) -> set[str]:
    return set(re.findall(r"^\| ([A-Z]\d+) \|", (ROOT / "tests" / page).read_text("utf-8"), re.M))


def in_names(letters: str) -> set[str]:
    return {
        found.upper()
        for source in sources("tests")
        for name in _TEST.findall(source.text)
        for found in re.findall(rf"(?<![a-z0-9])([{letters}]\d+)(?=_)", name)
    }


def in_first_sentences(letters: str) -> set[str]:
    return {
        f"{letter}{number}"
        for source in sources("tests")
        for first in _FIRST_LINE.findall(source.text)
        for inside in re.findall(r"\(([^)]*)\)", first)
        for letter, number in re.findall(rf"\b([{letters}])-?(\d+)\b", inside)
    }


def test_each_fault_that_is_explained_has_a_test() -> None:
    assert sorted(explained("FAULTS.md") - in_names("diork")) == []


def test_each_id_in_the_name_of_a_test_is_explained() -> None:
    assert sorted(in_names("diork") - explained("FAULTS.md")) == []


def test_each_point_of_the_checklist_is_named_by_a_test_and_explained() -> None:
    named = in_names("scaf") | in_first_sentences("SCAF")
    assert sorted(named ^ explained("CHECKLIST.md")) == []
