"""The commands about suppressions."""

import json
from pathlib import Path

from tests.support.commands import Floodgate


def test_a_suppression_is_added_listed_and_removed(floodgate: Floodgate) -> None:
    added = floodgate("suppressions", "add", "Anna@X.test", "--topic", "news", "--expires", "+30d", "--json")
    assert added.exit_code == 0, added.output
    made = json.loads(added.stdout)
    assert (made["address"], made["topic"], made["reason"], made["effective"]) == (
        "anna@x.test", "news", "manual", True,
    )  # fmt: skip
    assert floodgate("suppressions", "add", "y.test", "--reason", "complaint").exit_code == 0
    listed = json.loads(floodgate("suppressions", "list", "--json").stdout)
    assert [one.get("address") or one["domain"] for one in listed] == ["anna@x.test", "y.test"]
    assert "anna@x.test" in floodgate("suppressions", "list", "--topic", "news").stdout
    assert json.loads(floodgate("suppressions", "list", "--reason", "unsubscribe", "--json").stdout) == []
    assert floodgate("suppressions", "remove", "--reason", "complaint", "--dry-run").stdout == "1 match\n"
    assert floodgate("suppressions", "remove", "--reason", "complaint").exit_code == 1, "it asks, and nobody answers"
    assert floodgate("suppressions", "remove", "--reason", "complaint", "--yes").stdout == "removed 1\n"
    assert floodgate("suppressions", "remove", "anna@x.test").stdout == "removed 1\n"
    assert json.loads(floodgate("suppressions", "list", "--json").stdout) == []


def test_a_file_is_imported_and_exports_are_such_files(floodgate: Floodgate, tmp_path: Path) -> None:
    file = tmp_path / "list.csv"
    file.write_text("address,note\nanna@x.test,one\n'+bob@x.test,two\n")
    done = floodgate("suppressions", "import", str(file))
    assert (done.exit_code, done.stdout) == (0, "2 added, 0 replaced, 0 refused of 2 rows\n"), done.output
    exported = tmp_path / "out.ndjson"
    exported.write_bytes(floodgate("suppressions", "export").stdout_bytes)
    again = floodgate("suppressions", "import", str(exported), "--json")
    assert json.loads(again.stdout)["replaced"] == 2
    assert "'+bob@x.test" in floodgate("suppressions", "export", "--format", "csv").stdout
    file.write_text("address\nanna\n")
    wrong = floodgate("suppressions", "import", str(file))
    assert wrong.exit_code == 1
    assert "line 2: address: is not an address" in wrong.stderr


def test_options_that_make_no_sense_are_refused(floodgate: Floodgate) -> None:
    assert floodgate("suppressions", "remove").exit_code == 2
    assert floodgate("suppressions", "remove", "a@x.test", "--address", "b@x.test").exit_code == 2
