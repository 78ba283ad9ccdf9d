"""Suppressions over REST: made, listed, removed, imported and exported; those of a tenant; bad ones refused."""

import json
from typing import Any

import pytest
from aiohttp.test_utils import TestClient

from control_api.schemas import suppression_shapes
from mta.model.rules import Head, SessionState
from mta.model.scopes import Scope
from mta.model.suppressions import SuppressionKey
from tests.support.control_api import Cluster

PATH = "/v1/suppressions"


async def add(api: TestClient, **fields: Any) -> tuple[int, dict[str, Any]]:
    answer = await api.post(f"{PATH}?wait=0", json=fields)
    return answer.status, await answer.json()


async def listed(api: TestClient, query: str = "", **more: Any) -> list[str]:
    found, cursor = [], ""
    while cursor is not None:
        page = await (await api.get(f"{PATH}?{query}{cursor and '&cursor=' + cursor}", **more)).json()
        found += [one.get("address") or one["domain"] for one in page["suppressions"]]
        cursor = page["cursor"]
    return sorted(found)


async def send(api: TestClient, body: str | bytes, kind: str = "application/x-ndjson", **more: Any) -> Any:
    headers = {"Content-Type": kind, **more.pop("headers", {})}
    answer = await api.post(f"{PATH}/import?wait=0", data=body, headers=headers)
    return answer.status, await answer.json()


async def test_one_is_made_replaced_and_shown_as_mailerq_writes_it(api: TestClient, cluster: Cluster) -> None:
    status, made = await add(
        api, address="Anna@X.TEST", extended="5.7.1", description="she asked", expire="2099-01-01 00:00:00"
    )
    assert (status, made.pop("effective"), made.pop("created_at")[:2]) == (201, True, "20")
    assert made == {
        "address": "anna@x.test", "reason": "manual", "note": "she asked", "extended": "5.7.1",
        "expires_at": "2099-01-01T00:00:00.000Z", "created_by": "admin",
    }  # fmt: skip
    status, made = await add(api, address="anna@x.test", reason="complaint")
    assert (status, made["reason"], "note" in made) == (200, "complaint", False)
    assert set(cluster.suppressions.kept) == {SuppressionKey("anna@x.test")}
    assert [(actor.name, deed.action, deed.of) for actor, deed in cluster.deeds] == [
        ("admin", "suppressions.put", "anna@x.test")
    ] * 2


async def test_it_is_effective_once_the_processes_of_this_node_follow(api: TestClient, cluster: Cluster) -> None:
    def follows(node: str, number: int) -> SessionState:
        return SessionState(node, node, 1, ("smtp",), Head(1, "c"), 1, metrics={"suppressions_change": number})

    cluster.states = {"here": follows("n1", 0), "there": follows("n2", 0)}
    assert (await add(api, domain="x.test"))[1]["effective"] is False
    cluster.states["here"] = follows("n1", 2)
    assert (await add(api, domain="x.test"))[1]["effective"] is True


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({}, "address"),
        ({"address": "a@x.test", "domain": "x.test"}, "address"),
        ({"address": "x.test"}, "address"),
        ({"address": "*@x.test"}, "address"),
        ({"domain": "*.x.test"}, "domain"),
        ({"domain": "*"}, "domain"),
        ({"domain": {}}, "domain"),
        ({"address": 5}, "address"),
        ({"address": "a@x.test", "expires_at": []}, "expires_at"),
        ({"address": "a@x.test", "extended": 5}, "extended"),
        ({"address": "a@x.test", "tenant": {}}, "tenant"),
        ({"address": "a@x.test", "topic": []}, "topic"),
        ({"address": "a@x.test", "note": 1}, "note"),
        ({"address": "a@x.test", "reason": "spite"}, "reason"),
        ({"address": "a@x.test", "expires_at": "2001-01-01T00:00:00Z"}, "expires_at"),
        ({"address": "a@x.test", "expires_at": "+1h", "expire": "+1h"}, "expire"),
        ({"address": "a@x.test", "note": "a", "description": "b"}, "description"),
        ({"address": "a@x.test", "topic": "x" * 129}, "topic"),
        ({"address": "a@x.test", "topic": "a\nb"}, "topic"),
        ({"address": "a@x.test", "created_at": "2001-01-01T00:00:00Z"}, "created_at"),
    ],
    ids=str,
)
async def test_a_bad_one_is_refused_by_the_name_of_its_field(api: TestClient, fields: Any, field: str) -> None:
    status, answer = await add(api, **fields)
    assert (status, answer["error"]["field"]) == (400, field)


async def test_lists_are_filtered_and_paged(api: TestClient) -> None:
    for number in range(7):
        await add(api, address=f"n{number}@x.test", topic="news" if number % 2 else None, note=f"list {number}")
    await add(api, domain="x.test", reason="complaint")
    await add(api, domain="sub.x.test")
    assert len(await listed(api, "domain=x.test")) == 8
    assert len(await listed(api, "domain=x.test&limit=1")) == 8
    assert await listed(api, "address=N3@x.test") == ["n3@x.test"]
    assert await listed(api, "topic=news&limit=2") == ["n1@x.test", "n3@x.test", "n5@x.test"]
    assert await listed(api, "reason=complaint") == ["x.test"]
    assert await listed(api, "text=LIST 4") == ["n4@x.test"]
    assert await listed(api, "until=2001-01-01T00:00:00Z") == []
    assert len(await listed(api, "from=2001-01-01T00:00:00Z")) == 9
    assert (await api.get(f"{PATH}?cursor=999~0~0")).status == 400


async def test_a_removal_needs_a_filter_and_a_dry_run_only_counts(api: TestClient, cluster: Cluster) -> None:
    for number in range(3):
        await add(api, address=f"n{number}@x.test")
    assert (await api.delete(PATH)).status == 400
    for name in ("address", "domain", "tenant", "topic", "reason", "from", "until", "text"):
        refused = await api.delete(f"{PATH}?{name}=")
        assert (refused.status, (await refused.json())["error"]["field"]) == (400, name)
        assert len(cluster.suppressions.kept) == 3
    assert await (await api.delete(f"{PATH}?domain=x.test&dry_run=true")).json() == {"matched": 3, "removed": 0}
    assert cluster.deeds[-1][1].action == "suppressions.put", "a count is no order"
    assert await (await api.delete(f"{PATH}?domain=x.test")).json() == {"matched": 3, "removed": 3}
    assert (cluster.suppressions.kept, cluster.deeds[-1][1].action) == ({}, "suppressions.remove")


async def test_a_token_of_a_tenant_sees_and_touches_its_own(api: TestClient, cluster: Cluster) -> None:
    await add(api, address="all@x.test")
    await add(api, address="other@x.test", tenant="else")
    its = cluster.give_token(Scope.SUPPRESSIONS_READ, Scope.SUPPRESSIONS_WRITE, tenant="acme")
    answer = await api.post(f"{PATH}?wait=0", json={"address": "its@x.test"}, headers=its)
    assert (await answer.json())["tenant"] == "acme"
    assert (await api.post(f"{PATH}?wait=0", json={"address": "b@x.test", "tenant": "else"}, headers=its)).status == 403
    _, done = await send(api, '{"address": "im@x.test"}\n{"address": "c@x.test", "tenant": "else"}\n', headers=its)
    assert (done["added"], done["errors"][0]["field"], done["errors"][0]["line"]) == (1, "tenant", 2)
    assert await listed(api, headers=its) == ["im@x.test", "its@x.test"]
    exported = await (await api.get(f"{PATH}/export", headers=its)).text()
    assert sorted(json.loads(line)["address"] for line in exported.splitlines()) == ["im@x.test", "its@x.test"]
    assert (await api.delete(f"{PATH}?tenant=else", headers=its)).status == 403
    removed = await (await api.delete(f"{PATH}?domain=x.test", headers=its)).json()
    assert removed == {"matched": 2, "removed": 2}
    assert await listed(api) == ["all@x.test", "other@x.test"]
    reader = cluster.give_token(Scope.SUPPRESSIONS_READ)
    assert (await api.delete(f"{PATH}?domain=x.test", headers=reader)).status == 403
    assert (await api.get(PATH, headers=cluster.give_token(Scope.MESSAGES_READ))).status == 403


async def test_rows_of_an_import_that_cannot_be_taken_are_named(api: TestClient, cluster: Cluster) -> None:
    body = '{"address":"a@x.test"}\n\n{"address":"b"}\n[1]\n{"domain":"x.test","colour":"red"}\n{"domain":"Y.test"}'
    status, done = await send(api, body)
    errors = [(one["line"], one["field"]) for one in done.pop("errors")]
    assert (status, done) == (200, {"rows": 5, "added": 2, "replaced": 0, "refused": 3, "effective": True})
    assert errors == [(3, "address"), (4, "body"), (5, "colour")]
    assert {key.subject for key in cluster.suppressions.kept} == {"a@x.test", "y.test"}


async def test_csv_may_quote_lines_and_begins_with_its_columns(api: TestClient, cluster: Cluster) -> None:
    rows = (
        'address,note,topic\r\na@x.test,"two\r\nlines, ""quoted""",\r\n"\'=b@x.test",,news\r\nc@x.test,"a, b",t,u\r\n'
    )
    status, done = await send(api, "\ufeff" + rows, "text/csv")
    assert (status, done["added"]) == (200, 1)
    assert [(one["line"], one["field"]) for one in done["errors"]] == [(2, "note"), (5, "body")]
    assert set(cluster.suppressions.kept) == {SuppressionKey("=b@x.test", "", "news")}
    status, refused = await send(api, "address,colour\na@x.test,red\n", "text/csv")
    assert (status, refused["error"]["field"]) == (400, "colour")


async def test_a_row_without_an_end_or_over_a_mebibyte_is_named_and_the_import_goes_on(
    api: TestClient, cluster: Cluster
) -> None:
    long = b"x" * (2 * 1024 * 1024)
    status, done = await send(api, b'{"address":"a@x.test"}\n{"note":"%b"}\n{"address":"b@x.test"}\n%b' % (long, long))
    assert (status, done["added"], done["refused"]) == (200, 2, 2)
    assert [(one["line"], one["field"]) for one in done["errors"]] == [(2, "body"), (4, "body")]
    rows = b'address,note\nc@x.test,"a\nb"\nd@x.test,"open\ne@x.test,x\nf@x.test,%b\ng@x.test,y\n' % long
    status, done = await send(api, rows, "text/csv")
    assert [one["line"] for one in done["errors"]] == [2, 4, 6]
    assert "quote" in done["errors"][1]["message"]
    assert "1048576 bytes" in done["errors"][2]["message"]
    assert {key.subject for key in cluster.suppressions.kept} == {f"{one}@x.test" for one in "abeg"}


async def test_a_row_that_is_not_utf_8_or_too_long_is_named_and_the_import_goes_on(
    api: TestClient, cluster: Cluster
) -> None:
    rows = b"address,note\na@x.test,\nb@x.test,\xfc\n\xfc@x.test,\nf@x.test,%b\nc@x.test,\xc3\xbc\n" % (b"x" * 200_000)
    status, done = await send(api, rows, "text/csv")
    assert (status, done["rows"], done["added"], done["refused"]) == (200, 5, 2, 3)
    assert [(one["line"], one["field"]) for one in done["errors"]] == [(3, "note"), (4, "address"), (5, "note")]
    status, done = await send(api, b'{"address":"d@x.test"}\n{"address":"\xfc@x.test"}\n{"address":"e@x.test"}\n')
    assert (status, done["added"], done["errors"][0]["line"]) == (200, 2, 2)
    assert {key.subject[0] for key in cluster.suppressions.kept} == set("acde")


@pytest.mark.parametrize(
    ("header", "field"), [("address,note,address", "address"), (b"address,n\xfc", "body"), ("address,", "body")]
)
async def test_a_first_line_of_csv_with_a_bad_column_is_refused(
    api: TestClient, header: str | bytes, field: str
) -> None:
    status, refused = await send(api, header, "text/csv")
    assert (status, refused["error"]["field"]) == (400, field)


async def test_the_hint_about_a_domain_with_a_star_can_be_followed(api: TestClient) -> None:
    _, refused = await add(api, domain="*.x.test")
    assert "*" not in refused["error"]["message"]


async def test_a_quoted_local_part_names_the_same_mailbox(api: TestClient, cluster: Cluster) -> None:
    assert (await add(api, address='"b\\ob"@x.test'))[1]["address"] == "bob@x.test"
    assert (await add(api, address="Bob@X.test"))[0] == 200
    assert await listed(api, "address=%22BOB%22@x.test") == ["bob@x.test"]


async def test_a_body_of_json_is_taken_whole_or_not(api: TestClient, cluster: Cluster) -> None:
    two = [{"address": "a@x.test"}, {"domain": "x.test", "created_at": "2020-01-01T00:00:00Z"}]
    status, done = await send(api, json.dumps({"suppressions": two}), "application/json")
    assert (status, done["rows"], done["added"]) == (200, 2, 2)
    bad = json.dumps({"suppressions": [{"address": "c@x.test"}, {"address": "d"}]})
    status, refused = await send(api, bad, "application/json")
    assert (status, refused["error"]["field"]) == (400, "suppressions[1].address")
    assert len(cluster.suppressions.kept) == 2
    assert (await send(api, "x", "text/plain"))[0] == 415


async def test_an_export_is_an_import(api: TestClient, cluster: Cluster) -> None:
    await add(api, address="+a@x.test", tenant="acme", topic="t", reason="unsubscribe", note="a, b", extended="5.1.1")
    await add(api, domain="y.test", expires_at="2099-01-01T00:00:00Z")
    before = dict(cluster.suppressions.kept)
    for form, kind in (("ndjson", "application/x-ndjson"), ("csv", "text/csv")):
        answer = await api.get(f"{PATH}/export?format={form}")
        assert answer.content_type == kind
        exported = await answer.text()
        cluster.suppressions.kept.clear()
        assert (await send(api, exported, kind))[1]["added"] == 2
        assert cluster.suppressions.kept == before
    assert exported.splitlines()[0] == ",".join(suppression_shapes.COLUMNS)
