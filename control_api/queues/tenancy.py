"""Whose waiting mail a request is about."""

from control_api.http.problems import Problem
from mta.model.actor import Actor


def tenant_of(actor: Actor, asked: str | None) -> str | None:
    """The tenant whose mail is selected, None = that of all. A token that is bound to one selects that tenant's mail
    alone. Raises Problem 404 where it asks for another's."""
    if asked is not None and not actor.sees(asked):
        raise Problem(404, f"there is no mail of tenant {asked}", "tenant")
    return actor.tenant or asked
