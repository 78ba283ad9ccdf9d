"""`floodgate errors add | remove --from FILE`: rules from NDJSON and CSV, by chunks, with the line of what is wrong."""

import json
from pathlib import Path
from typing import Any

import pytest

from mta.cli import rule_file
from tests.support.node_and_sink import NodeAndSink
from tests.support.shell import Shell


@pytest.fixture
def shell(place: NodeAndSink) -> Shell:
    made = Shell(place.node, place.sink)
    made.environ["FLOODGATE_TOKEN"] = str(place.node.token)
    return made


def rules(place: NodeAndSink) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = place.call("GET", "/v1/errors")
    return found


def test_rules_come_from_csv_and_go_by_their_ids(place: NodeAndSink, shell: Shell, tmp_path: Path) -> None:
    path = tmp_path / "rules.csv"
    path.write_text('tag,domain,code,tags_all\nspring,a.test,,"x y"\nspring,,450,\n"su,mmer",b.test,,\n')
    said = shell.run("errors", "add", "554", "--from", str(path), "--reason", "ended", "--yes")
    assert said.status == 0, said
    (set_id,) = said.out.split()
    assert f"3 made; set {set_id} is effective since 2" in said.err
    found = rules(place)
    assert [(r["tag"], r.get("domain"), r["code"], r.get("tags_all"), r["reason"]) for r in found] == [
        ("spring", "a.test", 554, ["x", "y"], "ended"),
        ("spring", None, 450, None, "ended"),
        ("su,mmer", "b.test", 554, None, "ended"),
    ]
    statement = shell.run("errors", "statement", "--set", set_id, "--json")
    assert (statement.json["rules"], statement.json["standing"]) == (3, 3)
    ids = tmp_path / "ids"
    ids.write_text(shell.run("errors", "list", "--quiet").out)
    gone = shell.run("errors", "remove", "--from", str(ids))
    assert gone.status == 0, gone
    assert "3 removed; set " in gone.err
    assert rules(place) == []


def test_rules_come_from_ndjson_in_chunks_and_a_bad_line_is_named(
    place: NodeAndSink, shell: Shell, tmp_path: Path
) -> None:
    path = tmp_path / "rules.ndjson"
    good = [json.dumps({"code": 554, "tag": f"t{n}"}) for n in range(20)]
    path.write_text("\n".join([*good, "", json.dumps({"code": 954, "tag": "bad"})]))
    said = shell.run("errors", "add", "--from", str(path), "--yes")
    assert (said.status, said.out) == (1, "")
    assert "line 22: code: " in said.err
    assert "nothing was changed" in said.err
    assert rules(place) == []
    path.write_text("\n".join(good))
    made = shell.run("errors", "add", "--from", str(path), "--yes", "--json").json
    assert [len(answer["rules"]) for answer in made] == [20]
    listed = tmp_path / "ids.ndjson"
    listed.write_text("".join(json.dumps({"id": one, "tag": "x"}) + "\n" for one in made[0]["rules"]))
    assert shell.run("errors", "remove", "--from", str(listed)).status == 0
    assert rules(place) == []
    assert rule_file.CHUNK <= 10_000


def test_what_cannot_be_meant_is_refused_before_anything_is_sent(shell: Shell, tmp_path: Path) -> None:
    path = tmp_path / "rules"
    path.write_text("tag\na\n")
    for words, why in (
        (("add", "--from", str(path)), "--yes"),
        (("add", "--yes"), "give CODE, or --from"),
        (("remove",), "give an ID, or --from"),
        (("add", "--from", str(tmp_path / "none"), "--yes"), "cannot be read"),
    ):
        said = shell.run("errors", *words)
        assert said.status == 2, said
        assert why in said.err
    path.write_text("tag,code\na,554,7\n")
    assert "line 2: has more cells" in shell.run("errors", "add", "--from", str(path), "--yes").err
    path.write_text('{"tag": "a"}\nnothing\n')
    assert "line 2: is not JSON" in shell.run("errors", "add", "554", "--from", str(path), "--yes").err
