"""Points of the checklist that the tree shows: patterns (A14), rights of the service (A18), dependencies (A19)."""

import ast
import configparser
import re
import tomllib

import pytest

from tests.support.sources import ROOT, sources

# Modules that make a pattern of other texts: escaped ones, digits, or constants that a function hands on.
_MAKES_ITS_OWN = {
    "mta.content.header_block",
    "mta.content.seven_bit",
    "mta.policy.reactions",
    "mta.policy.replies",
    "control_api.schemas.text_values",
    "control_api.schemas.reply_shapes",
}
_TAKES_A_PATTERN = {"compile", "match", "fullmatch", "search", "sub", "split", "findall", "finditer"}


def _names_in(node: ast.AST) -> set[str]:
    return {found.id for found in ast.walk(node) if isinstance(found, ast.Name)}


def test_a14_no_pattern_of_the_backtracking_engine_comes_from_outside() -> None:
    """Each is written in the source, or made of constants; patterns of users go to RE2."""
    found = [
        f"{source.name}:{node.lineno}"
        for source in sources("mta", "control_api")
        if source.name not in _MAKES_ITS_OWN
        for node in ast.walk(source.tree)
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and isinstance(node.func.value, ast.Name)
        and node.func.value.id == "re"
        and node.func.attr in _TAKES_A_PATTERN
        and not all(name.lstrip("_").isupper() for name in _names_in(node.args[0]) - {"patterns"})
    ]
    assert found == []


def _unit() -> configparser.SectionProxy:
    read = configparser.ConfigParser(strict=False, interpolation=None)
    read.optionxform = str  # type: ignore[assignment,method-assign]
    (path,) = (ROOT / "systemd").glob("*.service")
    read.read_string(path.read_text("utf-8"))
    return read["Service"]


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("DynamicUser", "yes"),
        ("NoNewPrivileges", "yes"),
        ("ProtectSystem", "strict"),
        ("ProtectHome", "yes"),
        ("PrivateDevices", "yes"),
        ("CapabilityBoundingSet", "CAP_NET_BIND_SERVICE"),
        ("AmbientCapabilities", "CAP_NET_BIND_SERVICE"),
        ("MemoryDenyWriteExecute", "yes"),
        ("UMask", "0027"),
        ("StateDirectoryMode", "0750"),
    ],
)
def test_a18_the_service_has_no_right_that_it_does_not_need(key: str, value: str) -> None:
    assert _unit().get(key) == value


def _plain(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def _required() -> set[str]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    wanted = [
        *project["dependencies"],
        *(each for extra in project["optional-dependencies"].values() for each in extra),
    ]
    names = {_plain(re.split(r"[\[<>=~!;@ ]", each)[0]) for each in wanted}
    return names - {_plain(project["name"])}


def test_a19_each_dependency_has_one_exact_version_for_each_python_and_no_address() -> None:
    lines = [line for line in (ROOT / "constraints.txt").read_text("utf-8").splitlines() if line and line[0] != "#"]
    exact = re.compile(r"([A-Za-z0-9._-]+)==[0-9][A-Za-z0-9.+!]*( ?;.*)?")
    assert [line for line in lines if not exact.fullmatch(line)] == []
    pinned = {_plain(line.partition("==")[0]) for line in lines}
    assert sorted(_required() - pinned) == []


def test_a19_a_vulnerability_has_somewhere_to_go() -> None:
    assert "## Report a vulnerability" in (ROOT / "SECURITY.md").read_text("utf-8")
