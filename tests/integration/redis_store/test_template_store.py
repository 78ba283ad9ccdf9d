"""The templates of the cluster on a real store."""

import asyncio
from collections.abc import Callable

import pytest

from mta.model.errors import BadValue
from mta.model.templates import MAX_VERSIONS, Template, TemplateParts, TemplateVersion
from mta.redis_store import keys, template_store
from mta.redis_store.template_store import StoredTemplates
from tests.support.stores import Store


def drafted(template: Template, text: str) -> tuple[Template, TemplateParts]:
    parts = TemplateParts(text=text)
    return template.with_draft(TemplateVersion(template.latest + 1, parts.digest, parts.size, 1, "me")), parts


async def test_of_two_drafts_that_saw_the_same_template_one_is_kept(open_store: Callable[..., Store]) -> None:
    table = StoredTemplates((await open_store()).link)
    first, parts = drafted(Template("news"), "one")
    assert await table.put(first, None, parts)
    assert await table.put(first, None, parts), "a repeated order is carried out once"
    other, parts = drafted(Template("news"), "two")
    assert not await table.put(other, None, parts)
    found = await table.find("news", ["", "acme"])
    assert found == first
    assert await table.parts(first, 1) == TemplateParts(text="one")
    published = first.with_published(1, 7)
    assert await table.put(published, first)
    assert await table.find("news", ["acme", ""]) == published


async def test_a_tenants_template_comes_before_the_operators(open_store: Callable[..., Store]) -> None:
    table = StoredTemplates((await open_store()).link)
    shared, parts = drafted(Template("news"), "shared")
    assert await table.put(shared, None, parts)
    own, parts = drafted(Template("news", "acme"), "own")
    assert await table.put(own, None, parts)
    assert await table.find("news", ["acme", ""]) == own
    assert await table.find("news", ["initech", ""]) == shared
    assert await table.all() == [shared, own]
    await table.remove(own)
    await table.remove(own)
    assert await table.parts(own, 1) is None
    assert await table.all() == [shared]


async def test_dropped_versions_and_removed_templates_leave_nothing(
    open_store: Callable[..., Store], monkeypatch: pytest.MonkeyPatch
) -> None:
    store = await open_store()
    table = StoredTemplates(store.link)
    was: Template | None = None
    for number in range(MAX_VERSIONS + 3):
        template, parts = drafted(was or Template("news"), f"text {number:02}")
        assert await table.put(template, was, parts)
        was = template
    assert was is not None
    assert await store.link.command("HLEN", keys.template_key("/news")) == MAX_VERSIONS
    assert await table.parts(was, 1) is None
    size = int(await store.link.command("HGET", keys.META_TEMPLATES, "bytes"))
    assert size == sum(map(len, await store.link.command("HVALS", keys.template_key("/news"))))
    monkeypatch.setattr(template_store, "MOST_BYTES", size)
    template, parts = drafted(was, "one more")
    with pytest.raises(BadValue, match="MiB already"):
        await table.put(template, was, parts)
    monkeypatch.setattr(template_store, "MOST", 1)
    template, parts = drafted(Template("other"), "x")
    with pytest.raises(BadValue, match="templates already"):
        await table.put(template, None, parts)
    await table.remove(was)
    assert await store.link.command("HGETALL", keys.META_TEMPLATES) == [b"bytes", b"0"]


async def test_a_token_of_a_tenant_makes_a_tenth_of_the_templates_at_most(
    open_store: Callable[..., Store], monkeypatch: pytest.MonkeyPatch
) -> None:
    table = StoredTemplates((await open_store()).link)
    monkeypatch.setattr(template_store, "MOST_OF_TENANT", 2)
    made = [drafted(Template(f"t{number}", "acme"), "x") for number in range(4)]
    done = await asyncio.gather(
        *(table.put(template, None, parts, bound=True) for template, parts in made), return_exceptions=True
    )
    refused = [str(one) for one in done if one is not True]
    assert refused == ["name: there are 2 templates of the tenant acme already; remove some"] * 2
    was = made[0][0]
    changed, parts = drafted(was, "y")
    assert await table.put(changed, was, parts, bound=True), "a change of one that there is"
    other, parts = drafted(Template("t0", "acmeltd"), "x")
    assert await table.put(other, None, parts, bound=True), "another tenant has a share of its own"
    assert await table.put(*_new(Template("t9", "acme"))), "an administrator is bounded by the cap alone"


def _new(template: Template) -> tuple[Template, None, TemplateParts]:
    made, parts = drafted(template, "x")
    return made, None, parts
