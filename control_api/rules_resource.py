"""What forced errors and pauses have in common over REST: list, order, edit, lift, and the account of a rule."""

import contextlib
import secrets
from collections.abc import Iterator
from operator import itemgetter

import msgspec
import orjson
from aiohttp import web

from control_api import dependencies
from control_api.bodies import read_fields
from control_api.dependencies import Dependencies
from control_api.problems import Problem, array_response, json_response
from control_api.query import (
    LONGEST_WAIT,
    cursor_of,
    read_cursor,
    read_limit,
    read_query,
    read_query_fields,
    read_wait,
)
from control_api.rule_body import (
    LISTS,
    NOUNS,
    check_fields,
    read_domain,
    read_edit,
    read_pool,
    read_rule,
    read_selectors,
    read_tag,
    rule_fields,
)
from control_api.rule_view import shown_effect, shown_rule, use_of, warnings_of
from control_api.times import now_ms, shown
from mta.model.errors import BadValue, OrderMade, StoreError
from mta.model.rules import Kind, Rule
from mta.orders.statement import only_tag, rule_statement
from mta.policy.rule_effect import in_force
from mta.policy.sweep_end import is_over
from mta.ports.orders import Effect
from mta.ports.rule_store import Edit

PATHS = {Kind.ERROR: "/v1/errors", Kind.PAUSE: "/v1/pauses"}
_UNTIL = ("effective", "quiet", "swept")
_STATES = {"true": (True,), "false": (False,), "all": (True, False)}


class RulesResource:
    """The rules of one kind; those of the other are not there."""

    def __init__(self, kind: Kind) -> None:
        self._kind = kind
        self._noun = NOUNS[kind]

    async def list(self, request: web.Request) -> web.Response:
        """GET ?tag=&pool=&domain=&enabled=&limit=&cursor=: a bare array of the rules in force, oldest first;
        `enabled=false` are those that are disabled or have expired."""
        asked = read_query(request, ("tag", "pool", "domain", "enabled", "limit", "cursor"))
        states = _STATES.get(asked.get("enabled", "true"))
        if states is None:
            raise BadValue("enabled", f"is none of {', '.join(_STATES)}")
        limit = read_limit(asked.get("limit"), None)
        after = read_cursor(asked.get("cursor"), 2)
        wanted = {
            "tag": read_tag(asked["tag"], "tag") if "tag" in asked else None,
            "pool": read_pool(asked["pool"], "pool") if "pool" in asked else None,
            "domain": read_domain(asked["domain"], "domain", wildcard=True) if "domain" in asked else None,
        }
        deps = dependencies.of(request)
        table = await deps.catalogue.table()
        now = now_ms()
        keyed: list[tuple[tuple[str, str], Rule]] = []
        async for some in deps.turns.slices(list(table.rules())):
            keyed += [
                (_order(rule), rule)
                for rule in some
                if rule.kind is self._kind
                and in_force(rule, now) in states
                and all(value is None or getattr(rule.selectors, name) == value for name, value in wanted.items())
                and (after is None or _order(rule) > after)
            ]
        keyed.sort(key=_first)
        page = [rule for _, rule in (keyed if limit is None else keyed[:limit])]
        shown: list[bytes] = []
        async for some in deps.turns.slices(page):
            counts = await deps.books.rules([rule.id for rule in some])
            shown += [
                orjson.dumps(shown_rule(rule) | use_of(rule, of_rule, table))
                for rule, of_rule in zip(some, counts, strict=True)
            ]
        headers = {}
        if len(keyed) > len(page):
            following = request.rel_url.update_query(cursor=cursor_of(*_order(page[-1])))
            headers["Link"] = f'<{following}>; rel="next"'
        return array_response(shown, headers)

    async def create(self, request: web.Request) -> web.Response:
        """POST ?wait=&until=: 201 created, 200 replaced, 202 where what is waited for has not happened yet."""
        wait, until = patience(request)
        deps = dependencies.of(request)
        now = now_ms()
        asked = read_rule(await read_fields(request, LISTS), deps.node, now, self._kind)
        rule = msgspec.structs.replace(asked, id=_new_id(now), created_at=now, created_by="admin")
        return await changed(deps, await deps.orders.put(rule, wait, until), until)

    async def edit(self, request: web.Request) -> web.Response:
        """PATCH /{id}?wait=&until=: edit, enable, disable. `If-Match`: only if the rule is at that generation."""
        wait, until = patience(request)
        deps = dependencies.of(request)
        edit = read_edit(await read_fields(request, LISTS, nulls=True), now_ms(), self._kind)
        edit = self.only_ours(request, edit)
        effect = await deps.orders.edit(request.match_info["id"], edit, "admin", wait, until)
        if effect is None:
            raise self.unknown()
        return await changed(deps, effect, until)

    async def delete_by_selectors(self, request: web.Request) -> web.Response:
        """DELETE: the rule of exactly these selectors, in the query or in a body; other fields of a rule are taken and
        ignored."""
        asked = read_query_fields(request, rule_fields(self._kind), LISTS)
        wait = _wait(request)
        deps = dependencies.of(request)
        in_query = any(name != "wait" for name in request.query)
        if in_query and request.can_read_body:
            raise BadValue("body", "stands beside selectors in the query; give them in one of the two")
        fields = asked if in_query else await read_fields(request, LISTS)
        check_fields(fields, self._kind)
        selectors = read_selectors(fields, deps.node)
        rules = (await deps.catalogue.table()).rules()
        found = next((rule for rule in rules if (rule.kind, rule.selectors) == (self._kind, selectors)), None)
        if found is None:
            raise Problem(404, f"there is no {self._noun} with exactly these selectors")
        return await self._remove(deps, found.id, wait)

    async def show(self, request: web.Request) -> web.Response:
        """GET /{id}."""
        read_query(request)
        deps = dependencies.of(request)
        table = await deps.catalogue.readable(request.match_info["id"])
        rule = self.ours(table.rule(request.match_info["id"]))
        effect = await deps.orders.effect(rule)
        counts = await deps.books.rule(rule.id)
        body = shown_rule(rule) | use_of(rule, counts, table) | await shown_effect(deps, effect)
        if undo_until := await deps.undo_copies.until(rule.id, now_ms()):
            body["undo_until"] = shown(undo_until)
        return json_response(body, headers=_etag(rule))

    async def delete(self, request: web.Request) -> web.Response:
        """DELETE /{id}."""
        wait, _ = patience(request, until=False)
        return await self._remove(dependencies.of(request), request.match_info["id"], wait)

    async def statement(self, request: web.Request) -> web.Response:
        """GET /{id}/statement; of a removed rule for `status.retention`."""
        read_query(request)
        deps = dependencies.of(request)
        rule_id, removed_at = request.match_info["id"], 0
        rule = await deps.rules.rule(rule_id)
        removed = await deps.rules.removed(rule_id) if rule is None else None
        if removed is not None:
            rule, removed_at, sweep = self.ours(removed.rule), removed.at, removed.sweep
            effect = await deps.orders.effect_of_removed(removed)
        else:
            rule = self.ours(rule)
            effect = await deps.orders.effect(rule)
            sweep = await deps.sweeps.sweep(rule.id)
        counts = await deps.books.rule(rule.id)  # before the tag's, see rule_statement
        tag = only_tag(rule.selectors)
        of_tag = None if tag is None else await deps.books.tag(tag)
        undoable = await deps.undo_copies.count(rule.id, now_ms())
        account = rule_statement(effect, counts, of_tag, sweep, now_ms(), undoable, removed_at)
        return json_response(msgspec.to_builtins(account))

    async def _remove(self, deps: Dependencies, rule_id: str, wait: float) -> web.Response:
        effect = await deps.orders.remove(rule_id, "admin", wait, self._kind)
        if effect is None:
            self.ours(await deps.rules.rule(rule_id))
            raise self.unknown()  # it came after it was to be removed
        with order_made(effect.rule):
            body = shown_rule(effect.rule) | await shown_effect(deps, effect)
        body["statement_until"] = shown(now_ms() + int(deps.retention * 1000))
        return json_response(body, 200 if effect.effective else 202)

    def ours(self, rule: Rule | None) -> Rule:
        """Raises Problem 404 where there is none of this kind."""
        if rule is None:
            raise self.unknown()
        self.check(rule)
        return rule

    def only_ours(self, request: web.Request, edit: Edit) -> Edit:
        """`edit`, which is refused for a rule of the other kind, or one that is not as `If-Match` says."""
        wanted = request.if_match

        def checked(rule: Rule) -> Rule:
            self.check(rule)
            if wanted is not None and not any(
                tag.value in ("*", str(rule.generation)) and not tag.is_weak for tag in wanted
            ):
                words = f"the rule is at generation {rule.generation} by now; read it again"
                raise Problem(412, words, "If-Match", _etag(rule))
            return edit(rule)

        return checked

    def check(self, rule: Rule) -> None:
        """Raises Problem 404, which says where to look."""
        if rule.kind is not self._kind:
            where = f"{PATHS[rule.kind]}/{rule.id}"
            raise Problem(404, f"there is no {self._noun} with this id: it is a {NOUNS[rule.kind]}, see {where}")

    def unknown(self) -> Problem:
        words = "it may have been removed (then its statement can be read for a while)"
        return Problem(404, f"there is no {self._noun} with this id; {words}")


@contextlib.contextmanager
def order_made(rule: Rule) -> Iterator[None]:
    """A store that goes away now does not undo the order."""
    try:
        yield
    except StoreError as error:
        raise OrderMade(rule.id, error) from error


async def changed(deps: Dependencies, effect: Effect, until: str) -> web.Response:
    """The answer to an order."""
    rule = effect.rule
    with order_made(rule):
        status = (201 if effect.created else 200) if await _reached(deps, effect, until) else 202
        body = shown_rule(rule) | await shown_effect(deps, effect)
        body["warnings"] = await warnings_of(deps, effect)
    headers = {"Location": f"{PATHS[rule.kind]}/{rule.id}"} if effect.created else {}
    return json_response(body, status, headers | _etag(rule))


def patience(request: web.Request, until: bool = True) -> tuple[float, str]:
    """How long to wait, and for what."""
    asked = read_query(request, ("wait", "until") if until else ("wait",))
    wait = _wait(request)
    goal = asked.get("until", "effective")
    if goal not in _UNTIL:
        raise BadValue("until", f"is none of {', '.join(_UNTIL)}")
    return wait, goal


def _wait(request: web.Request) -> float:
    return read_wait(request.query.get("wait"), "wait", dependencies.of(request).api.wait, LONGEST_WAIT)


async def _reached(deps: Dependencies, effect: Effect, until: str) -> bool:
    if until == "effective" or not effect.effective:
        return effect.effective
    if until == "quiet":
        return effect.quiet_at > 0
    return effect.quiet_at > 0 and is_over(effect.rule, await deps.sweeps.sweep(effect.rule.id), now_ms())


def _etag(rule: Rule) -> dict[str, str]:
    return {"ETag": f'"{rule.generation}"'}


_first = itemgetter(0)


def _order(rule: Rule) -> tuple[str, str]:
    return f"{rule.created_at:015d}", rule.id


def _new_id(now: int) -> str:
    """Sorts by time of creation; made of hexadecimal digits only, so that it can stand in keys and paths."""
    return f"{now:012x}{secrets.token_hex(5)}"


def routes(resource: RulesResource, kind: Kind) -> list[web.RouteDef]:
    """What both kinds have."""
    path = PATHS[kind]
    return [
        web.get(path, resource.list),
        web.post(path, resource.create),
        web.delete(path, resource.delete_by_selectors),
        web.get(path + "/{id}", resource.show),
        web.patch(path + "/{id}", resource.edit),
        web.delete(path + "/{id}", resource.delete),
        web.get(path + "/{id}/statement", resource.statement),
    ]
