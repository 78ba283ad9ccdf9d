"""Options that many commands have."""

import click

LIMIT = click.option("--limit", type=click.IntRange(1), default=100, help="List at most so many (default 100).")
ALL = click.option("--all", "everything", is_flag=True, help="List all of them.")
AS_JSON = click.option("--json", "as_json", is_flag=True, help="Print JSON.")
