"""The gate by scope and tenant: each route x each scope x bound or not (A4)."""

import pytest

from control_api.access.gate import Rights
from control_api.app import create_app
from control_api.http.operation import Opening, Operation
from control_api.http.problems import Problem
from control_api.operations import operations
from mta.model.actor import Actor, ActorKind
from mta.model.scopes import Scope
from tests.support.control_api import Cluster, dependencies

OPERATIONS = {f"{operation.method} {operation.path}": operation for operation in operations()}
RIGHTS = Rights(operations())


def refused(operation: Operation, scopes: frozenset[Scope], tenant: str = "") -> str:
    """Why the gate refuses the operation to a token; "" = it lets it pass."""
    try:
        RIGHTS.require(operation.method, operation.path, Actor(ActorKind.TOKEN, "crm", scopes=scopes, tenant=tenant))
    except Problem as problem:
        return f"{problem.status}: {problem}"
    return ""


@pytest.mark.parametrize("name", OPERATIONS)
def test_a4_an_operation_declares_its_scope_unless_it_is_open(name: str) -> None:
    operation = OPERATIONS[name]
    assert (operation.scope is None) == (operation.opening is Opening.OPEN)
    assert not (operation.for_tenants and operation.scope is None)


@pytest.mark.parametrize("scope", Scope)
@pytest.mark.parametrize("name", OPERATIONS)
def test_a4_a_token_passes_with_the_scope_and_with_no_other(name: str, scope: Scope) -> None:
    operation = OPERATIONS[name]
    passes = operation.scope is None or scope in (operation.scope, Scope.ADMIN)
    assert (refused(operation, frozenset({scope})) == "") is passes


@pytest.mark.parametrize("name", OPERATIONS)
def test_a4_a_bound_token_passes_where_the_operation_knows_tenants(name: str) -> None:
    operation = OPERATIONS[name]
    passes = operation.scope is None or operation.for_tenants
    assert (refused(operation, frozenset({Scope.ADMIN}), "acme") == "") is passes


@pytest.mark.parametrize("name", [name for name in OPERATIONS if OPERATIONS[name].scope is not None])
def test_a4_a_token_without_scopes_passes_nowhere(name: str) -> None:
    assert "403: the token lacks the scope" in refused(OPERATIONS[name], frozenset())


def test_a4_a_route_that_is_no_operation_is_nobodys() -> None:
    with pytest.raises(Problem) as problem:
        RIGHTS.require("GET", "/v1/new", Actor(ActorKind.TOKEN, "crm", scopes=frozenset({Scope.ADMIN})))
    assert problem.value.status == 403


def test_a4_every_route_of_the_application_is_an_operation() -> None:
    """But the description, which is open, and routes of all methods, which refuse the undeclared ones with 405."""
    app = create_app(dependencies(Cluster()))
    routed = {(route.method, route.resource.canonical) for route in app.router.routes() if route.resource is not None}
    declared = {(operation.method, operation.path) for operation in OPERATIONS.values()}
    assert {one for one in routed if one[0] not in ("HEAD", "*")} - declared == {("GET", "/openapi.json")}
