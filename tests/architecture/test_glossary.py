"""The glossary has each word of the statements, the log and the answers about messages, each of them once."""

import re

import msgspec
import pytest

from mta.model.events import EventType
from mta.model.outcomes import Class, ReturnReason, Stage
from mta.model.statements import RuleAccount, RuleDelivered, TagStatement
from mta.model.status import Reason, Status
from tests.support.sources import ROOT

# Fields of statements that say which account it is, and for when.
_ABOUT = {"as_of", "tag", "rule", "rules", "effective_at", "quiet_at", "removed_at", "undo_until", "code"}
_IN_WORDS = {"why_incomplete"}  # a sentence


def _words() -> list[str]:
    """The first cell of each row, as it is written there."""
    text = (ROOT / "docs" / "glossary.md").read_text("utf-8")
    return [found.replace("`", "") for found in re.findall(r"^\| ([^|]+?) \|", text, re.MULTILINE)]


def _figures() -> set[str]:
    names = {field.name for kind in (TagStatement, RuleAccount) for field in msgspec.structs.fields(kind)}
    parts = {f"delivered.{field.name}" for field in msgspec.structs.fields(RuleDelivered)}
    return names - _ABOUT - _IN_WORDS | parts


@pytest.mark.parametrize(
    "shown",
    [
        pytest.param({str(member) for member in Class}, id="classes"),
        pytest.param({str(member) for member in Stage}, id="stages"),
        pytest.param({str(member) for member in EventType}, id="events"),
        pytest.param({str(member) for member in Status}, id="statuses"),
        pytest.param({str(member) for member in Reason}, id="reasons"),
        pytest.param({str(member) for member in ReturnReason}, id="returns"),
        pytest.param(_figures(), id="figures"),
    ],
)
def test_the_glossary_has_each_word_that_is_shown(shown: set[str]) -> None:
    known = {word.partition(" (")[0] for word in _words()}
    assert shown - known == set(), "each needs a row in docs/glossary.md"


def test_no_word_stands_there_twice() -> None:
    words = [word for word in _words() if word not in ("word", "reason")]  # headings
    assert sorted(word for word in set(words) if words.count(word) > 1) == []
