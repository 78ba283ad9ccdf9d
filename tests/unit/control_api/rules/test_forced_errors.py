"""Forced errors over REST: statuses, bodies, lists and statements."""

from typing import Any

import pytest
from aiohttp.test_utils import TestClient, TestServer

from mta.model.errors import OldReaders, OutcomeUnknown, UnreadableRule
from mta.model.rules import Build, PastDot, Rule, Selectors
from mta.model.sweeps import SweepPhase, SweepState
from tests.support.control_api import AT, BEARER, Cluster, app_for, counts_of

AT_TEXT = "2023-11-14T22:13:20.000Z"


async def order(api: TestClient, status: int = 201, query: str = "", **fields: Any) -> dict[str, Any]:
    answer = await api.post("/v1/errors" + query, json={"code": 554} | fields)
    body: dict[str, Any] = await answer.json()
    assert answer.status == status, body
    return body


async def test_a_new_rule_is_201_with_what_is_known_of_it(api: TestClient, cluster: Cluster) -> None:
    cluster.tags["c"] = {"accepted": 1}
    cluster.past_dot = (PastDot("r", "01ARZ3NDEKTSV4RRFFQ69G5FAV.1", "a@b.example", AT),)
    answer = await api.post(
        "/v1/errors", json={"code": "554", "extended": "5.7.1", "description": "no", "tag": "c", "reason": "why"}
    )
    body = await answer.json()
    assert answer.status == 201
    assert answer.headers["Location"] == f"/v1/errors/{body['id']}"
    assert body["created_at"].endswith("Z")
    del body["created_at"], body["id"]
    assert body == {
        "code": 554,
        "extended": "5.7.1",
        "description": "no",
        "tag": "c",
        "cluster": True,
        "enabled": True,
        "at_the_door": "accept",
        "in_flight": "abort",
        "undo": True,
        "reason": "why",
        "created_by": "admin",
        "generation": 1,
        "effective": True,
        "effective_at": AT_TEXT,
        "past_dot": [{"id": "01ARZ3NDEKTSV4RRFFQ69G5FAV.1", "recipient": "a@b.example", "dot_at": AT_TEXT}],
        "quiet_at": "2023-11-14T22:13:20.007Z",
        "workers": {"confirmed": ["n1/smtp+delivery/11", "n2/smtp+delivery/22"], "unconfirmed": []},
        "warnings": [],
    }
    assert cluster.waits == [(0.5, "effective")]


async def test_the_same_selectors_replace_whole_and_are_200(api: TestClient) -> None:
    first = await order(api, tag="c", description="old", extended="5.1.1")
    second = await order(api, 200, tag="c", pool="*", code=450)
    assert second["id"] == first["id"]
    assert second["created_at"] == first["created_at"]
    assert second["code"] == 450
    assert "description" not in second
    assert "extended" not in second


async def test_what_is_not_confirmed_is_202_and_names_who_is_missing(api: TestClient, cluster: Cluster) -> None:
    cluster.effective = False
    body = await order(api, 202, "?wait=0", tag="c")
    assert body["effective"] is False
    assert body["effective_by"] == "2023-11-14T22:13:25.500Z"
    assert "effective_at" not in body
    assert body["quiet_at"] is None
    assert body["workers"] == {"confirmed": ["n1/smtp+delivery/11"], "unconfirmed": ["n2/smtp+delivery/22"]}
    assert cluster.waits == [(0.0, "effective")]


async def test_until_swept_is_202_until_the_sweep_is_done(api: TestClient, cluster: Cluster) -> None:
    first = await order(api, 202, "?wait=1500ms&until=swept", tag="c")
    assert cluster.waits == [(1.5, "swept")]
    cluster.sweep_states[first["id"]] = SweepState(first["id"], 2, SweepPhase.DONE, 5, 5, AT, AT, AT)
    await order(api, 200, "?until=swept", tag="c")


async def test_until_swept_is_reached_by_a_sweep_that_stopped_because_the_rule_expired(
    api: TestClient, cluster: Cluster
) -> None:
    first = await order(api, 202, "?until=swept", tag="c")
    cluster.sweep_states[first["id"]] = SweepState(first["id"], 2, SweepPhase.STOPPED, 5, 5, AT, AT, AT)
    await order(api, 200, "?until=swept", tag="c")


@pytest.mark.parametrize(
    ("query", "field"),
    [("?wait=soon", "wait"), ("?wait=11m", "wait"), ("?until=later", "until"), ("?force=1", "force")],
)
async def test_bad_patience_orders_nothing(api: TestClient, cluster: Cluster, query: str, field: str) -> None:
    answer = await api.post("/v1/errors" + query, json={"code": 554, "tag": "c"})
    assert answer.status == 400
    assert (await answer.json())["error"]["field"] == field
    assert not cluster.rules


async def test_a_form_is_taken_like_json(api: TestClient) -> None:
    answer = await api.post("/v1/errors", data={"code": "554", "domain": "Example.COM", "pool": "*"})
    body = await answer.json()
    assert (answer.status, body["code"], body["domain"]) == (201, 554, "example.com")
    assert "pool" not in body


async def test_a_form_field_given_twice_is_refused(api: TestClient) -> None:
    answer = await api.post("/v1/errors", data=[("code", "554"), ("tag", "a"), ("tag", "b")])
    assert answer.status == 400
    assert (await answer.json())["error"]["field"] == "tag"


async def test_unknown_pools_and_addresses_are_taken_with_a_warning(api: TestClient, cluster: Cluster) -> None:
    cluster.stored_pools = ["stored", "@192.0.2.9"]
    assert (await order(api, pool="stored"))["warnings"] == []
    assert (await order(api, pool="default"))["warnings"] == []
    assert (await order(api, pool="typo"))["warnings"] == ["pool typo is not known here and has no mail"]
    assert (await order(api, mta="192.0.2.1"))["warnings"] == []
    assert (await order(api, mta="192.0.2.9"))["warnings"] == []
    assert (await order(api, mta="192.0.2.8"))["warnings"] == ["address 192.0.2.8 is not known here and has no mail"]


async def test_o3_what_no_mail_carries_is_taken_with_a_warning(api: TestClient, cluster: Cluster) -> None:
    cluster.tags = {"spring-sale": {"accepted": 1}, "vip": {"accepted": 1}}
    cluster.queue_counts = [counts_of("default", "mail.gmail.com"), counts_of("default", "localhost")]
    assert (await order(api, tag="spring-sale"))["warnings"] == []
    assert (await order(api, tag="spring-sael"))["warnings"] == [
        "no mail carries tag spring-sael yet; check its spelling (seen lately: spring-sale)"
    ]
    assert (await order(api, tags_all=["spring-sale", "may"]))["warnings"] == [
        "no mail carries tag may yet; check its spelling"
    ]
    spared = await order(api, tag="spring-sale", except_tags=["vpi", "vip"])
    assert spared["warnings"] == ["no mail carries tag vpi yet, so except_tags spares none by it"]
    known = ("mail.gmail.com", "*.gmail.com", "*.com", "localhost")
    assert [(await order(api, domain=domain))["warnings"] for domain in known] == [[]] * len(known)
    assert (await order(api, domain="gmail"))["warnings"] == [
        "gmail is no domain name of the Internet (it has no dot), and no mail for it waits"
    ]
    for domain in ("gmail.com", "*.mail.gmail.com"):
        assert (await order(api, domain=domain))["warnings"] == [f"no mail for {domain} waits now; check its spelling"]
    assert len(cluster.rules) == 11, "a warning refuses nothing"


async def test_o3_pauses_and_edits_warn_too(api: TestClient) -> None:
    pause = await (await api.post("/v1/pauses", json={"tag": "typo"})).json()
    assert pause["warnings"] == ["no mail carries tag typo yet; check its spelling"]
    edited = await (await api.patch(f"/v1/pauses/{pause['id']}", json={"reason": "x"})).json()
    assert edited["warnings"] == pause["warnings"]


async def test_o4_a_rule_says_until_when_it_can_be_undone(api: TestClient, cluster: Cluster) -> None:
    rule = await order(api, tag="c")
    path = f"/v1/errors/{rule['id']}"
    assert "undo_until" not in await (await api.get(path)).json()
    cluster.undoable[rule["id"]] = 3
    assert (await (await api.get(path)).json())["undo_until"] == "2023-11-14T22:23:20.000Z"


async def test_o2_a_selector_over_rest_is_trimmed_like_a_header(api: TestClient, cluster: Cluster) -> None:
    rule = await order(api, tag=" one ", tenant="shop\t", domain=" x.example ", pool=" default", except_tags=["\tvip "])
    assert (rule["tag"], rule["tenant"], rule["domain"], rule["pool"]) == ("one", "shop", "x.example", "default")
    assert rule["except_tags"] == ["vip"]
    again = await order(api, 200, tag="one", tenant="shop", domain="x.example", pool="default", except_tags="vip")
    assert again["id"] == rule["id"]
    for query in ("tag=%20one", "domain=x.example%20", "pool=%09default"):
        assert len(await (await api.get(f"/v1/errors?{query}")).json()) == 1, query
    for name in ("tag", "tenant", "domain", "pool"):
        assert (await api.post("/v1/errors", json={"code": 554, name: " \t"})).status == 400
    cluster.tags["one"] = {"accepted": 1}
    for path in ("/v1/tags?tag=one%20", "/v1/tags/%20one"):
        assert (await (await api.get(path)).json())["accepted"] == 1


async def test_the_list_is_a_bare_array_with_hits(api: TestClient, cluster: Cluster) -> None:
    wide = await order(api, tag="c")
    narrow = await order(api, tag="c", pool="default", code=450)
    cluster.counts[wide["id"]] = {"hits": 7, "last_hit_at": AT}
    found = await (await api.get("/v1/errors")).json()
    assert sorted(rule["id"] for rule in found) == sorted([wide["id"], narrow["id"]])
    by_id = {rule["id"]: rule for rule in found}
    assert (by_id[wide["id"]]["hits"], by_id[wide["id"]]["last_hit_at"]) == (7, AT_TEXT)
    assert by_id[wide["id"]]["shadowed_by"] is None
    assert by_id[narrow["id"]]["shadowed_by"] == wide["id"]


async def test_the_list_filters_and_pages(api: TestClient, cluster: Cluster) -> None:
    for number in range(5):
        rule = Rule(f"r{number}", Selectors(tag=f"t{number % 2}", pool="p"), 550, created_at=AT + number)
        cluster.rules[rule.id] = rule
    assert [rule["id"] for rule in await (await api.get("/v1/errors?tag=t1&pool=p")).json()] == ["r1", "r3"]
    assert await (await api.get("/v1/errors?domain=x.example")).json() == []
    seen, url, pages = [], "/v1/errors?limit=2", 0
    while url:
        answer = await api.get(url)
        seen += [rule["id"] for rule in await answer.json()]
        link = answer.links.get("next")
        url, pages = (link["url"].path_qs if link else ""), pages + 1
    assert seen == ["r0", "r1", "r2", "r3", "r4"]
    assert pages == 3


@pytest.mark.parametrize("query", ["limit=0", "limit=x", "limit=10001", "cursor=!", "cursor=YQ"])
async def test_bad_paging_is_400(api: TestClient, query: str) -> None:
    assert (await api.get("/v1/errors?" + query)).status == 400


async def test_a_form_repeats_the_fields_that_are_lists(api: TestClient) -> None:
    answer = await api.post("/v1/errors", data=[("code", "554"), ("tags_all", "b"), ("tags_all", "a")])
    assert (answer.status, (await answer.json())["tags_all"]) == (201, ["a", "b"])


async def test_the_list_holds_what_is_in_force_unless_asked_for_the_rest(api: TestClient, cluster: Cluster) -> None:
    for rule in (
        Rule("on", Selectors(tag="a"), 550, created_at=1),
        Rule("later", Selectors(tag="b"), 550, created_at=2, expires_at=2**42),
        Rule("over", Selectors(tag="c"), 550, created_at=3, expires_at=AT),
        Rule("off", Selectors(tag="d"), 550, created_at=4, enabled=False),
    ):
        cluster.rules[rule.id] = rule

    async def listed(query: str) -> list[str]:
        return [rule["id"] for rule in await (await api.get("/v1/errors" + query)).json()]

    assert await listed("") == await listed("?enabled=true") == ["on", "later"]
    assert await listed("?enabled=false") == ["over", "off"]
    assert await listed("?enabled=all") == ["on", "later", "over", "off"]
    assert await listed("?enabled=all&tag=d") == ["off"]
    assert (await api.get("/v1/errors?enabled=maybe")).status == 400


async def test_an_order_again_without_its_fields_returns_to_the_defaults(api: TestClient) -> None:
    first = await order(api, tag="c", enabled=False, duration="1h", except_tags=["x"])
    assert (first["enabled"], "expires_at" in first) == (False, True)
    second = await order(api, 200, tag="c", except_tags=["x"])
    assert (second["id"], second["enabled"], "expires_at" in second) == (first["id"], True, False)
    other = await order(api, tag="c")
    assert other["id"] != first["id"], "the whole selector set is the identity"


async def test_a9_a_rule_is_edited_only_as_it_was_read(api: TestClient, cluster: Cluster) -> None:
    made = await order(api, tag="c", extended="5.7.1", description="old")
    url = f"/v1/errors/{made['id']}"
    tag = (await api.get(url)).headers["ETag"]
    assert tag == '"1"'
    answer = await api.patch(url + "?wait=1s&until=quiet", json={"enabled": False}, headers={"If-Match": tag})
    body = await answer.json()
    assert (answer.status, body["enabled"], body["description"], body["generation"]) == (200, False, "old", 2)
    assert answer.headers["ETag"] == '"2"'
    assert cluster.waits[-1] == (1.0, "quiet")
    for old in (tag, 'W/"2"'):
        late = await api.patch(url, json={"enabled": True}, headers={"If-Match": old})
        assert (late.status, late.headers["ETag"]) == (412, '"2"')
        assert (await late.json())["error"]["type"] == "precondition_failed"
    for new in ('"7", "2"', "*"):
        assert (await api.patch(url, json={"code": 553}, headers={"If-Match": new})).status == 200
        cluster.generation = 1
    assert (await api.patch(url, json={"code": 450})).status == 400
    assert (await api.patch(url, json={"tag": "d"})).status == 400
    assert cluster.rules[made["id"]].code == 553
    cleared = await (await api.patch(url, json={"code": 450, "extended": None, "duration": "1h"})).json()
    assert (cleared["code"], "extended" in cleared, "expires_at" in cleared) == (450, False, True)
    assert "expires_at" not in await (await api.patch(url, json={"expires_at": None})).json()
    cluster.effective = False
    assert (await api.patch(url, json={"enabled": True})).status == 202
    assert (await api.patch("/v1/errors/none", json={"enabled": True})).status == 404


async def test_protected_tags_are_warned_of(cluster: Cluster) -> None:
    async with TestClient(TestServer(app_for(cluster, protected_tags=("vip",))), headers=BEARER) as api:
        assert "vip too is spared" in (await order(api, tag="c"))["warnings"][0]
        assert "its mail is not spared" in (await order(api, tag="vip"))["warnings"][0]
        assert "matches nothing" in (await order(api, tags_all=["vip", "c"]))["warnings"][0]


async def test_delete_takes_exactly_these_selectors(api: TestClient, cluster: Cluster) -> None:
    body = await order(api, tag="c", domain="x.example")
    assert (await api.delete("/v1/errors", json={"tag": "c"})).status == 404
    answer = await api.delete("/v1/errors", json={"tag": "c", "domain": "X.example", "code": 999})
    removed = await answer.json()
    assert answer.status == 200
    assert (removed["id"], removed["effective"]) == (body["id"], True)
    assert not cluster.rules


async def test_delete_without_selectors_needs_everything(api: TestClient, cluster: Cluster) -> None:
    await order(api, everything=True)
    assert (await api.delete("/v1/errors", json={})).status == 400
    assert (await api.delete("/v1/errors", json={"everything": True})).status == 200
    assert not cluster.rules


async def test_one_rule_is_read_and_removed_by_id(api: TestClient, cluster: Cluster) -> None:
    body = await order(api, tag="c")
    shown = await (await api.get(f"/v1/errors/{body['id']}")).json()
    assert (shown["id"], shown["hits"], shown["effective"]) == (body["id"], 0, True)
    cluster.effective = False
    assert (await api.delete(f"/v1/errors/{body['id']}")).status == 202
    for method in ("GET", "DELETE"):
        assert (await api.request(method, f"/v1/errors/{body['id']}")).status == 404
    account = await (await api.get(f"/v1/errors/{body['id']}/statement")).json()
    assert (account["rule"], account["removed_at"]) == (body["id"], "2023-11-14T22:13:20.000Z")
    assert (await api.get("/v1/errors/never/statement")).status == 404


async def test_the_statement_of_a_rule(api: TestClient, cluster: Cluster) -> None:
    body = await order(api, tag="c")
    cluster.counts[body["id"]] = {"met": 5, "intercepted:queued": 4, "after": 1}
    cluster.tags["c"] = {"accepted": 8, "delivered": 4, "intercepted:queued": 4}
    cluster.sweep_states[body["id"]] = SweepState(body["id"], 1, SweepPhase.DONE, 5, 4, AT, AT + 1000, AT)
    found = await (await api.get(f"/v1/errors/{body['id']}/statement")).json()
    assert found["complete"] is True
    assert found["balanced"] is True
    assert (found["matched"], found["accepted"]) == (5, 8)
    assert found["intercepted"] == {"queued": 4, "attempt": 0, "before_dot": 0, "door": 0}
    assert found["delivered"] == {"before": 3, "after": 1}
    assert found["sweep"]["seen"] == 5


async def test_o8_a_statement_as_text_is_the_same_account_in_sentences(api: TestClient, cluster: Cluster) -> None:
    body = await order(api, tag="c", reason="wrong link")
    path = f"/v1/errors/{body['id']}/statement"
    cluster.counts[body["id"]] = {"met": 5, "intercepted:queued": 4, "after": 1}
    cluster.tags["c"] = {"accepted": 8, "delivered": 4, "intercepted:queued": 4}
    cluster.undoable[body["id"]] = 4
    said = await api.get(path + "?format=text")
    assert (said.status, said.content_type, said.charset) == (200, "text/plain", "utf-8")
    lines = (await said.text()).splitlines()
    assert lines[0].startswith("Campaign c, canceled ")
    assert lines[0].endswith(" by admin (wrong link): 8 accepted, 4 had it, 4 stopped, 0 undecided.")
    found = await (await api.get(path + "?format=json")).json()
    assert (found["tag"], found["reason"], found["created_by"]) == ("c", "wrong link", "admin")
    assert (found["undoable"], found["undo_until"]) == (4, "2023-11-14T22:23:20.000Z")
    assert found["created_at"] == body["created_at"]
    for other in ("xml", "TEXT", "csv"):
        refused = await api.get(f"{path}?format={other}")
        assert refused.status == 400
        error = (await refused.json())["error"]
        assert (error["field"], error["message"]) == ("format", "is none of json, text, html")
    await api.delete(f"/v1/errors/{body['id']}")
    gone = await (await api.get(path)).json()
    assert {name: gone[name] for name in ("tag", "code", "reason", "created_by", "created_at")} == {
        name: found[name] for name in ("tag", "code", "reason", "created_by", "created_at")
    }
    assert ": 8 accepted, 4 had it, 4 stopped, 0 undecided." in await (await api.get(path + "?format=text")).text()


async def test_the_store_away_is_503(api: TestClient, cluster: Cluster) -> None:
    await api.get("/v1/errors")
    cluster.away = True
    for method, path in (("GET", "/v1/errors"), ("GET", "/v1/errors/x"), ("DELETE", "/v1/errors/x")):
        answer = await api.request(method, path)
        assert (answer.status, answer.headers["Retry-After"]) == (503, "1")
        assert (await answer.json())["error"]["type"] == "unavailable"


@pytest.mark.parametrize("tag", ["", "0", "{}", '"x"', "junk", '"1",'])
async def test_a9_a_generation_that_is_none_is_refused(api, tag: str) -> None:
    made = await (await api.post("/v1/errors", json={"code": 554, "tag": "a"})).json()
    answer = await api.patch(f"/v1/errors/{made['id']}", json={"code": 553}, headers={"If-Match": tag})
    assert (answer.status, (await answer.json())["error"]["field"]) == (400, "If-Match")


async def test_k15_a_list_that_cannot_be_whole_is_refused_and_other_rules_are_still_shown(api, cluster) -> None:
    created = [(await (await api.post("/v1/errors", json={"code": 554, "tag": tag})).json())["id"] for tag in "ab"]
    cluster.unreadable = {created[0]: UnreadableRule(created[0], "unknown field `site`")}
    cluster.generation += 1
    for method, path in (("GET", "/v1/errors"), ("GET", f"/v1/errors/{created[0]}"), ("DELETE", "/v1/errors?wait=0")):
        answer = await api.request(method, path, json={"tag": "a"} if method == "DELETE" else None)
        error = (await answer.json())["error"]
        assert (answer.status, error["type"]) == (409, "conflict"), path
        assert "unknown field `site`" in error["message"]
    assert (await api.get(f"/v1/errors/{created[1]}")).status == 200
    assert (await api.get("/v1/tags/b")).status == 200


async def test_k15_an_order_names_who_cannot_read_the_table_and_why(api, cluster) -> None:
    cluster.effective = False
    cluster.builds = {"s1": Build(), "s2": Build("fg_11111111", 1, "rule x cannot be read here")}
    body = await (await api.post("/v1/errors", json={"code": 554, "tag": "a"})).json()
    assert body["workers"]["unconfirmed"] == ["n2/smtp+delivery/22"]
    assert "n2/smtp+delivery/22 confirms nothing and delivers nothing: rule x cannot be read here" in body["warnings"]


async def test_k15_a_rule_that_older_processes_cannot_read_is_a_conflict(api, cluster, monkeypatch) -> None:
    async def refuse(*_: object) -> None:
        raise OldReaders(["n1/smtp+delivery/11"])

    monkeypatch.setattr("tests.support.control_api.Orders.put", refuse)
    answer = await api.post("/v1/errors", json={"code": 554, "tag": "a"})
    assert answer.status == 409
    assert "n1/smtp+delivery/11" in (await answer.json())["error"]["message"]


@pytest.mark.parametrize("base", ["/v1/errors", "/v1/pauses"])
async def test_o11_a_rule_is_lifted_by_selectors_in_the_query_as_in_a_body(
    api: TestClient, cluster: Cluster, base: str
) -> None:
    order: dict[str, Any] = {"tag": "q2", "domain": "example.com", "tags_all": ["b", "a"]}
    made = await api.post(base, json=order | ({"code": 554} if base == "/v1/errors" else {}))
    rule_id = (await made.json())["id"]
    query = "?tag=q2&tags_all=a&tags_all=b&domain=EXAMPLE.com&wait=1s"
    both = await api.delete(base + query, json=order)
    assert (both.status, (await both.json())["error"]["field"]) == (400, "body")
    assert (await api.delete(base + "?tag=q2")).status == 404, "exactly these selectors"
    answer = await api.delete(base + query)
    assert (answer.status, (await answer.json())["id"]) == (200, rule_id)
    assert cluster.rules == {}
    for wrong, field in (("?tagg=q2", "tagg"), ("?tag=a&tag=b", "tag"), ("?everything=maybe", "everything")):
        answer = await api.delete(base + wrong)
        assert (answer.status, (await answer.json())["error"]["field"]) == (400, field)
    neither = await api.delete(base)
    assert (neither.status, (await neither.json())["error"]["field"]) == (400, "everything")


async def test_o11_a_star_in_the_query_is_no_selector(api: TestClient) -> None:
    answer = await api.delete("/v1/errors?tag=*")
    assert (answer.status, (await answer.json())["error"]["field"]) == (400, "everything")
    made = await api.post("/v1/errors", json={"code": 554, "everything": True})
    assert made.status == 201
    assert (await api.delete("/v1/errors?everything=true&domain=*")).status == 200


async def test_k2_a_store_that_goes_away_after_an_order_denies_nothing(
    api: TestClient, cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    effect_of = cluster.effect_of

    def last_answer(rule: Rule, created: bool) -> Any:
        cluster.away = True
        return effect_of(rule, created)

    monkeypatch.setattr(cluster, "effect_of", last_answer)
    await api.get("/v1/errors")
    answer = await api.post("/v1/errors", json={"code": 554, "tag": "c"})
    (rule_id,) = cluster.rules
    message = (await answer.json())["error"]["message"]
    assert (answer.status, f"the order was made (rule {rule_id})" in message) == (503, True)
    assert "floodgate errors list --enabled all" in message


@pytest.mark.parametrize(
    ("path", "where"),
    [
        ("/v1/errors", "floodgate errors list --enabled all (GET /v1/errors?enabled=all)"),
        ("/v1/pauses", "floodgate pauses list --enabled all (GET /v1/pauses?enabled=all)"),
    ],
)
async def test_k2_an_order_that_nobody_can_tell_about_says_where_to_look(
    api: TestClient, cluster: Cluster, monkeypatch: pytest.MonkeyPatch, path: str, where: str
) -> None:
    await api.get("/v1/errors")

    def unknown(rule: Rule) -> Rule | None:
        raise OutcomeUnknown("no answer")

    monkeypatch.setattr(cluster, "twin", unknown)
    answer = await api.post(path, json={"tag": "c"} | ({"code": 554} if path.endswith("errors") else {}))
    message = (await answer.json())["error"]["message"]
    assert (answer.status, where in message) == (503, True), message
    assert message.startswith("it is not known whether the order was made")
