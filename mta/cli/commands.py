"""The click classes of every command: an option that takes one value may stand once on the command line."""

from collections import Counter
from collections.abc import Callable
from typing import Any

import click

Function = Callable[..., Any]


class Command(click.Command):
    """A command that refuses a repeated single option. click alone keeps the last value and drops the others."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        refuse_repeated(self, ctx, args)
        return super().parse_args(ctx, args)


class Group(click.Group):
    """A group whose subcommands are `Command`s."""

    command_class = Command

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        refuse_repeated(self, ctx, args)
        return super().parse_args(ctx, args)


def command(name: str | None = None, **attributes: Any) -> Callable[[Function], Command]:
    """The decorator that `click.command` is, with our class."""
    return click.command(name, cls=Command, **attributes)


def group(name: str | None = None, cls: type[Group] = Group, **attributes: Any) -> Callable[[Function], Group]:
    """The decorator that `click.group` is, with our class."""
    return click.group(name, cls=cls, **attributes)


def refuse_repeated(command: click.Command, ctx: click.Context, args: list[str]) -> None:
    """Raises UsageError that names the option. `--help` and `--version` take no value and may repeat."""
    if ctx.resilient_parsing:
        return
    _, _, order = command.make_parser(ctx).parse_args(list(args))
    for parameter, times in Counter(order).items():
        if isinstance(parameter, click.Option) and times > 1 and not may_repeat(parameter):
            name = max(parameter.opts, key=len)
            raise click.UsageError(f"{name} is given {times} times and takes one value; give it once", ctx)


def may_repeat(option: click.Option) -> bool:
    """Whether the command takes each value, or the option takes none and changes nothing."""
    return option.multiple or option.count or option.is_eager
