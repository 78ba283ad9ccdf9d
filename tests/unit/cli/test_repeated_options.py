"""An option that takes one value stands once: given twice it is refused before anything is asked or done."""

from collections.abc import Iterator

import click
import pytest
from click.testing import CliRunner

from mta.cli import commands
from mta.cli.main import main


def every_command(
    command: click.Command, words: tuple[str, ...] = ()
) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    yield words, command
    if isinstance(command, click.Group):
        context = click.Context(command)
        for name in command.list_commands(context):
            found = command.get_command(context, name)
            assert found is not None
            yield from every_command(found, (*words, name))


EVERY = list(every_command(main))
SINGLE = [
    pytest.param(words, option, id=" ".join((*words, option.opts[0])))
    for words, command in EVERY
    for option in command.params
    if isinstance(option, click.Option) and not option.multiple and not option.is_eager
]


def given_twice(option: click.Option) -> list[str]:
    name = option.opts[0]
    if option.is_flag:
        return [name, (option.secondary_opts or option.opts)[-1]]
    return [name, "one", name, "two"]


def test_every_command_is_of_the_class_that_counts() -> None:
    assert len(EVERY) > 30
    assert not [words for words, command in EVERY if not isinstance(command, commands.Command | commands.Group)]


@pytest.mark.parametrize(("words", "option"), SINGLE)
def test_o1_a_repeated_single_option_is_refused_by_name(words: tuple[str, ...], option: click.Option) -> None:
    refused = CliRunner().invoke(main, [*words, *given_twice(option)])
    assert refused.exit_code == 2, refused.output
    assert f"{max(option.opts, key=len)} is given 2 times" in refused.stderr


@pytest.mark.parametrize("form", [["--tag=one", "--tag=two"], ["--tag", "one", "--tag=one"]])
def test_o1_however_it_is_written(form: list[str]) -> None:
    refused = CliRunner().invoke(main, ["cancel", *form, "--yes"])
    assert (refused.exit_code, "--tag is given 2 times" in refused.stderr) == (2, True)


def test_options_that_take_each_value_may_repeat() -> None:
    repeatable = {
        (" ".join(words), option.opts[0])
        for words, command in EVERY
        for option in command.params
        if isinstance(option, click.Option) and option.multiple
    }
    assert ("send", "--to") in repeatable
    assert ("errors add", "--tags-all") in repeatable
    assert (
        CliRunner().invoke(main, ["config", "check", "--set", "node.workers=1", "--set", "node.name=a"]).exit_code == 0
    )


def test_help_may_repeat() -> None:
    assert CliRunner().invoke(main, ["cancel", "--help", "--help"]).exit_code == 0
