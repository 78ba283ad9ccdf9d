import subprocess
import sys

from click.testing import CliRunner

from mta.cli.main import COMMANDS, main


def test_help_names_every_command_without_loading_it() -> None:
    result = CliRunner().invoke(main, ["--help"])
    assert result.exit_code == 0
    assert all(f"\n  {name} " in result.output for name in COMMANDS)
    script = (
        "import sys; from mta.cli.main import main; main(['--help'], standalone_mode=False);"
        "print([m for m in sorted(sys.modules) if m.startswith('mta.cli.')])"
    )
    ran = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=90)
    assert ran.stdout.splitlines()[-1] == "['mta.cli.commands', 'mta.cli.main']"


def test_a_command_is_loaded_when_it_is_called() -> None:
    result = CliRunner().invoke(main, ["config", "check"])
    assert (result.exit_code, result.output) == (0, "ok\n")


def test_an_unknown_command_is_a_usage_error() -> None:
    assert CliRunner().invoke(main, ["konfig"]).exit_code == 2
