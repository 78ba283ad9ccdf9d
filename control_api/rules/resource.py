"""The handlers that forced errors and pauses share: list, create, show, edit, remove, and the statement of a rule."""

import asyncio
import contextlib
import secrets
from collections.abc import Iterator, Mapping
from typing import Any, Final

import msgspec
from aiohttp import web

from control_api import dependencies
from control_api.access.actor import actor_of
from control_api.catalogue import Listing, position_of
from control_api.dependencies import Dependencies
from control_api.history.streams import FORMS, stream
from control_api.http.bodies import read_fields
from control_api.http.conditions import generations
from control_api.http.problems import Problem, array_response, encode, json_response, text_response
from control_api.http.query import read_no_query, read_query, read_query_or_body
from control_api.http.times import now_ms, shown
from control_api.rules import bounds
from control_api.rules.body import read_edit, read_rule, read_selectors
from control_api.rules.mail_of_rule import MailOfRule
from control_api.rules.statement import KnownRule, account_of, keep_account, past_statement, with_history
from control_api.rules.tenancy import ordered, require_code, require_own, sees, shown_to, within_reach
from control_api.rules.view import shown_effect, shown_rule, shown_use
from control_api.rules.warnings import warnings_of
from control_api.schemas import rule_answers
from control_api.schemas.history_queries import RuleDeliveriesQuery
from control_api.schemas.queries import OrderQuery, RulesQuery, StatementQuery, WaitQuery
from control_api.schemas.rule_bodies import EDITS, LIFTING, NEW, NOUNS
from control_api.schemas.values import cursor_of
from mta.model.actor import Actor
from mta.model.errors import OrderMade, StoreError
from mta.model.rules import Kind, Rule, Selectors
from mta.policy.bounded_orders import as_ordered, is_hold, is_waiting, was_refused
from mta.policy.rule_effect import is_active
from mta.policy.rule_table import RuleTable
from mta.policy.statement_page import lines_of, page_of
from mta.policy.sweep_end import is_over
from mta.ports.orders import Effect
from mta.ports.rule_store import Edit
from mta.timing.clock import boottime

PATHS: Final = {Kind.ERROR: "/v1/errors", Kind.PAUSE: "/v1/pauses"}
LISTED: Final = {Kind.ERROR: rule_answers.ListedForcedError, Kind.PAUSE: rule_answers.ListedPause}
WHOLE: Final = {Kind.ERROR: rule_answers.ForcedError, Kind.PAUSE: rule_answers.Pause}
REMOVED: Final = {Kind.ERROR: rule_answers.RemovedForcedError, Kind.PAUSE: rule_answers.RemovedPause}
_STATES: Final = {"true": (True,), "false": (False,), "all": (True, False)}


class RulesResource:
    """The rules of one kind. Its handlers answer 404 for a rule of the other kind."""

    def __init__(self, kind: Kind) -> None:
        self._kind = kind
        self._noun = NOUNS[kind]

    async def list_rules(self, request: web.Request) -> web.Response:
        """A JSON array of the rules in force, oldest first. `enabled=false` selects the disabled and the expired
        ones."""
        asked = read_query(request, RulesQuery)
        deps = dependencies.of(request)
        actor, listing = actor_of(request), await deps.catalogue.listing()
        page, more = await self._page(deps, listing, asked, actor)
        found: list[bytes] = []
        async for some in deps.turns.slices(page):
            counts = await deps.books.rules([rule.id for rule in some])
            found += [
                encode(
                    LISTED[self._kind](
                        **shown_rule(rule), **shown_to(actor, shown_use(rule, of_rule, listing.table), listing.table)
                    )
                )
                for rule, of_rule in zip(some, counts, strict=True)
            ]
        headers = {}
        if more:
            following = request.rel_url.update_query(cursor=cursor_of(*position_of(page[-1])))
            headers["Link"] = f'<{following}>; rel="next"'
        return array_response(found, headers)

    async def _page(
        self, deps: Dependencies, listing: Listing, asked: RulesQuery, actor: Actor
    ) -> tuple[list[Rule], bool]:
        """The rules that the query selects and the actor sees, in order, and whether there are more than it asks
        for."""
        now, states = now_ms(), _STATES[asked.enabled]
        wanted = {name: value for name in ("tag", "pool", "site") if (value := getattr(asked, name)) is not None}
        most, found = asked.limit, list[Rule]()
        async for some in deps.turns.slices(listing.behind(asked.cursor)):
            found += [
                rule
                for rule in some
                if rule.kind is self._kind
                and sees(actor, rule)
                and is_active(rule, now) in states
                and all(getattr(rule.selectors, name) == value for name, value in wanted.items())
                and (asked.domain is None or asked.domain in rule.selectors.names)
            ]
            if most is not None and len(found) > most:
                return found[:most], True
        return found, False

    async def create(self, request: web.Request) -> web.Response:
        """Create or replace a rule. 201: created, 200: replaced, 202: the event of `until` has not happened yet."""
        asked = read_query(request, OrderQuery)
        deps = dependencies.of(request)
        now = now_ms()
        fields = await read_fields(request, NEW[self._kind].lists())
        rule, actor = read_rule(fields, deps.node, now, self._kind), actor_of(request)
        rule = ordered(msgspec.structs.replace(rule, id=_new_id(now), created_at=now), actor)
        if actor.tenant and (known := await self._twin(deps, rule.selectors)) is not None:
            require_own(known, actor)
        bound = bounds.bound_of(fields, rule) if self._kind is Kind.ERROR else None
        if bound is not None:
            return await self._create_bounded(request, rule, bound, fields, asked)
        effect = await deps.orders.put(rule, actor, wait_of(request, asked), asked.until)
        return await order_response(deps, effect, asked.until, actor)

    async def _create_bounded(
        self, request: web.Request, rule: Rule, bound: bounds.Bound, fields: Mapping[str, Any], asked: OrderQuery
    ) -> web.Response:
        """202: the mail is held and not counted yet, or the event of `until` has not happened. 409: refused."""
        deps, wait = dependencies.of(request), wait_of(request, asked)
        until = boottime() + wait
        most = await bounds.most_matches(deps, bound, rule, fields)
        effect = await bounds.order(deps, rule, most, actor_of(request), wait)
        with order_made(effect.rule):
            while not is_waiting(effect.rule) and boottime() < until:
                if await reached(deps, effect, asked.until):
                    break
                await asyncio.sleep(bounds.LOOK)
                effect = (await deps.orders.effect(effect.rule))._replace(created=effect.created)
        return await order_response(deps, effect, asked.until, actor_of(request))

    async def edit(self, request: web.Request) -> web.Response:
        """Edit, enable or disable a rule. `If-Match` refuses the edit unless the rule is at that generation."""
        asked = read_query(request, OrderQuery)
        deps = dependencies.of(request)
        fields = await read_fields(request, EDITS[self._kind].lists(), nulls=True)
        edit = self.guarded_edit(request, read_edit(fields, now_ms(), self._kind))
        rule_id, wait = request.match_info["id"], wait_of(request, asked)
        effect = await deps.orders.edit(rule_id, edit, actor_of(request), wait, asked.until)
        if effect is None:
            raise self.not_found()
        return await order_response(deps, effect, asked.until, actor_of(request))

    async def _twin(self, deps: Dependencies, selectors: Selectors) -> Rule | None:
        """The rule of exactly these selectors."""
        rules = (await deps.catalogue.table()).rules()
        return next((rule for rule in rules if (rule.kind, rule.selectors) == (self._kind, selectors)), None)

    async def delete_by_selectors(self, request: web.Request) -> web.Response:
        """Remove the rule of exactly these selectors, given in the query or in a body. Other fields of a rule are
        ignored."""
        body = LIFTING[self._kind]
        fields, asked = await read_query_or_body(request, body)
        deps = dependencies.of(request)
        selectors = within_reach(read_selectors(fields, deps.node, now_ms(), self._kind), actor_of(request))
        (found,) = await deps.rules.ids_of([Rule("", selectors, kind=self._kind)])
        if not found:
            raise Problem(404, f"there is no {self._noun} with exactly these selectors")
        return await self._remove(request, found, asked)

    async def show(self, request: web.Request) -> web.Response:
        """Show one rule with its use and its effect."""
        read_no_query(request)
        deps = dependencies.of(request)
        table = await deps.catalogue.readable(request.match_info["id"])
        actor = actor_of(request)
        rule = await self._known(deps, table.rule(request.match_info["id"]), request.match_info["id"], actor)
        effect = await deps.orders.effect(rule)
        if self._kind is Kind.ERROR and is_hold(rule):
            effect = bounds.undecided(effect)
            rule = effect.rule
        use = _use(rule, await deps.books.rule(rule.id), table, actor)
        found = shown_rule(rule) | use | await shown_effect(deps, effect)
        if undo_until := await deps.undo_copies.until(rule.id, now_ms()):
            found["undo_until"] = shown(undo_until)
        return json_response(WHOLE[self._kind](**found), headers=_etag(rule))

    async def delete(self, request: web.Request) -> web.Response:
        """Remove one rule."""
        return await self._remove(request, request.match_info["id"], read_query(request, WaitQuery))

    async def statement(self, request: web.Request) -> web.Response:
        """The statement of a rule; of a removed rule from the store for `status.retention`, then from history."""
        asked = read_query(request, StatementQuery)
        deps = dependencies.of(request)
        try:
            known = await self._accounted(request)
        except Problem as unknown:
            said = await past_statement(request, self._kind)
            if said is None:
                raise unknown
        else:
            said = await account_of(deps, known)
            said = await with_history(request, known, said)
        if asked.format == "html":
            return web.Response(text=page_of(said), content_type="text/html", charset="utf-8")
        return json_response(said) if asked.format == "json" else text_response(lines_of(said))

    async def deliveries(self, request: web.Request) -> web.StreamResponse:
        """The deliveries of a rule as a stream, of one class or all that it met."""
        asked = read_query(request, RuleDeliveriesQuery)
        deps = dependencies.of(request)
        known = await self._accounted(request)
        mail = MailOfRule(known.effect, await deps.catalogue.readable(), deps.sites, actor_of(request).tenant)
        pages = mail.pages(deps.history, asked.wanted, known.acts_until(now_ms()))
        return await stream(request, pages, FORMS[asked.format])

    async def _accounted(self, request: web.Request) -> KnownRule:
        """The rule in the path, or as it was removed. Raises Problem 404."""
        deps, rule_id = dependencies.of(request), request.match_info["id"]
        rule = await deps.rules.rule(rule_id)
        removed = await deps.rules.removed(rule_id) if rule is None else None
        if removed is not None:
            self.require(removed.rule, actor_of(request))
            return KnownRule(await deps.orders.effect_of_removed(removed), removed.sweep, removed.at)
        rule = self.require(rule, actor_of(request))
        return KnownRule(await deps.orders.effect(rule), await deps.sweeps.sweep(rule.order_id))

    async def _remove(self, request: web.Request, rule_id: str, asked: WaitQuery) -> web.Response:
        deps, actor = dependencies.of(request), actor_of(request)
        if actor.tenant:
            require_own(self.require(await deps.rules.rule(rule_id), actor), actor)
        effect = await deps.orders.remove(rule_id, actor, wait_of(request, asked), self._kind)
        if effect is None:
            rule = self.require(await deps.rules.rule(rule_id), actor)
            effect = await deps.orders.remove(rule_id, actor, wait_of(request, asked), rule.kind)
        if effect is None:
            raise self.not_found()
        if self._kind is Kind.ERROR:
            effect = effect._replace(rule=as_ordered(effect.rule))
        with order_made(effect.rule):
            found = shown_rule(effect.rule) | await shown_effect(deps, effect)
        await keep_account(deps, effect.rule)
        found["statement_until"] = shown(now_ms() + int(deps.retention * 1000))
        return json_response(REMOVED[self._kind](**found), 200 if effect.effective else 202)

    def require(self, rule: Rule | None, actor: Actor) -> Rule:
        """`rule`. Raises Problem 404 if it is None, does not exist for the actor, or is of the other kind. The hold of
        an order with a bound is one of the forced errors, too: it is to become one."""
        if rule is None or not sees(actor, rule):
            raise self.not_found()
        if self._kind is not Kind.ERROR or not is_hold(rule):
            self._require_kind(rule)
        return rule

    async def _known(self, deps: Dependencies, rule: Rule | None, rule_id: str, actor: Actor) -> Rule:
        """`rule`. Raises Problem: 404 as `require`, 409 for an order that was refused because it matched too much."""
        if rule is None and self._kind is Kind.ERROR:
            removed = await deps.rules.removed(rule_id)
            if removed is not None and was_refused(removed.rule) and sees(actor, removed.rule):
                raise bounds.refusal(removed.rule)
        return self.require(rule, actor)

    def guarded_edit(self, request: web.Request, edit: Edit) -> Edit:
        """`edit` with checks around it: Problem 404 and 403 as for each change, 412 for a rule that has changed since
        the generation in `If-Match`."""
        wanted, actor = generations(request), actor_of(request)

        def checked(rule: Rule) -> Rule:
            if not sees(actor, rule):
                raise self.not_found()
            self._require_kind(rule)
            require_own(rule, actor)
            if wanted is not None and not any(
                tag.value in ("*", str(rule.generation)) and not tag.is_weak for tag in wanted
            ):
                words = f"the rule is at generation {rule.generation} by now; read it again"
                raise Problem(412, words, "If-Match", _etag(rule))
            edited = edit(rule)
            require_code(edited, actor)
            return edited

        return checked

    def _require_kind(self, rule: Rule) -> None:
        """Raises Problem 404 for a rule of the other kind; its message names the path of the rule."""
        if rule.kind not in PATHS:
            raise self.not_found()
        if rule.kind is not self._kind:
            where = f"{PATHS[rule.kind]}/{rule.id}"
            raise Problem(404, f"there is no {self._noun} with this id: it is a {NOUNS[rule.kind]}, see {where}")

    def not_found(self) -> Problem:
        words = "it may have been removed (then its statement can be read for a while)"
        return Problem(404, f"there is no {self._noun} with this id; {words}")


@contextlib.contextmanager
def order_made(rule: Rule) -> Iterator[None]:
    """Raises OrderMade for a StoreError: the store carried out the order and failed afterwards."""
    try:
        yield
    except StoreError as error:
        raise OrderMade(rule.id, error) from error


async def order_response(deps: Dependencies, effect: Effect, until: str, actor: Actor) -> web.Response:
    """The answer to an order of the actor."""
    rule = effect.rule
    with order_made(rule):
        status = (201 if effect.created else 200) if await reached(deps, effect, until) else 202
        found: dict[str, Any] = shown_rule(rule) | await shown_effect(deps, effect)
        found["warnings"] = await warnings_of(deps, effect, actor)
    headers = {"Location": f"{PATHS[rule.kind]}/{rule.id}"} if effect.created else {}
    return json_response(WHOLE[rule.kind](**found), status, headers | _etag(rule))


def _use(rule: Rule, counts: Mapping[str, int], table: RuleTable, actor: Actor) -> dict[str, Any]:
    """The use of the rule as the actor sees it."""
    return shown_to(actor, shown_use(rule, counts, table), table)


def wait_of(request: web.Request, asked: WaitQuery) -> float:
    """Seconds for which the request waits for the effect of its order."""
    return dependencies.of(request).api.wait if asked.wait is None else asked.wait


async def reached(deps: Dependencies, effect: Effect, until: str) -> bool:
    if until == "effective" or not effect.effective:
        return effect.effective
    if until == "quiet":
        return effect.quiet_at > 0
    return effect.quiet_at > 0 and is_over(effect.rule, await deps.sweeps.sweep(effect.rule.order_id), now_ms())


def _etag(rule: Rule) -> dict[str, str]:
    return {"ETag": f'"{rule.generation}"'}


def _new_id(now: int) -> str:
    """An id that sorts by the time of creation. It has hexadecimal digits only, so keys and paths can hold it."""
    return f"{now:012x}{secrets.token_hex(5)}"
