"""The rules of the measurements: of the kinds that people order, close to the relayed mail, matching none of it."""

from typing import Any

from bench.plan import CAMPAIGN, customer_of

KINDS = ("tag", "tag and domain", "pool and domain", "wildcard domain", "tags_all")


def selectors_of(number: int) -> dict[str, Any]:
    """The selectors of rule `number`; the kinds take turns, and no two rules select alike.

    Many share a tag, a domain or the parent of one with the relayed mail: a table of rules about entirely other mail
    would be passed over at the first probe.
    """
    kind = number % len(KINDS)
    if kind == 0:
        return {"tag": f"campaign_{number}"}
    if kind == 1:
        return {"tag": customer_of(number // len(KINDS)), "domain": f"r{number}.rules.test"}
    if kind == 2:
        return {"pool": f"pool_{number}", "domain": f"d{number // len(KINDS) % 5}.bench.test"}
    if kind == 3:
        return {"domain": f"*.w{number}.bench.test"}
    return {"tags_all": [CAMPAIGN, f"segment_{number}"]}


def rule(number: int) -> dict[str, Any]:
    """Rule `number` as the body of an order."""
    return {"code": 554, "extended": "5.7.1", "description": "stopped by the sender", **selectors_of(number)}
