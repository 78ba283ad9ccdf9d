"""The Lua files of the atomic steps keep to what a linter asks."""

from pathlib import Path

from tests.support.lua_lint import Linter
from tests.support.sources import ROOT

FILES = sorted((ROOT / "mta/redis_store/steps").glob("*.lua"))
MOST_LOCALS = 200  # of one chunk, by Lua 5.1 (LUAI_MAXVARS)


def faults(*texts: str, folder: Path) -> list[str]:
    paths = []
    for number, text in enumerate(texts, 1):
        paths.append(folder / f"{number}.lua")
        paths[-1].write_text(text)
    linter = Linter()
    linter.read(paths)
    return linter.faults


def test_every_name_is_known_and_every_local_is_read() -> None:
    linter = Linter()
    linter.read(FILES)
    assert linter.faults == []


def test_lines_are_short() -> None:
    lines = [(path.name, at, line) for path in FILES for at, line in enumerate(path.read_text("utf-8").splitlines(), 1)]
    assert [f"{name}:{at}" for name, at, line in lines if len(line) > 120] == []


def test_the_linter_finds_what_it_is_for(tmp_path: Path) -> None:
    assert faults("local a = 1\nlocal b = c\nd = a\n", folder=tmp_path) == [
        "1.lua:2: c is no local, and no global of the server",
        "1.lua:3: d is assigned as a global",
        "1.lua:2: nothing reads the local b",
    ]
    assert faults("local function f(x)\n  local y = x\nend\nfor i, v in ipairs({}) do f(i) end\n", folder=tmp_path) == [
        "1.lua:2: nothing reads the local y"
    ]
    assert faults("function f() end\nlocal a = a\n", folder=tmp_path)[:2] == [
        "1.lua:1: function f is a global",
        "1.lua:2: a is no local, and no global of the server",
    ]
    assert faults("local a, a = 1, 2\nreturn a", folder=tmp_path) == ["1.lua:1: a is declared twice in one block"]


def test_a_local_is_known_in_the_files_behind_and_in_closures(tmp_path: Path) -> None:
    first = "local many = 0\nlocal function add(t)\n  t.x = { many = 1, [many] = 2 }\n  many = many + 1\nend\n"
    second = "table.sort({}, function(x, y) return x < y end)\nrepeat local u = add({}) until u\n"
    assert faults(first, second, folder=tmp_path) == []


def test_the_chunk_has_room_for_more_locals() -> None:
    top = sum(
        1 if line.startswith("local function") else line.partition("=")[0].count(",") + 1
        for path in FILES
        for line in path.read_text("utf-8").splitlines()
        if line.startswith("local ")
    )
    assert top < MOST_LOCALS - 20
