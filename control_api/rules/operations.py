"""The operations of forced errors and pauses."""

from collections.abc import Mapping
from typing import Any, Final

from msgspec import Struct

from control_api.history.lists import STREAMED
from control_api.http.conditions import IF_MATCH
from control_api.http.middleware import Handler
from control_api.http.operation import BODY_REFUSALS, Answer, Example, Group, Operation, Parameter
from control_api.rules import bulk, forced_errors, pauses, previews, staged_release
from control_api.rules.resource import LISTED, PATHS, REMOVED, WHOLE, RulesResource
from control_api.schemas.history_queries import RuleDeliveriesQuery
from control_api.schemas.queries import OrderQuery, RulesQuery, StatementQuery, WaitQuery
from control_api.schemas.rule_answers import ForcedError, SetOfRules, Undone
from control_api.schemas.rule_bodies import CONVERSION, EDITS, LIFTING, NEW, NOUNS, SET
from mta.model.rules import Kind
from mta.model.scopes import Scope
from mta.model.statements import RuleStatement, SetStatement

_NAMES: Final = {Kind.ERROR: ("ForcedError", "forcedError"), Kind.PAUSE: ("Pause", "pause")}
_IDS: Final = {Kind.ERROR: "$RULE", Kind.PAUSE: "$PAUSE"}
_ORDERS: Final[Mapping[Kind, dict[str, Any]]] = {
    Kind.ERROR: {"code": 554, "extended": "5.7.1", "tag": "spring-sale", "reason": "wrong link"},
    Kind.PAUSE: {"domain": "example.com", "duration": "30m", "reason": "asked to wait"},
}

_ID = Parameter("id", {"type": "string", "minLength": 1})
_ETAG = Parameter("ETag", {"type": "string"}, "the generation, for If-Match")
_LINK = Parameter("Link", {"type": "string"}, 'rel="next", with limit')
_LOCATION = Parameter("Location", {"type": "string"}, "the path of the set")
_LATER = "stored; the event that the answer waits for has not happened yet"


def group_of(kind: Kind) -> Group:
    """The operations of one kind of rule."""
    if kind is Kind.ERROR:
        words = "Rules that end or defer mail after its acceptance, and their accounts."
        asked = previews.operations(_ORDERS[kind])
        return Group(
            "Forced errors", words, (*_shared(kind, forced_errors.RESOURCE), _deliveries(), _undo(), *asked, *_sets())
        )
    return Group(
        "Pauses", "Rules that hold mail.", (*_shared(kind, pauses.RESOURCE), _convert(), *staged_release.OPERATIONS)
    )


def _shared(kind: Kind, resource: RulesResource) -> tuple[Operation, ...]:
    """The operations that both kinds have; the last of them lift rules."""
    return (
        _list(kind, resource),
        _create(kind, resource),
        _show(kind, resource),
        _edit(kind, resource),
        _statement(kind, resource),
        _delete(kind, resource),
        _delete_by_selectors(kind, resource),
    )


def _list(kind: Kind, resource: RulesResource) -> Operation:
    path = PATHS[kind]
    return Operation(
        "GET",
        path,
        resource.list_rules,
        f"list{_NAMES[kind][0]}s",
        f"Every active {NOUNS[kind]}",
        (Answer(200, LISTED[kind], "oldest first", (_LINK,), is_list=True),),
        Example(f"{path}?limit=10"),
        scope=Scope.ERRORS_READ,
        for_tenants=True,
        query=RulesQuery,
    )


def _create(kind: Kind, resource: RulesResource) -> Operation:
    whole = WHOLE[kind]
    return Operation(
        "POST",
        PATHS[kind],
        resource.create,
        f"order{_NAMES[kind][0]}",
        f"Order a {NOUNS[kind]}, or replace the one with the same selectors",
        (
            Answer(200, whole, "replaced and effective", (_ETAG,)),
            Answer(201, whole, "created and effective", (_ETAG,)),
            Answer(202, whole, _LATER, (_ETAG,)),
        ),
        Example(f"{PATHS[kind]}?wait=5s", _ORDERS[kind], 201),
        scope=Scope.ERRORS_WRITE,
        for_tenants=True,
        refusals=(*BODY_REFUSALS, 409),
        query=OrderQuery,
        body=NEW[kind],
    )


def _show(kind: Kind, resource: RulesResource) -> Operation:
    return Operation(
        "GET",
        PATHS[kind] + "/{id}",
        resource.show,
        f"show{_NAMES[kind][0]}",
        f"One {NOUNS[kind]}",
        (Answer(200, WHOLE[kind], "the rule and its effect", (_ETAG,)),),
        Example(f"{PATHS[kind]}/{_IDS[kind]}"),
        scope=Scope.ERRORS_READ,
        for_tenants=True,
        refusals=(404, 409),
        path_values=(_ID,),
    )


def _edit(kind: Kind, resource: RulesResource) -> Operation:
    whole = WHOLE[kind]
    return Operation(
        "PATCH",
        PATHS[kind] + "/{id}",
        resource.edit,
        f"edit{_NAMES[kind][0]}",
        f"Edit, enable or disable one {NOUNS[kind]}; null takes a field away",
        (Answer(200, whole, "edited and effective", (_ETAG,)), Answer(202, whole, _LATER, (_ETAG,))),
        Example(f"{PATHS[kind]}/{_IDS[kind]}?wait=5s", {"reason": "asked by the sender", "in_flight": "finish"}),
        scope=Scope.ERRORS_WRITE,
        for_tenants=True,
        refusals=(404, *BODY_REFUSALS, 409, 412),
        path_values=(_ID,),
        headers=(IF_MATCH,),
        query=OrderQuery,
        body=EDITS[kind],
    )


def _statement(kind: Kind, resource: RulesResource) -> Operation:
    return Operation(
        "GET",
        PATHS[kind] + "/{id}/statement",
        resource.statement,
        f"{_NAMES[kind][1]}Statement",
        "The statement of the deliveries that the rule met",
        (Answer(200, RuleStatement, "the statement", or_text=True, or_media=("text/html",)),),
        Example(f"{PATHS[kind]}/{_IDS[kind]}/statement"),
        scope=Scope.ERRORS_READ,
        for_tenants=True,
        description="The statement of a removed rule can be read for status.retention, then from history.",
        refusals=(404, 409),
        path_values=(_ID,),
        query=StatementQuery,
    )


def _deliveries() -> Operation:
    return Operation(
        "GET",
        PATHS[Kind.ERROR] + "/{id}/deliveries",
        forced_errors.RESOURCE.deliveries,
        "forcedErrorDeliveries",
        "The deliveries of a forced error, of one class or all that it met, as a stream",
        STREAMED,
        Example(f"{PATHS[Kind.ERROR]}/$RULE/deliveries?class=intercepted&format=csv"),
        scope=Scope.ERRORS_READ,
        for_tenants=True,
        description="They come from history. The classes intercepted, held and uncertain have the deliveries that the "
        "rule decided about; the other classes have all mail that its selectors match.",
        refusals=(404, 409),
        path_values=(_ID,),
        query=RuleDeliveriesQuery,
    )


def _removals(kind: Kind) -> tuple[Answer, ...]:
    gone = REMOVED[kind]
    return Answer(200, gone, "removed"), Answer(202, gone, "removed, not effective everywhere yet")


def _delete(kind: Kind, resource: RulesResource) -> Operation:
    return Operation(
        "DELETE",
        PATHS[kind] + "/{id}",
        resource.delete,
        f"lift{_NAMES[kind][0]}",
        f"Lift one {NOUNS[kind]}",
        _removals(kind),
        Example(f"{PATHS[kind]}/{_IDS[kind]}?wait=5s"),
        scope=Scope.ERRORS_WRITE,
        for_tenants=True,
        refusals=(404, 409),
        path_values=(_ID,),
        query=WaitQuery,
    )


def _delete_by_selectors(kind: Kind, resource: RulesResource) -> Operation:
    selectors = "tag=spring-sale" if kind is Kind.ERROR else "domain=example.com"
    return Operation(
        "DELETE",
        PATHS[kind],
        resource.delete_by_selectors,
        f"lift{_NAMES[kind][0]}BySelectors",
        f"Lift the {NOUNS[kind]} with exactly these selectors",
        _removals(kind),
        Example(f"{PATHS[kind]}?{selectors}&wait=5s"),
        scope=Scope.ERRORS_WRITE,
        for_tenants=True,
        description="Selectors stand in the query or in the body, not in both.",
        refusals=(404, *BODY_REFUSALS, 409),
        query=WaitQuery,
        body=LIFTING[kind],
        body_or_query=True,
    )


def _undo() -> Operation:
    return Operation(
        "POST",
        PATHS[Kind.ERROR] + "/{id}/undo",
        forced_errors.undo,
        "undoForcedError",
        "Disable one forced error and return the kept deliveries that it ended to their queues, each once",
        (Answer(200, Undone, "done"), Answer(202, Undone, "how far it is; it goes on")),
        Example(f"{PATHS[Kind.ERROR]}/$RULE/undo?wait=10s"),
        scope=Scope.ERRORS_WRITE,
        for_tenants=True,
        refusals=(404, 409),
        path_values=(_ID,),
        query=WaitQuery,
    )


def _sets() -> tuple[Operation, ...]:
    """Many forced errors by one order."""
    path = PATHS[Kind.ERROR] + "/bulk"
    orders = [{"code": 554, "tag": "spring-sale", "domain": domain} for domain in ("example.com", "example.net")]
    change = Operation(
        "POST",
        path,
        bulk.change,
        "changeForcedErrors",
        "Make and lift up to 10,000 forced errors by one order",
        (
            Answer(200, SetOfRules, "effective", (_LOCATION,)),
            Answer(202, SetOfRules, _LATER, (_LOCATION,)),
        ),
        Example(f"{path}?wait=5s", {"create": orders}),
        scope=Scope.ERRORS_WRITE,
        for_tenants=True,
        description="Where one item cannot be taken, nothing is changed, and the error names the item. The body may "
        "have 16 MiB. The set has one effective time, one sweep and one statement.",
        refusals=(*BODY_REFUSALS, 409),
        query=OrderQuery,
        body=SET,
    )
    return (
        change,
        _one_set(path, "", bulk.show, "showForcedErrors", SetOfRules),
        _one_set(path, "/statement", bulk.statement, "forcedErrorsStatement", SetStatement),
    )


def _one_set(path: str, end: str, handler: Handler, name: str, answer: type[Struct]) -> Operation:
    what = "The statement of a set of forced errors" if end else "A set of forced errors, and its effect"
    return Operation(
        "GET",
        f"{path}/{{id}}{end}",
        handler,
        name,
        what,
        (Answer(200, answer, what[0].lower() + what[1:]),),
        Example(f"{path}/$SET{end}"),
        scope=Scope.ERRORS_READ,
        for_tenants=True,
        description="A set can be read while a rule stands as it made it, and for status.retention from then on.",
        refusals=(404, 409),
        path_values=(_ID,),
    )


def _convert() -> Operation:
    return Operation(
        "POST",
        PATHS[Kind.PAUSE] + "/{id}/convert",
        pauses.convert,
        "convertPause",
        "Make a pause a forced error of the same id; no held delivery gets through in between",
        (Answer(200, ForcedError, "effective", (_ETAG,)), Answer(202, ForcedError, _LATER, (_ETAG,))),
        Example(f"{PATHS[Kind.PAUSE]}/$PAUSE/convert?wait=5s", {"code": 554, "extended": "5.7.1"}),
        scope=Scope.ERRORS_WRITE,
        for_tenants=True,
        refusals=(404, 409, *BODY_REFUSALS, 412),
        path_values=(_ID,),
        headers=(IF_MATCH,),
        query=OrderQuery,
        body=CONVERSION,
    )
