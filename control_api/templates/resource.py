"""Templates of mail over REST: drafted, published, rendered, shown, removed."""

from typing import Any, Final

from aiohttp import web

from control_api import dependencies
from control_api.access.actor import actor_of
from control_api.dependencies import Dependencies
from control_api.http.bodies import read_fields
from control_api.http.problems import Problem, json_response
from control_api.http.query import read_query
from control_api.http.times import now_ms, shown
from control_api.schemas import template_shapes as shapes
from control_api.schemas.answers import known
from control_api.schemas.values import cursor_of
from mta.model.actor import Actor
from mta.model.audit import Deed
from mta.model.errors import BadRendering, BadValue
from mta.model.templates import PARTS, Template, TemplateParts, TemplateVersion

_TRIES: Final = 5  # of a change while others change the same template


async def list_templates(request: web.Request) -> web.Response:
    """By name. A bound token sees its tenant's."""
    asked, actor = read_query(request, shapes.TemplatesQuery), actor_of(request)
    found = [
        template
        for template in await dependencies.of(request).templates.all()
        if actor.sees(template.tenant)
        and asked.tenant in (None, template.tenant)
        and (asked.cursor is None or (template.name, template.tenant) > asked.cursor)
    ]
    page = found[: asked.limit]
    cursor = cursor_of(page[-1].name, page[-1].tenant) if len(found) > len(page) else None
    return json_response(shapes.Templates(templates=[_listed(one) for one in page], cursor=cursor))


async def show_template(request: web.Request) -> web.Response:
    """With the parts of one version."""
    asked = read_query(request, shapes.TemplateQuery)
    deps, template = dependencies.of(request), await _there(request, asked.tenant)
    number, parts = await _version(deps, template, asked.version)
    return json_response(_shown(template, number, parts))


async def put_template(request: web.Request) -> web.Response:
    """201: there was none of this name. Parts that equal those of the newest version make no other one."""
    from mta.content.templating import CompiledTemplate  # the engine is loaded with the first template that comes

    asked, name = read_query(request, shapes.OwnerQuery), _name(request)
    given = shapes.TEMPLATE.read(await read_fields(request), "a part of a template")
    parts = TemplateParts(**{part: given.get(part, "") for part in PARTS})
    if not any(given.get(part) for part in PARTS):
        raise BadValue("html", "is needed, or subject or text: a template has one part at least")
    CompiledTemplate(parts)
    deps, actor = dependencies.of(request), actor_of(request)
    tenant = _owner(actor, asked.tenant)
    for _ in range(_TRIES):
        was = await deps.templates.find(name, [tenant])
        if was is not None and was.versions[-1].digest == parts.digest:
            return json_response(_shown(was, was.latest, parts))
        draft = _draft(0 if was is None else was.latest, parts, actor)
        template = (was or Template(name, tenant)).with_draft(draft)
        await deps.audit.note(actor, Deed("templates.put", name, after={"version": draft.number}, tenant=tenant))
        if await deps.templates.put(template, was, parts, bound=bool(actor.tenant)):
            return json_response(_shown(template, draft.number, parts), 201 if was is None else 200)
    raise _busy()


async def publish_template(request: web.Request) -> web.Response:
    """Mail uses the version from the answer on."""
    asked = read_query(request, shapes.OwnerQuery)
    given = shapes.PUBLICATION.read(await read_fields(request), "a field of a publication")
    deps, actor = dependencies.of(request), actor_of(request)
    for _ in range(_TRIES):
        was = await _there(request, asked.tenant)
        number, parts = await _version(deps, was, given.get("version"))
        template = was.with_published(number, now_ms())
        before = {"version": was.published} if was.published else None
        deed = Deed("templates.publish", was.name, before, {"version": number}, tenant=was.tenant)
        await deps.audit.note(actor, deed)
        if await deps.templates.put(template, was):
            return json_response(_shown(template, number, parts))
    raise _busy()


async def render_template(request: web.Request) -> web.Response:
    """The mail that the data make of one version. 422: a name has no value, or the version gives no mail with them."""
    from mta.content.template_data import assignments, source_of, tenant_assignment
    from mta.content.templating import CompiledTemplate

    asked = read_query(request, shapes.OwnerQuery)
    given = shapes.RENDERING.read(await read_fields(request), "a field of a rendering")
    deps, template = dependencies.of(request), await _there(request, asked.tenant)
    number, parts = await _version(deps, template, given.get("version"))
    tenant = await _tenant_vars(deps, template.tenant)
    source = source_of(assignments(given.get("data", {}), "data"), tenant_assignment(tenant))
    try:
        rendered = CompiledTemplate(parts).render(source)
    except BadRendering as bad:
        raise Problem(422, bad.reason, bad.part) from None
    return json_response(shapes.Rendered(version=number, **_parts(parts, rendered)))


async def delete_template(request: web.Request) -> web.Response:
    """200 with the template as it was."""
    asked = read_query(request, shapes.OwnerQuery)
    deps, template = dependencies.of(request), await _there(request, asked.tenant)
    before = {"published": template.published, "latest": template.latest}
    deed = Deed("templates.remove", template.name, before, tenant=template.tenant)
    await deps.audit.note(actor_of(request), deed)
    await deps.templates.remove(template)
    return json_response(_listed(template))


def _name(request: web.Request) -> str:
    name: str = shapes.NAME.read(request.match_info["name"], "name")
    return name


def _owner(actor: Actor, asked: str | None) -> str:
    """Raises Problem 404: a bound token knows of its own tenant only."""
    if asked is not None and not actor.sees(asked):
        raise Problem(404, f"there is no tenant {asked}", "tenant")
    return asked or actor.tenant


async def _there(request: web.Request, asked: str | None) -> Template:
    """The template in the path. Raises Problem 404."""
    name, tenant = _name(request), _owner(actor_of(request), asked)
    found = await dependencies.of(request).templates.find(name, [tenant])
    if found is None:
        raise Problem(404, f"there is no template {name}" + (f" of tenant {tenant}" if tenant else ""))
    return found


async def _version(deps: Dependencies, template: Template, asked: int | None) -> tuple[int, TemplateParts]:
    """Raises Problem 404."""
    number = asked or template.latest
    parts = await deps.templates.parts(template, number) if template.version(number) is not None else None
    if parts is None:
        kept = ", ".join(str(one.number) for one in template.versions)
        raise Problem(404, f"template {template.name} has no version {number}; there are {kept}", "version")
    return number, parts


async def _tenant_vars(deps: Dependencies, tenant: str) -> dict[str, Any]:
    terms = (await deps.catalogue.table()).tenants.get(tenant) if tenant else None
    return {} if terms is None else dict(terms.vars)


def _draft(latest: int, parts: TemplateParts, actor: Actor) -> TemplateVersion:
    return TemplateVersion(latest + 1, parts.digest, parts.size, now_ms(), actor.author)


def _busy() -> Problem:
    return Problem(409, "others change the same template; try again")


def _parts(parts: TemplateParts, shown_parts: TemplateParts) -> dict[str, Any]:
    """The parts that the template has."""
    return {part: getattr(shown_parts, part) for part in PARTS if getattr(parts, part)}


def _fields_of(template: Template) -> dict[str, Any]:
    versions = [
        shapes.VersionShown(
            version=one.number,
            size=one.size,
            created_at=shown(one.created_at),
            created_by=one.created_by,
            **known({"published_at": shown(one.published_at)}),
        )
        for one in template.versions
    ]
    return {
        "name": template.name,
        "published": template.published or None,
        "latest": template.latest,
        "versions": versions,
    } | known({"tenant": template.tenant or None})


def _listed(template: Template) -> shapes.TemplateListed:
    return shapes.TemplateListed(**_fields_of(template))


def _shown(template: Template, number: int, parts: TemplateParts) -> shapes.TemplateShown:
    return shapes.TemplateShown(**_fields_of(template), version=number, **_parts(parts, parts))
