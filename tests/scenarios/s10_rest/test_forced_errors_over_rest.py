"""`/v1/errors` as MailerQ's users know it, on a real store: forms and JSON, codes, filters, deletion, refusals."""

import json
from typing import Any

import pytest

from tests.support.node import until
from tests.support.rest import FORM, JSON, as_form, ask


def _json(**fields: Any) -> bytes:
    return json.dumps(fields).encode()


def test_a_form_and_json_make_the_same_rule_and_selectors_alone_remove_it(place: Any):
    api = place.api
    made = ask(
        api,
        "POST",
        "/v1/errors?wait=50s",
        as_form(code="554", extended="5.7.1", description="no", tag="f&m", pool="*", domain="Exämple.test"),
        FORM,
    )
    assert made.status == 201
    rule = made.body
    assert (rule["code"], rule["domain"], rule["tag"], rule["cluster"]) == (554, "xn--exmple-cua.test", "f&m", True)
    assert made.headers["Location"] == f"/v1/errors/{rule['id']}"
    assert "pool" not in rule
    assert (rule["effective"], len(rule["workers"]["confirmed"])) == (True, 2)
    assert ["f&m" in warning for warning in rule["warnings"]] == [True, False], "neither tag nor domain has mail"
    same = ask(api, "POST", "/v1/errors", _json(code=450, tag="f&m", domain="EXÄMPLE.test", pool=None))
    assert (same.status, same.body["id"], same.body["code"]) == (200, rule["id"], 450)
    assert "description" not in same.body, "replaced whole"
    assert same.body["generation"] > rule["generation"]
    listed = ask(api, "GET", "/v1/errors").body
    assert [(r["id"], r["hits"], r["last_hit_at"], r["shadowed_by"]) for r in listed] == [(rule["id"], 0, None, None)]
    assert ask(api, "DELETE", "/v1/errors", as_form(tag="f&m"), FORM).status == 404, "not exactly these selectors"
    gone = ask(api, "DELETE", "/v1/errors", as_form(code="999", tag="f&m", domain="exämple.test"), FORM)
    assert (gone.status, gone.body["id"], gone.body["effective"]) == (200, rule["id"], True)
    assert ask(api, "DELETE", "/v1/errors", _json(tag="f&m", domain="exämple.test")).status == 404
    assert ask(api, "GET", "/v1/errors").body == []


def test_rules_are_listed_by_selector_and_page_by_page(place: Any):
    api = place.api
    selectors = [
        {"tag": "one"},
        {"tag": "one", "pool": "gold"},
        {"pool": "gold", "domain": "*.list.test"},
        {"mta": "127.0.0.2"},
        {"tag": "two", "pool": "nobody"},
    ]
    made = [ask(api, "POST", "/v1/errors?wait=50s", _json(code="550", **chosen)) for chosen in selectors]
    assert [answer.status for answer in made] == [201] * 5
    ids = [answer.body["id"] for answer in made]
    warned = [sum("pool" in warning for warning in answer.body["warnings"]) for answer in made]
    assert warned == [0, 0, 0, 0, 1]

    def found(query: str) -> list[int]:
        answer = ask(api, "GET", "/v1/errors" + query)
        assert answer.status == 200
        return [ids.index(rule["id"]) for rule in answer.body]

    assert found("") == [0, 1, 2, 3, 4]
    assert found("?tag=one") == [0, 1]
    assert found("?pool=gold") == [1, 2]
    assert found("?pool=gold&tag=one") == [1]
    assert found("?domain=*.list.test") == [2]
    assert found("?domain=list.test") == []
    paths, pages = "/v1/errors?limit=2", []
    while paths:
        answer = ask(api, "GET", paths)
        pages.append([ids.index(rule["id"]) for rule in answer.body])
        link = answer.headers.get("Link", "")
        assert link == "" or link.endswith('>; rel="next"')
        paths = link.partition("<")[2].partition(">")[0]
    assert pages == [[0, 1], [2, 3], [4]]
    for id_ in ids:
        assert ask(api, "GET", f"/v1/errors/{id_}").body["id"] == id_
        assert ask(api, "DELETE", f"/v1/errors/{id_}?wait=50s").status == 200
        assert ask(api, "DELETE", f"/v1/errors/{id_}").status == 404


@pytest.mark.parametrize(
    ("body", "kind", "status", "field"),
    [
        (b'{"code": 354, "tag": "a"}', JSON, 400, "code"),
        (b'{"code": "55x", "tag": "a"}', JSON, 400, "code"),
        (b'{"tag": "a"}', JSON, 400, "code"),
        (b'{"code": 554}', JSON, 400, "everything"),
        (b'{"code": 554, "tag": "*"}', JSON, 400, "everything"),
        (b'{"code": 554, "pool": "a", "mta": "127.0.0.1"}', JSON, 400, "mta"),
        (b'{"code": 554, "tag": "a", "colour": 1}', JSON, 400, "colour"),
        (b'{"code": 554, "tag": "a", "extended": "4.7.1"}', JSON, 400, "extended"),
        (b'{"code": 554, "tag": "a", "description": "a\\r\\nb"}', JSON, 400, "description"),
        (b'{"code": 554, "tag": "a", "tag": "b"}', JSON, 400, "tag"),
        (b'{"code": 554', JSON, 400, "body"),
        (b"[]", JSON, 400, "body"),
        (b"code=554&tag=a&tag=b", FORM, 400, "tag"),
        (b"code=554&tag=a", "text/plain", 415, "Content-Type"),
        (b'{"code": 554, "tag": "' + b"a" * 1_100_000 + b'"}', JSON, 413, None),
    ],
)
def test_what_is_no_forced_error_is_refused_by_field_and_changes_nothing(
    place: Any, body: bytes, kind: str, status: int, field: str | None
):
    answer = ask(place.api, "POST", "/v1/errors", body, kind)
    assert (answer.status, answer.body["error"]["field"]) == (status, field), answer.body
    assert answer.body["error"]["request_id"] == answer.headers["X-Request-Id"]
    assert ask(place.api, "GET", "/v1/errors").body == []


def test_who_has_no_token_learns_nothing_and_changes_nothing(place: Any):
    api = place.api
    order = _json(code=554, tag="a")
    for token in (None, "", "wrong"):
        for method, path in (("POST", "/v1/errors"), ("GET", "/v1/workers"), ("GET", "/v1/nothing"), ("GET", "/")):
            answer = ask(api, method, path, order if method == "POST" else None, token=token)
            assert (answer.status, answer.body["error"]["type"]) == (401, "unauthorized")
    assert ask(api, "GET", "/healthz", token=None).status == 200
    until(lambda: ask(api, "GET", "/readyz", token=None).status == 200)
    assert ask(api, "GET", "/v1/errors").body == []
    wrong = ask(api, "PUT", "/v1/errors", order)
    assert wrong.status == 405
    assert set(wrong.headers["Allow"].split(",")) >= {"DELETE", "GET", "POST"}
    assert ask(api, "GET", "/v1/nothing").status == 404
    assert ask(api, "GET", "/v1/errors/nothing/statement").status == 404


def test_the_description_of_the_api_names_what_is_routed(place: Any):
    found = ask(place.api, "GET", "/openapi.json").body
    assert found["openapi"].startswith("3.1")
    assert set(found["paths"]["/v1/errors"]) >= {"get", "post", "delete"}
    for path in ("/v1/queues", "/v1/workers", "/v1/events", "/v1/tags/{tag}", "/v1/errors/{id}/statement", "/readyz"):
        assert path in found["paths"]
