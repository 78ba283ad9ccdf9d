"""No template makes a value that doubles with each step."""

import subprocess
import sys

import pytest

from mta.content.template_bounds import excess
from tests.unit.content.test_template_bounds import MAKE

STEPS = {
    "{% set a = [a, a] %}": "binds a list",
    "{% set a = {'x': a, 'y': a} %}": "binds a list or object",
    "{%- set a = (a, a) -%}": "several values",
    "{% set a = a, a %}": "several values",
    "{% set a = a + a %}": "adds",
    "{% set a = a|batch(2, a)|list %}": "filter batch",
    "{% set a = a|zip(a)|list %}": "filter zip",
    "{% set a = a|map('default', a)|list %}": "filter map",
    "{% set a = a if [a, a] else [a, a] %}": "binds a list",
    "{% set a = dict(x=a, y=a) %}": "calls dict",
    "{% with a = [a, a] %}": "binds a list",
    "{% for a in [[a, a]] %}": "binds a list",
    "{% for a in (a, a) %}": "several values",
    "{% macro f(a) %}{{ f([a, a]) }}{% endmacro %}": "has a macro",
    "{% call f() %}": "has a call",
    "{% for a in a recursive %}{{ loop([a, a]) }}{% endfor %}": "recursive",
    "{{ [[1] * 9999] * 9999 }}": "repeats a list",
    "{% if [a] * 9999 == [a] * 9999 %}": "repeats a list",
}


@pytest.mark.parametrize("step", STEPS)
def test_a_step_that_doubles_a_value_is_refused(step: str) -> None:
    reason = excess("{{ a }}\n" + step * 30)
    assert reason is not None
    assert STEPS[step] in reason
    assert reason.endswith("line 2")


@pytest.mark.parametrize(
    "source",
    [
        "{% set total = price * count %}{% set name = first|default('friend')|title %}",
        "{% set kinds = ['a', 'b', [1, -2.5, none], {'x': true}] %}{% for kind in ['a', 'b'] %}{{ kind }}{% endfor %}",
        "{% for key, value in rows.items() %}{{ key }}: {{ value[0] }}{% endfor %}",
        "{% for row in rows|selectattr('new')|sort(attribute='price', reverse=true) %}{{ row.price + 1 }}{% endfor %}",
        "{% for n in range(1, 5) %}{{ n * 2 }}{% endfor %}{% with a = rows[0], b = rows['x'].y %}{{ a }}{% endwith %}",
        "{{ [first, last]|join(' ') }}{{ {'a': first}|tojson }}{% if kind in ['a', first] %}x{% endif %}",
        "{% set text %}a {{ name }}{% endset %}{% set shown = name if name != '' else 'you' %}",
        "{% set greeting = 'Dear ' ~ name ~ ',' %}{{ rows|map(attribute='name')|join(', ') }}{{ '%s'|format(a) }}",
    ],
)
def test_ordinary_templates_are_within_the_bounds(source: str) -> None:
    assert excess(source) is None


def test_no_written_expression_holds_up_the_process() -> None:
    """The largest that one tag takes."""
    nest = "[" * 60 + ",".join(["a"] * 180) + "]" * 60
    sources = [
        *(f"{{{{ {nest}{more} }}}}" for more in ("", "|pprint", "|tojson", f" == {nest}")),
        "{{ " + "a + " * 249 + "a }}",
    ]
    child = subprocess.run(
        [sys.executable, "-c", MAKE], input="\0".join(sources), capture_output=True, text=True, timeout=90, check=False
    )
    assert (child.returncode, len(child.stdout.splitlines())) == (0, len(sources))
