"""The list of deliveries, page by page or as a stream, and the deliveries of a tag."""

from functools import partial
from typing import Final

from aiohttp import web

from control_api import dependencies
from control_api.access.actor import actor_of
from control_api.history.pmta import accounting_lines, header
from control_api.history.selection import of_class, selection_of, tenant_of
from control_api.history.streams import FORMS, Form, stream, streamed_pages
from control_api.http.operation import Answer, Example, Operation, a_parameter
from control_api.http.query import read_query
from control_api.schemas.history_answers import MessageList
from control_api.schemas.history_queries import LISTED, DeliveriesQuery, MessagesQuery
from control_api.schemas.message_answers import Recipient
from control_api.schemas.values import TAG
from mta.model.record_lines import record_lines
from mta.model.scopes import Scope
from mta.model.units import format_time
from mta.ports.history import RowFilter


async def list_messages(request: web.Request) -> web.StreamResponse:
    """A page of deliveries, the newest first; or all of them in another form."""
    asked = read_query(request, MessagesQuery)
    wanted = selection_of(asked, actor_of(request))
    history = dependencies.of(request).history
    if asked.format == "json":
        page = await history.rows(wanted, asked.limit or LISTED, asked.cursor or "")
        body = b'{"as_of":"%s","messages":[%s],"cursor":%s}\n' % (
            format_time(page.as_of).encode(),
            record_lines(page.rows)[:-1].replace(b"\n", b","),
            b'"%s"' % page.cursor.encode() if page.cursor else b"null",
        )
        return web.Response(body=body, content_type="application/json")
    pages = streamed_pages(history, of_class(wanted, None), asked.cursor or "", asked.limit)
    return await stream(request, pages, _form(asked))


def _form(asked: MessagesQuery) -> Form:
    if asked.format == "pmta":
        lines = partial(accounting_lines, forced=asked.intercepted_as)
        return Form("text/csv; charset=utf-8", lines, header())
    return FORMS[asked.format]


async def tag_deliveries(request: web.Request) -> web.StreamResponse:
    """The deliveries of the tag in the path, of one class or of all."""
    asked = read_query(request, DeliveriesQuery)
    tag = TAG.read(request.match_info["tag"], "tag")
    wanted = RowFilter(tag=tag, tenant=tenant_of(actor_of(request)))
    selection = of_class(wanted, asked.wanted)
    pages = streamed_pages(dependencies.of(request).history, selection)
    return await stream(request, pages, FORMS[asked.format])


STREAMED: Final = (
    Answer(200, Recipient, "the newest first", is_list=True, or_media=("application/x-ndjson", "text/csv")),
)

OPERATIONS: Final = (
    Operation(
        "GET",
        "/v1/messages",
        list_messages,
        "listMessages",
        "Deliveries of the history, the newest first",
        (Answer(200, MessageList, "a page", or_media=("application/x-ndjson", "text/csv")),),
        Example("/v1/messages?tag=spring-sale&status=UNDELIVERABLE&limit=10"),
        scope=Scope.MESSAGES_READ,
        for_tenants=True,
        description="A page may be shorter than limit, and another one follows as long as cursor is not null.",
        query=MessagesQuery,
    ),
    Operation(
        "GET",
        "/v1/tags/{tag}/deliveries",
        tag_deliveries,
        "tagDeliveries",
        "The deliveries of a tag, of one class or of all, as a stream",
        STREAMED,
        Example("/v1/tags/spring-sale/deliveries?class=delivered&format=csv"),
        scope=Scope.MESSAGES_READ,
        for_tenants=True,
        refusals=(404,),
        path_values=(a_parameter("tag", TAG),),
        query=DeliveriesQuery,
    ),
)
