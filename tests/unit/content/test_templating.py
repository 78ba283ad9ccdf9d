"""The template engine: rendering, names without a value, escapes from the sandbox, and bombs."""

import time
from typing import Any

import pytest

from mta.content.template_data import MAX_DATA, assignments, source_of, tenant_assignment
from mta.content.templating import CompiledTemplate
from mta.model.errors import BadRendering, BadValue
from mta.model.templates import MAX_VERSIONS, Template, TemplateParts, TemplateVersion


def render(parts: TemplateParts, data: dict[str, Any] | None = None, tenant: dict[str, Any] | None = None) -> Any:
    source = source_of(assignments(data or {}, "data"), tenant_assignment(tenant or {}))
    return CompiledTemplate(parts).render(source)


def text(template: str, **data: Any) -> str:
    found: str = render(TemplateParts(text=template), data).text
    return found


def test_each_part_is_rendered_and_html_alone_is_escaped() -> None:
    parts = TemplateParts("Hi {{ name }}", "Dear {{ name }}\n", "<p>{{ name }} {{ link|safe }}</p>\n")
    found = render(parts, {"name": "Jörg <b>", "link": "<a>"})
    assert found == TemplateParts("Hi Jörg <b>", "Dear Jörg <b>\n", "<p>Jörg &lt;b&gt; <a></p>\n")


def test_data_of_all_kinds_come_as_they_were_given() -> None:
    row = {"title": 'a "quoted" \\ title', "price": 1.5}
    template = "{{ b }} {{ n }} {% for row in rows %}{{ row.title }}={{ row.price }}{% endfor %} {{ o.x.y }} {{ t.k }}"
    assert text(template, b=True, n=-7, rows=[row], o={"x": {"y": "z"}}, t={"k": 2**62}) == (
        f'True -7 a "quoted" \\ title=1.5 z {2**62}'
    )


@pytest.mark.parametrize(
    "value", ["%}{{ 7 * 7 }}", '" ~ secret ~ "', "{# #}", "\\", "{% raw %}", "\u2028", "a\r\nb\tc"]
)
def test_data_are_never_read_as_a_template(value: str) -> None:
    assert text("{{ v }}|{{ o.v }}", v=value, o={"v": value}) == f"{value}|{value}"


def test_later_data_hide_earlier_ones() -> None:
    call, own = assignments({"name": "all", "shop": "x"}, "data"), assignments({"name": "Ada"}, "data")
    found = CompiledTemplate(TemplateParts(text="{{ name }} {{ shop }}")).render(source_of(call, own))
    assert found.text == "Ada x"


def test_the_tenants_values_are_under_tenant() -> None:
    assert render(TemplateParts("{{ tenant.brand }}"), {}, {"brand": "Example & Co"}).subject == "Example & Co"


@pytest.mark.parametrize(
    ("template", "variable"),
    [
        ("a\n{{ name }}", "name"),
        ("{{ customer.name }}", "customer"),
        ("{{ known.name }}", "known.name"),
        ("{{ rows[3].price }}", "rows[3]"),
        ("{% if vip %}x{% endif %}", "vip"),
        ("{% for row in table %}{% endfor %}", "table"),
        ("{{ name|upper }}", "name"),
        ("{{ count + 1 }}", "count"),
        ("{{ nothing }}", "nothing"),
        ("{{ tenant.brand }}", "tenant.brand"),
    ],
)
def test_a_name_without_a_value_is_named(template: str, variable: str) -> None:
    with pytest.raises(BadRendering) as refused:
        render(TemplateParts(html=template), {"known": {"name": None}, "rows": [{}], "nothing": None})
    assert (refused.value.part, refused.value.variable) == ("html", variable)
    assert variable in refused.value.reason


@pytest.mark.parametrize(
    ("template", "variable"),
    [
        ("{{ [a] }}", "a"),
        ("{{ [1, known.name] }}", "known.name"),
        ("{{ {'k': rows[0].x} }}", "rows[0].x"),
        ("{{ (a, 1) }}", "a"),
        ("{{ 'Dear {}'.format(a) }}", "a"),
        ("{{ dict(x=a) }}", "a"),
        ("{{ [1, 2]|join(a) }}", "a"),
        ("{{ [1 and a] }}", "a"),
        ("{{ a|length }}", "a"),
        ("{{ known.name|urlencode }}", "known.name"),
        ("{% set x = a %}{{ [x] }}", "a"),
        ("{% for row in rows %}{{ [row.price] }}{% endfor %}", "row.price"),
        ("{%- if [a] -%}x{% endif %}", "a"),
        ("{{ [[(a)|upper]] }}", "a"),
    ],
)
def test_a_missing_value_is_named_inside_a_list_an_object_a_call_or_before_a_filter(
    template: str, variable: str
) -> None:
    with pytest.raises(BadRendering) as refused:
        render(TemplateParts(html=f"a\n{template}"), {"known": {"name": None}, "rows": [{}]})
    assert (refused.value.part, refused.value.variable) == ("html", variable)
    assert "(line 2)" in refused.value.reason


@pytest.mark.parametrize(
    ("template", "shown"),
    [
        ("{{ [a|default('x')] }}", "['x']"),
        ("{{ [(a)|d('x')] }}", "['x']"),
        ("{{ a|default(b)|default('x') }}", "x"),
        ("{{ [a is defined, a is not defined, a is undefined] }}", "[False, True, True]"),
        ("{{ [a if a is defined else 'x'] }}", "['x']"),
        ("{% if false %}{{ [a] }}{% endif %}x", "x"),
        ("{{ dict(a=1) }}{{ {'a': o.n} }}{{ rows[0:1] }}", "{'a': 1}{'a': 0}[{'p': 0}]"),
        ("{{ [o.n, o['s'], rows[0].p, t] }}", "[0, '', 0, False]"),
        ("{% for k in o %}{{ '{}={};'.format(k, o[k]) }}{% endfor %}", "n=0;s=;"),
        ("{{ rows|map(attribute='p')|join }}{{ [loop] if loop is defined else '-' }}", "0-"),
        ("{% raw %}{{ [a] }}{% endraw %}{# {{ [a] }} #}{{ '[a]' }}", "{{ [a] }}[a]"),
    ],
)
def test_a_value_that_is_tested_for_or_given_is_no_fault_there(template: str, shown: str) -> None:
    assert text(template, o={"n": 0, "s": ""}, rows=[{"p": 0}], t=False) == shown


@pytest.mark.parametrize(
    ("template", "variable"),
    [
        ("{{ rows|map(attribute='p')|join }}", "rows.p"),
        ('{{ o.rows | map( attribute = "p" )|list }}', "o.rows.p"),
        ("{{ o['rows']|selectattr('q', 'eq', 1)|map(attribute='p')|join(', ') }}", "o['rows'].p"),
        ("{{ rows|default([])|reverse|map(attribute='n.m')|join }}", "rows['n.m']"),
        ("{{ rows|map(attribute='first name')|join }}", "rows['first name']"),
        ("{{ 1 + rows|sum(attribute='p') }}", "rows.p"),
        ("{{ rows|sum('p') }}", "rows.p"),
        ("{% if 1 in rows|map(attribute='p') %}x{% endif %}", "rows.p"),
        ("{{ words|map(attribute='p')|join }}", "words.p"),
        ("{{ with_p|map(attribute='p')|join }}{{ rows|map(attribute='p')|join }}", "rows.p"),
        ("{{ none_there|map(attribute='p')|join }}", "none_there"),
        ("{{ keys|map(attribute='p')|join }}", "(...).x"),
    ],
)
def test_an_object_without_the_attribute_that_a_filter_takes_is_noticed(template: str, variable: str) -> None:
    rows = [{"p": 1, "q": 2}, {"q": 1}]
    data = {"rows": rows, "o": {"rows": rows}, "words": ["a"], "with_p": [{"p": 1}], "keys": {"p": 1}}
    with pytest.raises(BadRendering) as refused:
        render(TemplateParts(html=f"a\n{template}"), data)
    assert (refused.value.part, refused.value.variable) == ("html", variable)
    assert "(line 2)" in refused.value.reason


@pytest.mark.parametrize(
    ("template", "shown"),
    [
        ("{{ rows|map(attribute='p')|join(', ') }}{{ rows\n|sum(attribute='p') }}", "1, 23"),
        ("{{ rows|map(attribute='q', default='-')|join }}{{ ['x']|map('upper')|join }}", "b-X"),
        ("{{ rows|selectattr('q')|map(attribute='q')|map('upper')|join }}", "B"),
        ("{{ none_there|default([])|map(attribute='p')|join }}{{ [1, 2]|sum }}", "3"),
        ("{% if false %}{{ rows|map(attribute='q')|join }}{% endif %}{{ rows|sort(attribute='q')|length }}", "2"),
        ("{{ [rows|map(attribute='p')|join, rows[0].p] }}", "['12', 1]"),
        ("{{ (rows|map(attribute='p')|list)[1] }}{{ '|map(attribute=x)' }}", "2|map(attribute=x)"),
    ],
)
def test_attributes_that_are_there_are_taken(template: str, shown: str) -> None:
    assert text(template, rows=[{"p": 1, "q": "b"}, {"p": 2}]) == shown


@pytest.mark.parametrize(
    "template",
    [
        "{{ [{'a': 1}]|map(attribute='a')|join }}",
        "{{ (rows)|map(attribute='a')|join }}",
        "{{ rows|map(attribute='a')|map(attribute='b')|join }}",
        "{{ rows|map(attribute=name)|join }}",
        "{{ rows|map(attribute=0)|join }}",
        "{{ rows|map('attr', 'a')|join }}",
        "{{ rows|sum(name) }}",
    ],
)
def test_an_attribute_that_cannot_be_tested_is_refused_with_the_fix(template: str) -> None:
    with pytest.raises(BadValue) as refused:
        CompiledTemplate(TemplateParts(text=f"a\n{template}"))
    assert refused.value.field == "text"
    assert "attribute='name', or write a loop" in refused.value.reason
    assert "line 2" in refused.value.reason


def test_a_default_stands_in_for_a_value() -> None:
    assert text("{{ name|default('you') }}{{ o.x|default('!') }}{% if vip is defined %}vip{% endif %}", o={}) == "you!"


def test_a_subject_is_one_line() -> None:
    found = render(TemplateParts(subject="{{ name }}\n news \n"), {"name": "Ada\r\nBcc: victim@example.com"})
    assert found.subject == "Ada Bcc: victim@example.com news"


@pytest.mark.parametrize(
    ("parts", "field", "reason"),
    [
        (TemplateParts(subject="{{ a "), "subject", "line 1"),
        (TemplateParts(text="a\nb {% if %}"), "text", "line 2"),
        (TemplateParts(html="{% nothing %}"), "html", "unknown statement nothing"),
        (TemplateParts(text="a\0b"), "text", "control character"),
        (TemplateParts(text="\ud800"), "text", "surrogate"),
        (TemplateParts(subject="x" * 4097), "subject", "longer than 4096 bytes"),
        (TemplateParts(text="(" + "{{ " + "(" * 5000 + ")" * 5000 + " }}"), "text", "more than 500 names"),
        (TemplateParts(html="{% if 1 %}" * 5000 + "{% endif %}" * 5000), "html", "more than 100 blocks"),
        (TemplateParts(text="{{ " + "(" * 200 + "1" + ")" * 200 + " }}"), "text", "recursion"),
    ],
)
def test_a_wrong_template_names_its_part_and_line(parts: TemplateParts, field: str, reason: str) -> None:
    with pytest.raises(BadValue) as refused:
        CompiledTemplate(parts)
    assert refused.value.field == field
    assert reason in refused.value.reason


@pytest.mark.parametrize(
    "template",
    [
        "{{ ''.__class__.__mro__ }}",
        "{{ o.__class__.__init__.__globals__ }}",
        "{{ o['__class__'] }}",
        "{{ o|attr('__class__') }}",
        "{{ '{0.__class__}'.format(o) }}",
        "{{ range.__globals__ }}",
        "{{ cycler.__init__.__globals__.os }}",
        "{{ self.__init__ }}",
        "{{ o.pop('x') }}",
        "{{ o.update(o) }}",
        "{{ rows.append(1) }}",
        "{{ rows.extend(rows) }}",
        "{{ debug() }}",
        "{{ namespace() }}",
        "{% include '/etc/passwd' %}",
        "{% import 'os' as os %}",
        "{% extends '../secret' %}",
        "{{ lipsum() }}",
        "{{ get_flashed_messages() }}",
    ],
)
def test_a_template_reaches_nothing_but_its_data(template: str) -> None:
    data = {"o": {"x": 1}, "rows": [1, 2]}
    with pytest.raises(BadRendering):
        render(TemplateParts(html=template), data)
    assert data == {"o": {"x": 1}, "rows": [1, 2]}


@pytest.mark.parametrize(
    "template",
    [
        "{% for i in range(10**9) %}{% endfor %}",
        "{% for i in range(90000) %}{% for j in range(90000) %}{% endfor %}{% endfor %}",
        "{{ 'a' * 10**9 }}",
        "{{ rows * 10**9 }}",
        "{{ 10**(10**7) }}",
        "{% set s = 'aaaaaaaaaa' %}" + "{% set s = s ~ s %}" * 60,
        "{{ 'a\nb'|indent(10**9) }}",
        "{{ '%1000000000d'|format(1) }}",
        "{{ ('a' * 1000)|replace('a', 'b' * 1000000) }}",
        "{{ range(90000)|join('x' * 100000) }}",
        "{% include 'text' %}",
        "{% for i in range(50000) %}{{ rows }}{% endfor %}",
        "{% set s = 'é' * 100000 %}{% for i in range(50000) %}{% set x = s[99999] %}{% endfor %}",
        "{% set a = range(4000)|list %}{% set b = range(4000)|list %}" + "{{ a == b }}" * 9000,
    ],
)
def test_a_bomb_goes_off_in_the_sandbox(template: str) -> None:
    before = time.process_time()
    with pytest.raises(BadRendering):
        text(template, rows=["x" * 100] * 100)
    assert time.process_time() - before < 0.5


def test_a_control_character_of_a_template_never_reaches_mail() -> None:
    with pytest.raises(BadRendering, match="control character"):
        text('{{ "\\u0000" }}')


def test_an_ordinary_newsletter_is_far_from_the_bounds() -> None:
    rows = [{"title": f"title {number}", "price": number} for number in range(300)]
    page = "<p>word</p>" * 10_000 + "{% for row in rows %}<li>{{ row.title }} {{ row.price }}</li>{% endfor %}"
    assert len(render(TemplateParts(html=page), {"rows": rows}).html) > 110_000


@pytest.mark.parametrize(
    ("data", "field", "reason"),
    [
        ({"loop": 1}, "data.loop", "template language"),
        ({"tenant": {}}, "data.tenant", "tenant"),
        ({"a": "\ud800"}, "data.a", "no value that mail can show"),
        ({"a": float("inf")}, "data.a", "no finite number"),
        ({"a": [float("nan")]}, "data.a", "no finite number"),
        ({"a": 2**63}, "data.a", "63 bits"),
        ({"a": {"b": "\x1b[31m"}}, "data.a", "control character"),
        ({"a": "x" * MAX_DATA}, "data", "64 KiB"),
    ],
)
def test_data_that_no_mail_can_show_are_refused_by_name(data: dict[str, Any], field: str, reason: str) -> None:
    with pytest.raises(BadValue) as refused:
        assignments(data, "data")
    assert refused.value.field == field
    assert reason in refused.value.reason


def test_data_are_not_nested_without_end() -> None:
    for depth in (16, 17, 3000):
        value: Any = 1
        for _ in range(depth):
            value = [value]
        if depth == 16:
            assert text("{{ a|length }}", a=value) == "1"
        else:
            with pytest.raises(BadValue, match=r"nested|no value"):
                assignments({"a": value}, "data")


def test_a_name_that_no_template_can_say_is_left_out() -> None:
    assert text("{{ a }}", **{"a": 1, "first-name": "x", "1st": "y"}) == "1"


def test_old_versions_go_and_the_published_one_stays() -> None:
    template = Template("news")
    for number in range(1, MAX_VERSIONS + 6):
        template = template.with_draft(TemplateVersion(number, "d", 1, 1, "me"))
        if number == 2:
            template = template.with_published(2, 7)
    numbers = [version.number for version in template.versions]
    assert numbers == [2, *range(7, MAX_VERSIONS + 6)]
    assert len(numbers) == MAX_VERSIONS
    assert (template.latest, template.version(2) and template.version(2).published_at) == (MAX_VERSIONS + 5, 7)  # type: ignore[union-attr]
