"""The statement of a tag: the account of all mail that carries it."""

from aiohttp import web

from control_api import dependencies
from control_api.access.actor import actor_of
from control_api.http.operation import Answer, Example, Operation, a_parameter
from control_api.http.problems import Problem, json_response
from control_api.http.query import read_no_query, read_query
from control_api.http.times import now_ms
from control_api.schemas.queries import TagQuery
from control_api.schemas.values import TAG
from mta.model.rules import Rule
from mta.model.scopes import Scope
from mta.model.statements import TagStatement
from mta.orders.statement import tag_statement


async def show_tag(request: web.Request) -> web.Response:
    """The statement of the tag in the path."""
    read_no_query(request)
    return await _statement(request, TAG.read(request.match_info["tag"], "tag"))


async def find_tag(request: web.Request) -> web.Response:
    """The statement of the tag in the query string, which can hold any tag, of all its mail or of one tenant's."""
    asked = read_query(request, TagQuery)
    actor = actor_of(request)
    if asked.tenant is not None and not actor.sees(asked.tenant):
        raise Problem(403, f"is another tenant than {actor.tenant}, which the token is bound to", "tenant")
    return await _statement(request, asked.tag, asked.tenant or "")


async def _statement(request: web.Request, tag: str, tenant: str = "") -> web.Response:
    deps, actor = dependencies.of(request), actor_of(request)
    counts = await deps.books.tag(tag, actor.tenant or tenant)
    table = await deps.catalogue.readable()
    of_tag: list[str] = []
    async for some in deps.turns.slices(list(table.rules())):
        of_tag += [rule.id for rule in some if _selects(rule, tag) and actor.sees(rule.selectors.tenant)]
    near = [] if counts else await deps.nearest_tags.to(tag, actor.tenant or tenant)
    return json_response(tag_statement(tag, counts, sorted(of_tag), now_ms(), tracked=bool(counts), nearest=near))


def _selects(rule: Rule, tag: str) -> bool:
    return tag == rule.selectors.tag or tag in (rule.selectors.tags_all or ())


_ANSWERS = (Answer(200, TagStatement, "the statement; zeros where the tag was never seen"),)

OPERATIONS = (
    Operation(
        "GET",
        "/v1/tags",
        find_tag,
        "findTagStatement",
        "The statement of a tag",
        _ANSWERS,
        Example("/v1/tags?tag=spring/sale"),
        scope=Scope.MESSAGES_READ,
        for_tenants=True,
        description="For tags that a path cannot carry, and for the mail of one tenant.",
        query=TagQuery,
    ),
    Operation(
        "GET",
        "/v1/tags/{tag}",
        show_tag,
        "tagStatement",
        "The statement of a tag",
        _ANSWERS,
        Example("/v1/tags/spring-sale"),
        scope=Scope.MESSAGES_READ,
        for_tenants=True,
        refusals=(404,),
        path_values=(a_parameter("tag", TAG),),
    ),
)
