from pathlib import Path

import pytest

from bench.__main__ import arguments
from bench.relay import scenarios_of
from bench.scenario_file import BadScenario, find, named, read
from bench.size_mix import size_mix
from bench.source import _arguments as source_arguments


def written(place: Path, text: str) -> Path:
    path = place / "mine.toml"
    path.write_text(text)
    return path


def test_every_scenario_that_comes_along_can_be_run() -> None:
    found = named()
    assert next(iter(found)) == "main"
    assert {"size-50k", "backlog", "cancel-in-the-middle", "half-rate", "rules-10000", "signed-rsa"} <= set(found)
    for scenario in found.values():
        load = scenario.as_load()
        given = source_arguments(["--target", "x:1", "--sizes", load.sizes, *load.source])
        assert round(sum(given.sizes) / len(given.sizes)) == load.size


def test_a_file_says_what_source_sink_and_node_are_given(tmp_path: Path) -> None:
    path = written(
        tmp_path,
        """
        about = "mine"
        [load]
        messages = 7
        sizes = [[1000, 0.9], [2000, 0.1]]
        recipients = 3
        reconnect = true
        [destination]
        stall = 1
        stall_seconds = 4
        delay_ms = 500
        tls = true
        [node]
        workers = 1
        settings = ["delivery.tls=required"]
        """,
    )
    scenario = find(str(path))
    load = scenario.as_load()
    assert scenario.name == "mine"
    assert (load.messages, load.size, load.recipients, load.workers) == (7, 1100, 3, 1)
    assert size_mix(load.sizes).count(2000) * 9 == size_mix(load.sizes).count(1000)
    assert load.source == ("--reconnect",)
    assert "--tls" in load.destination
    assert load.patience == 4.5
    assert load.settings == ["delivery.tls=required"]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a = = 1", ["it is not TOML", "line 1"]),
        ("[load]", ["about: it is missing", "one sentence"]),
        ("about = 'a'\nlaod = 1", ["laod: unknown key", "perhaps load is meant"]),
        ("about = 'a'\n[load]\nmesages = 4", ["load.mesages: unknown key", "perhaps messages is meant"]),
        ("about = 'a'\n[shape]\nzzz = 4", ["shape.zzz: unknown key", "known are backlog_first, rules"]),
        ("about = 'a'\n[load]\nmessages = '4'", ["load.messages: Expected int, got str", "as 50_000"]),
        ("about = 'a'\n[load]\nmessages = 0", ["load.messages: Expected int >= 1", "as 50_000"]),
        ("about = 'a'\n[load]\nsizes = [[10, 1.0]]", ["load.sizes: Expected int >= 256", "[[4096, 0.7]"]),
        ("about = 'a'\n[load]\nsizes = [[4096, 0.5]]", ["load.sizes: the shares add up to 0.5"]),
        ("about = 'a'\n[load]\nsizes = [[4096, 0.3333], [300, 0.6667]]", ["load.sizes", "three decimals"]),
        ("about = 'a'\n[destination]\ndefer = 101", ["destination.defer: Expected float <= 100", "as 20"]),
        ("about = 'a'\nload = 3", ["load: Expected object, got int"]),
        ("about = 'a'\n[node]\nsettings = ['x']", ["node.settings: 'x' sets nothing", "KEY=VALUE"]),
        ("about = 'a'\n[load]\nrate = 5\n[shape]\nof_maximum = 0.5", ["load.rate", "leave one of them out"]),
        ("about = 'a'\n[shape]\nbacklog_first = true\ncancel_at = 0.5", ["shape.backlog_first"]),
        ("about = 'a'\nname = 'b'", ["name: unknown key"]),
    ],
)
def test_a_bad_file_is_told_with_file_field_reason_and_remedy(tmp_path: Path, text: str, words: list[str]) -> None:
    path = written(tmp_path, text)
    with pytest.raises(BadScenario) as caught:
        read(path)
    message = str(caught.value)
    assert message.startswith(f"{path}: ")
    assert [word for word in words if word not in message] == []


def test_a_name_that_nothing_has_is_told_with_those_that_there_are(tmp_path: Path) -> None:
    with pytest.raises(BadScenario, match=r"ordres: there is no such scenario.*backlog, .*size-50k"):
        find("ordres")
    with pytest.raises(BadScenario, match="cannot be read"):
        find(str(tmp_path / "none.toml"))


def test_the_command_line_overrides_what_the_files_say() -> None:
    words = ["main", "troubled-destination", "main", "--messages", "9", "--workers", "1", "--set", "rules.max_rules=1"]
    found = scenarios_of(arguments(words))
    assert [scenario.name for scenario in found] == ["main", "troubled-destination", "main#2"]
    assert {scenario.load.messages for scenario in found} == {9}
    assert {scenario.node.workers for scenario in found} == {1}
    assert found[0].node.settings == ("rules.max_rules=1",)
    assert found[1].node.settings == ('delivery.retries=["1s"]', "rules.max_rules=1")
