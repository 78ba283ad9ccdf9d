"""The statement of a rule as a page to hand on: what became of the mail in sentences, then the figures."""

import html
from collections.abc import Iterator
from typing import Final

import msgspec

from mta.model.statements import RuleStatement
from mta.model.text import visible
from mta.policy.statement_text import sentences_of

_STYLE: Final = (
    "body{font:16px/1.5 system-ui,sans-serif;max-width:44rem;margin:2rem auto;padding:0 1rem;color:#1a1a1a}"
    "table{border-collapse:collapse}td{padding:.15rem 1.5rem .15rem 0;border-bottom:1px solid #ddd}"
    "td:last-child{text-align:right;font-variant-numeric:tabular-nums}footer{color:#666;font-size:.85rem}"
)
_NAMES: Final = {
    "accepted": "accepted",
    "matched": "met by the rule",
    "intercepted.queued": "stopped in their queue",
    "intercepted.attempt": "stopped before an attempt",
    "intercepted.before_dot": "stopped before the final dot",
    "intercepted.door": "stopped at their acceptance",
    "delivered.before": "delivered before the rule was effective",
    "delivered.after": "delivered, past the final dot when the rule became effective",
    "deferred": "deferred",
    "queued": "queued",
    "held": "held",
    "other": "ended otherwise, or left alone",
    "undone": "returned by an undo",
    "uncertain": "stopped, but may have arrived",
    "undoable": "can be returned by an undo",
}


def figures_of(statement: RuleStatement) -> Iterator[tuple[str, int]]:
    """The counts that are known and not 0, with their names for people."""
    found = msgspec.to_builtins(statement)
    for name, words in _NAMES.items():
        outer, _, inner = name.partition(".")
        value = found.get(outer, 0)
        count = value.get(inner, 0) if inner else value
        if count:
            yield words, count


def lines_of(statement: RuleStatement) -> list[str]:
    """As plain text."""
    figures = list(figures_of(statement))
    width = max((len(words) for words, _ in figures), default=0)
    return [
        *sentences_of(statement),
        *([""] if figures else []),
        *(f"{words:<{width}}  {count:>12,}" for words, count in figures),
    ]


def page_of(statement: RuleStatement) -> str:
    """As HTML that needs nothing else."""
    first, *others = map(html.escape, sentences_of(statement))
    rows = "".join(
        f"<tr><td>{html.escape(words)}</td><td>{count:,}</td></tr>" for words, count in figures_of(statement)
    )
    rule = html.escape(visible(statement.rule))
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width"><title>Statement</title>'
        f"<style>{_STYLE}</style></head>\n<body><h1>{first}</h1>\n"
        f"{''.join(f'<p>{sentence}</p>' for sentence in others)}\n<table>{rows}</table>\n"
        f"<footer>Rule {rule}, generation {statement.generation}, as of {html.escape(statement.as_of)}; times are UTC."
        "</footer></body></html>\n"
    )
