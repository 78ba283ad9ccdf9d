"""The command `floodgate`: subcommands are loaded when they are called, so that each starts as fast as it can."""

import gc
import importlib
import sys

if __name__ == "__main__" and not sys.flags.safe_path:
    del sys.path[0]  # the current folder (`python -m`): no module in it may pass for one of ours or of our libraries

import click

from mta.cli import commands
from mta.runtime.collector import collect_from_now_on

# Name of the subcommand: its module (which has `command`), and its line in `floodgate --help`.
COMMANDS = {
    "node": ("mta.cli.node", "Run a node: accept mail, deliver it, answer the API."),
    "demo": ("mta.cli.demo", "Show the main job on this machine: cancel a campaign while it is delivered."),
    "sink": ("mta.cli.sink", "Run a destination that accepts, defers, refuses or stalls by address."),
    "send": ("mta.cli.send", "Hand a message in over SMTP."),
    "cancel": ("mta.cli.cancel", "Cancel all queued mail of a tag on every node, and print the account."),
    "freeze": ("mta.cli.freeze", "Hold all queued mail of a tag on every node, and print the account."),
    "thaw": ("mta.cli.thaw", "Lift the pause of a tag, and wait until all held mail is released."),
    "errors": (
        "mta.cli.errors",
        "Forced errors: add, list, show, edit, enable, disable, remove, statement, deliveries, undo.",
    ),
    "pauses": ("mta.cli.pauses", "Pauses: add, list, show, remove, release, convert, statement."),
    "brakes": ("mta.cli.brakes", "Brakes, which make rules by themselves: add, list, show, remove."),
    "queues": ("mta.cli.queues", "Queues: list, messages, retry, move, shape."),
    "explain": ("mta.cli.explain", "Say which rule decides about mail, and what holds it up."),
    "messages": ("mta.cli.messages", "Messages: show, cancel, list, history, content, resend."),
    "log": ("mta.cli.log", "The history of deliveries: search, export, forget."),
    "stats": ("mta.cli.stats", "Show how much mail was accepted and how it ended."),
    "parked": ("mta.cli.parked", "Parked mail: list, release, remove."),
    "workers": ("mta.cli.workers", "List the processes of the cluster and the rules that they have confirmed."),
    "suppressions": ("mta.cli.suppressions", "Suppressed recipients: list, add, remove, import, export."),
    "pools": ("mta.cli.pools", "IP pools: list, show, set, remove, add-ip, remove-ip."),
    "tenants": ("mta.cli.tenants", "Tenants: list, show, set, suspend, resume."),
    "templates": ("mta.cli.templates", "Templates of mail: list, show, put, publish, render, remove."),
    "token": ("mta.cli.tokens", "API tokens: create, list, revoke."),
    "replies": ("mta.cli.replies", "Knowledge about replies: list, unknown, set, remove."),
    "limits": ("mta.cli.limits", "Limits of sites for the whole cluster: list, set, remove."),
    "reactions": ("mta.cli.reactions", "Reactions to replies of destinations: list."),
    "dkim": ("mta.cli.dkim", "DKIM keys: add, list, rotate, check, remove."),
    "domains": ("mta.cli.domains", "Domains of senders: check."),
    "webhooks": ("mta.cli.webhooks", "Webhooks: add, list, test, rotate, enable, replay, remove."),
    "audit": ("mta.cli.audit", "List orders, with actor, time and origin."),
    "history": ("mta.cli.history", "History: skip."),
    "tail": ("mta.cli.tail", "Follow the delivery log live."),
    "config": ("mta.cli.config", "Check or show settings."),
}


class _LazyGroup(commands.Group):
    """A group that imports a subcommand when it is asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        module = COMMANDS[cmd_name][0]
        if module not in sys.modules:
            gc.disable()
            importlib.import_module(module)
            collect_from_now_on()
        command = sys.modules[module].command
        assert isinstance(command, click.Command)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, prose) for name, (_, prose) in COMMANDS.items()])


@commands.group(cls=_LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="floodgate-mta", prog_name="floodgate")
def main() -> None:
    """Floodgate, a mail transfer agent with control after acceptance."""


if __name__ == "__main__":
    main(prog_name="floodgate")
