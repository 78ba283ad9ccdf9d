import ast
import re

import pytest

from tests.support.sources import ROOT, Source, sources

MODULE_LINES = 400
FUNCTION_LINES = 50
PRODUCT = sources("mta", "control_api", "bench")
UNFINISHED = re.compile("|".join(("TO" + "DO", "FIX" + "ME", "XX" + "X", "HA" + "CK", "NotImplemented" + "Error")))


def named(source: Source) -> str:
    return source.name


@pytest.mark.parametrize("source", PRODUCT, ids=named)
def test_modules_are_short_and_open_with_one_sentence(source: Source) -> None:
    docstring = ast.get_docstring(source.tree)
    assert docstring, "no docstring"
    opening = docstring.split("\n\n")[0]
    assert opening.endswith("."), opening
    assert len(source.text.splitlines()) <= MODULE_LINES


@pytest.mark.parametrize("source", PRODUCT, ids=named)
def test_functions_are_short(source: Source) -> None:
    long = [
        (node.name, (node.end_lineno or 0) - node.lineno + 1)
        for node in ast.walk(source.tree)
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))
        and (node.end_lineno or 0) - node.lineno + 1 > FUNCTION_LINES
    ]
    assert long == []


def test_a_folder_with_one_place_is_a_package() -> None:
    """Without `__init__.py` pytest would keep the place, whose node goes on working, until all tests have ended."""
    places = [path.parent for path in (ROOT / "tests").rglob("conftest.py") if path.parent.name != "tests"]
    shared = [folder for folder in places if 'scope="package"' in (folder / "conftest.py").read_text()]
    assert len(shared) > 5
    assert [folder.name for folder in shared if not (folder / "__init__.py").exists()] == []


def test_nothing_is_left_unfinished() -> None:
    files = [path for package in ("mta", "control_api", "bench", "tests") for path in (ROOT / package).rglob("*.py")]
    files += [path for package in ("mta", "control_api") for path in (ROOT / package).rglob("*.lua")]
    assert [str(path.relative_to(ROOT)) for path in files if UNFINISHED.search(path.read_text("utf-8"))] == []


def test_no_module_is_named_after_nothing() -> None:
    vague = {"utils", "util", "helper", "helpers", "manager", "common", "misc"}
    assert [s.name for s in PRODUCT if s.name.rsplit(".")[-1] in vague] == []


@pytest.mark.parametrize("source", sources("mta", "control_api"), ids=named)
def test_nobody_waits_by_wait_for(source: Source) -> None:
    """Up to CPython 3.11 it swallows a cancellation that comes in the moment of what it waits for; asyncio.timeout does
    not."""
    calls = [
        node.lineno for node in ast.walk(source.tree) if isinstance(node, ast.Attribute) and node.attr == "wait_for"
    ]
    assert calls == []
