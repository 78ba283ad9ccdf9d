"""Chains and nests of a template: refused before the engine, which would end the process. Each runs in a process of its
own."""

import subprocess
import sys
from bisect import bisect_left

import pytest

from mta.content.template_bounds import MAX_OPEN, MAX_TOKENS, excess

CHAINS = {
    "sum": ("{{ 1", "+1", "", " }}"),
    "minus": ("{{ ", "-", "", "1 }}"),
    "not": ("{{ ", "not ", "", "1 }}"),
    "parentheses": ("{{ ", "(", "1)", " }}"),
    "lists": ("{{ ", "[", "]", " }}"),
    "objects": ("{{ ", "{'a':", "}", " }}"),
    "braces before": ("{{ {'a':{'b':1}}", "+1", "", " }}"),
    "filters": ("{{ 1", "|upper", "", " }}"),
    "attributes": ("{{ a", ".a", "", " }}"),
    "subscripts": ("{{ a", "[0]", "", " }}"),
    "nested subscripts": ("{{ a", "[a", "]", " }}"),
    "calls": ("{{ a", "()", "", " }}"),
    "concatenation": ("{{ 1", "~1", "", " }}"),
    "comparisons": ("{{ 1", "<1", "", " }}"),
    "powers": ("{{ 1", "**1", "", " }}"),
    "and": ("{{ 1", " and 1", "", " }}"),
    "ternaries": ("{{ 1", " if 1 else 1", "", " }}"),
    "tests": ("{{ 1", " is defined", "", " }}"),
    "strings": ("{{ '}}' ~ \"%}\"", " ~ '\\'}}'", "", " }}"),
    "sum in a tag": ("{% if 1", "+1", "", " %}{% endif %}"),
    "filter block": ("{% filter upper", "|upper", "", " %}{% endfilter %}"),
    "elif": ("{% if 1 %}", "{% elif 1 %}", "", "{% endif %}"),
    "elif with signs": ("{%- if 1 -%}", "{%-elif 1+%}", "", "{%- endif %}"),
    "elif and set": ("", "{% if 1 %}{% elif 0 %}{% set x|replace(a='=') %}{% endset %}", "{% endif %}", ""),
    "elif behind a comment": ("{#}{% if 1 %}", "{% elif 1 %}", "", "{% endif %}{# #}"),
    "elif behind raw": ("{% raw %}{% if %}{%- endraw -%}{% if 1 %}", "{% elif 1 %}", "", "{% endif %}"),
    "elif behind a string": ("{{ '{#' }}{{ '{% raw %}' }}{% if 1 %}", "{% elif 1 %}", "", "{% endif %}"),
    "if": ("", "{% if 1 %}", "{% endif %}", ""),
    "else": ("", "{% if 1 %}{% else %}", "{% endif %}", ""),
    "for": ("", "{% for x in [1] %}", "{% endfor %}", ""),
    "with": ("", "{% with %}", "{% endwith %}", ""),
    "set": ("", "{% set x %}", "{% endset %}", ""),
    "block": ("", "{% block x %}", "{% endblock %}", ""),
}

MAKE = """
import sys
from mta.content.template_data import assignments, source_of
from mta.content.templating import CompiledTemplate
from mta.model.errors import BadRendering, BadValue
from mta.model.templates import TemplateParts
for source in sys.stdin.read().split(chr(0)):
    try:
        CompiledTemplate(TemplateParts(text=source)).render(source_of(assignments({"a": {"a": [1]}}, "data")))
        print("rendered")
    except BadValue as error:
        print(error.field, error.reason.replace(chr(10), " "))
    except BadRendering:
        print("rendered with an error")
"""


def made(sources: list[str]) -> list[str]:
    """The engine's answers, of another process."""
    child = subprocess.run(
        [sys.executable, "-c", MAKE], input="\0".join(sources), capture_output=True, text=True, timeout=60, check=False
    )
    assert child.returncode == 0, child.stderr
    return child.stdout.splitlines()


def chain(name: str, links: int) -> str:
    start, link, end, last = CHAINS[name]
    return start + link * links + end * links + last


def most(name: str) -> int:
    """The links of the longest chain within the bounds."""
    return bisect_left(range(1, MAX_TOKENS + 1), True, key=lambda links: excess(chain(name, links)) is not None)


def test_no_chain_or_nest_ends_the_process() -> None:
    names = [name for name in CHAINS if name != "elif and set"]
    at_bound = made([chain(name, most(name)) for name in names])
    assert len(at_bound) == len(names)
    assert not [found for found in at_bound if "more than" in found]
    beyond = [chain(name, most(name) + 1) for name in names] + [chain(name, 8000) for name in names]
    for name, found in zip(names * 2, made(beyond), strict=True):
        assert found.startswith("text "), (name, found)
        assert "more than" in found or "is longer than" in found, (name, found)


def test_blocks_whose_tags_do_not_fit_end_no_process() -> None:
    nest = "{% if 1 %}" + "{% elif 0 %}" * 90 + "{% set x|replace(a='=') %}{% endset %}"
    found = made([nest * 200, "{% if 1 %}" + "{% elif 1 %}{% endfor %}" * 8000, chain("elif and set", 3000)])
    assert [line.split()[0] for line in found] == ["text"] * 3


@pytest.mark.parametrize(
    "source",
    [
        "{# " + "+1" * 1000 + "{% if 1 %}" * 200 + " #}",
        "{% raw %}{{ " + "+1" * 1000 + "{% if 1 %}" * 200 + "{% endraw %}",
        "{{ '" + "+1" * 1000 + "' }}",
        "{%- if 1 -%}{%- elif 2 -%}{%- endif -%}" * 500,
        "{% set x = 1 %}" * 500 + "{% set y %}a{% endset %}" * 500,
        "{{ a.b }} + " * 1000,
        "{% for x in [1] %}{% if x %}a{% elif 1 %}b{% else %}c{% endif %}{% else %}d{% endfor %}" * 200,
    ],
)
def test_long_templates_that_are_flat_are_within_the_bounds(source: str) -> None:
    assert excess(source) is None


def test_the_line_is_named() -> None:
    assert excess("a\n\n{{ 1" + "+1" * MAX_TOKENS + " }}") == (
        f"has more than {MAX_TOKENS} names, values and signs in one tag, line 3"
    )
    assert excess("\n" + "{% if 1 %}" * (MAX_OPEN + 1)) == (
        f"has more than {MAX_OPEN} blocks and elif in one another, line 2"
    )
