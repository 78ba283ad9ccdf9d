"""The audit: each order with its author, its time, its client, and the state before and after (A12)."""

from typing import Any

from tests.scenarios.s40_tokens.conftest import Accounts
from tests.support.node import TOKEN, until
from tests.support.shell import Shell


def entries(place: Accounts, **wanted: str) -> list[dict[str, Any]]:
    """The oldest first."""
    query = "&".join(f"{name.rstrip('_')}={value}" for name, value in wanted.items())
    found: list[dict[str, Any]] = place.call("GET", f"/v1/audit?{query}")["entries"]
    return found[::-1]


def test_a12_each_change_of_a_rule_says_who_when_from_where_and_what(place: Accounts) -> None:
    token = place.token("errors:write", "errors:read")
    status, rule = place.asks(token, "POST", "/v1/errors?wait=50s", b'{"code": 554, "tag": "audited", "reason": "x"}')
    assert status == 201
    path = f"/v1/errors/{rule['id']}?wait=50s"
    assert place.asks(token, "PATCH", path, b'{"code": 451, "extended": null}')[0] == 200
    place.call("DELETE", path)
    made, edited, removed = entries(place, of=rule["id"])
    by = f"crm ({token['id']})"
    assert [(e["action"], e["by"], e["client"], e["result"]) for e in (made, edited, removed)] == [
        ("error.made", by, "127.0.0.1", "done"),
        ("error.edited", by, "127.0.0.1", "done"),
        ("error.removed", "admin", "127.0.0.1", "done"),
    ]
    assert "before" not in made
    assert (made["after"]["code"], edited["before"]["code"], edited["after"]["code"]) == (554, 554, 451)
    assert (removed["before"]["code"], "after" in removed) == (451, False)
    assert made["generation"] < edited["generation"] < removed["generation"]
    assert made["at"] <= edited["at"] <= removed["at"]
    assert [e["action"] for e in entries(place, by=token["id"])] == ["error.made", "error.edited"]
    lines = until(lambda: len(found := [e for e in place.node.events() if e["event"] == made["event"]]) and found)
    assert lines[0]["properties"]["after"], "the log has the same event"


def test_a12_an_intercepted_delivery_leads_to_the_author_of_the_rule_as_it_was(place: Accounts) -> None:
    maker, editor = place.token("errors:write"), place.token("errors:write")
    (message,) = place.node.send("a@lead.test", ("lead",), X_MQ_Delayed="+1h")
    status, pause = place.asks(maker, "POST", "/v1/pauses?wait=50s&until=swept", b'{"tag": "lead"}')
    assert status == 201
    path = f"/v1/pauses/{pause['id']}/convert?wait=50s&until=swept"
    assert place.asks(editor, "POST", path, b'{"code": 554}')[0] == 200
    forced = until(
        lambda: place.call("GET", f"/v1/messages/{message}")["recipients"][0].get("forced"), what="not intercepted"
    )
    assert forced["by"] == f"crm ({editor['id']})"
    before = [e for e in entries(place, of=forced["rule"]) if e["generation"] <= forced["generation"]]
    entry = max(before, key=lambda e: e["generation"])  # a canary may have moved the table on since
    assert (entry["action"], entry["by"], entry["before"]["kind"]) == ("error.converted", forced["by"], "pause")
    place.call("DELETE", f"/v1/errors/{pause['id']}?wait=50s")


def test_a12_orders_beside_the_rule_table_are_noted_before_they_are_carried_out(place: Accounts) -> None:
    token = place.token("messages:cancel", "queues:write", tenant="noted")
    (message,) = place.node.send("a@noted.test", ("noted",), X_MQ_Tenant="noted", X_MQ_Delayed="+1h")
    assert place.asks(token, "POST", "/v1/queues/retry?wait=50s", b'{"domain": "none.test"}')[0] == 200
    assert place.asks(token, "POST", f"/v1/messages/{message}/cancel?wait=50s")[0] == 200
    place.call("PUT", "/v1/tenants/noted?wait=50s", {"weight": 2})
    place.call("DELETE", f"/v1/tokens/{token['id']}")
    found = entries(place, tenant="noted")
    assert [(e["action"], e["result"]) for e in found] == [
        ("token.create", "ordered"), ("queue.retry", "ordered"), ("message.cancel", "ordered"), ("tenant.made", "done"),
        ("token.revoke", "ordered"),
    ]  # fmt: skip
    assert found[1]["after"] == {"domain": "none.test", "tenant": "noted"}
    assert found[2]["of"] == message
    assert token["token"] not in str(found)
    own = place.token("admin", tenant="noted")
    seen = place.asks(own, "GET", "/v1/audit")[1]["entries"]
    assert {e.get("tenant") for e in seen} == {"noted"}
    place.call("DELETE", "/v1/tenants/noted?wait=50s")


def test_a12_the_audit_pages_and_the_command_lists_it(place: Accounts) -> None:
    for number in range(5):
        place.token("errors:read", tenant=f"page{number}")
    first = place.call("GET", "/v1/audit?action=token&limit=2")
    second = place.call("GET", f"/v1/audit?action=token&limit=2&cursor={first['cursor']}")
    assert [e["tenant"] for e in (*first["entries"], *second["entries"])] == ["page4", "page3", "page2", "page1"]
    shell = Shell(place.node, place.sink)
    shell.environ["FLOODGATE_TOKEN"] = TOKEN
    said = shell.run("audit", "--action", "token.create", "--tenant", "page3", "--json")
    assert [e["action"] for e in said.json] == ["token.create"], said
    assert "token.create" in shell.run("audit", "--limit", "3").out
    assert place.call("GET", "/v1/audit?cursor=x", want=(400,))["error"]["field"] == "cursor"
