import json
import re
import tomllib
from pathlib import Path

import pytest
from click.testing import CliRunner

from mta.cli.config import command
from mta.settings_file import load_settings
from mta.settings_file.text import defaults_text
from tests.support.sources import ROOT


@pytest.fixture
def wrong(tmp_path: Path) -> str:
    path = tmp_path / "f.toml"
    path.write_text("[smtp]\nmax_conections = 5\n")
    return str(path)


def test_check_says_ok() -> None:
    result = CliRunner().invoke(command, ["check", "--set", "smtp.max_errors=3"])
    assert (result.exit_code, result.stdout) == (0, "ok\n")


def test_check_says_what_is_wrong_and_exits_1(wrong: str) -> None:
    result = CliRunner().invoke(command, ["check", "--config", wrong])
    message = f"{wrong}: smtp.max_conections: unknown key; did you mean max_connections?"
    assert (result.exit_code, result.stdout, result.stderr) == (1, "", f"floodgate: {message}\n")
    result = CliRunner().invoke(command, ["check", "--json", "--config", wrong])
    assert (result.exit_code, json.loads(result.stdout)) == (
        1,
        {"ok": False, "error": message, "faults": [message]},
    )


def test_check_in_json() -> None:
    assert json.loads(CliRunner().invoke(command, ["check", "--json"]).stdout) == {"ok": True}


def test_show_prints_what_is_in_force_with_units() -> None:
    result = CliRunner().invoke(command, ["show", "--set", "delivery.lease=90"])
    assert tomllib.loads(result.stdout)["delivery"]["lease"] == "90s"
    result = CliRunner().invoke(command, ["show", "--json", "--set", "delivery.lease=120"])
    assert json.loads(result.stdout)["delivery"]["lease"] == "2m"


def test_show_refuses_wrong_settings(wrong: str) -> None:
    assert CliRunner().invoke(command, ["show", "--config", wrong]).exit_code == 1


def test_show_defaults_is_the_documented_file() -> None:
    assert CliRunner().invoke(command, ["show", "--defaults"]).stdout == defaults_text()
    assert json.loads(CliRunner().invoke(command, ["show", "--defaults", "--json"]).stdout)["node"]["name"] == ""


def test_show_defaults_takes_no_file(wrong: str) -> None:
    assert CliRunner().invoke(command, ["show", "--defaults", "--config", wrong]).exit_code == 2


def test_r7_the_settings_file_of_the_documents_is_one_that_a_node_starts_with(tmp_path: Path) -> None:
    page = (ROOT / "docs" / "operations.md").read_text("utf-8")
    text = re.findall(r"```toml\n(.*?)```", page, re.DOTALL)[0]
    path = tmp_path / "floodgate.toml"
    path.write_text(text, "utf-8")
    checked = CliRunner().invoke(command, ["check", "--config", str(path)])
    assert (checked.exit_code, checked.stderr) == (0, ""), checked.output
    settings = load_settings(path, [], {"STATE_DIRECTORY": str(tmp_path)})
    assert not all(address.is_loopback for address in settings.smtp.listen), "it takes mail of other hosts"
    assert settings.pools["default"].ips, "it has sending IPs of its own"
