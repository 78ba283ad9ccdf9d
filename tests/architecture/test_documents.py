"""The documents: links lead somewhere, every page is found from the README, and commands that are named exist."""

import re
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from mta.cli.main import main
from tests.support.sources import ROOT

PAGES = sorted(
    [
        *ROOT.glob("*.md"),
        *ROOT.glob("docs/*.md"),
        ROOT / "bench" / "README.md",
        ROOT / "tests" / "FAULTS.md",
        ROOT / "mta" / "smtp" / "RFCS.md",
    ],
    key=str,
)
LINK = re.compile(r"\]\(([^)#]+)(?:#[^)]*)?\)")
COMMAND = re.compile(r"(?:^|[`/ (|])floodgate ((?:[a-z]+ ?){1,2})", re.MULTILINE)
CODE = re.compile(r"```.*?```|`[^`\n]+`", re.DOTALL)


def name_of(page: Path) -> str:
    return str(page).removeprefix(f"{ROOT}/")


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_links_lead_somewhere_in_the_repository(page: Path) -> None:
    text = page.read_text("utf-8")
    dead = [link for link in LINK.findall(text) if not (page.parent / link).exists()]
    assert dead == []


def test_the_readme_is_short_and_leads_to_every_page() -> None:
    text = (ROOT / "README.md").read_text("utf-8")
    assert len(text.splitlines()) <= 150
    found, ahead = set[str](), ["README.md"]
    while ahead:
        name = ahead.pop()
        if name in found or not name.endswith(".md"):
            continue
        found.add(name)
        page = ROOT / name
        ahead += [name_of((page.parent / link).resolve()) for link in LINK.findall(page.read_text("utf-8"))]
    assert {name_of(page) for page in ROOT.glob("docs/*.md")} - found == set()


def commands(page: Path) -> Iterator[list[str]]:
    for code in CODE.findall(page.read_text("utf-8")):
        for words in COMMAND.findall(code):
            yield words.split()


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_commands_that_are_named_exist(page: Path) -> None:
    unknown = []
    for words in commands(page):
        at: click.Command = main
        for word in words:
            if not isinstance(at, click.Group):
                break
            found = at.get_command(click.Context(at), word)
            if found is None:
                unknown.append(" ".join(words))
                break
            at = found
    assert unknown == []


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_files_that_are_named_exist(page: Path) -> None:
    named = re.findall(r"`(\w+/[\w/]+\.(?:py|lua))`", page.read_text("utf-8"))
    places = (ROOT, ROOT / "mta", ROOT / "mta" / "smtp", ROOT / "mta" / "redis_store" / "steps", page.parent)
    assert [name for name in named if not any((place / name).exists() for place in places)] == []
