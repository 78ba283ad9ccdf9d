"""Every deviation from MailerQ's documented API, with the call that shows it; docs/mailerq.md has the same list."""

import json
import re
from collections.abc import Callable
from secrets import token_hex
from typing import Any, NamedTuple

import pytest

from tests.scenarios.s37_mailerq.client import Client
from tests.scenarios.s37_mailerq.test_calls import ERRORS, PAUSES
from tests.support.rest import ask
from tests.support.sources import ROOT


class Deviation(NamedTuple):
    """A row of the table of docs/mailerq.md, and what a client sees of it."""

    point: str
    mailerq: str
    floodgate: str
    seen: Callable[[Any, Client], None]


def _refused(**fields: Any) -> Callable[[Any, Client], None]:
    def seen(place: Any, client: Client) -> None:
        assert client.post(ERRORS, fields) == 400
        assert client.list(ERRORS) == []

    return seen


def _cluster(place: Any, client: Client) -> None:
    assert client.post(ERRORS, {"code": 554, "tag": "wide"}) == 201
    assert [rule["cluster"] for rule in client.list(ERRORS)] == [True]
    assert client.delete(ERRORS, {"tag": "wide", "cluster": False}) == 404
    assert client.delete(ERRORS, {"tag": "wide"}) == 200


def _everything(place: Any, client: Client) -> None:
    assert client.post(ERRORS, {"code": 450}) == 400
    assert client.post(ERRORS, {"code": 450, "everything": True}) == 201
    assert client.delete(ERRORS, {"everything": True}) == 200


def _at_once(place: Any, client: Client) -> None:
    tag = f"waits-{token_hex(4)}"  # another one for each kind of body
    place.node.send("a@waits.test", (tag,), X_MQ_Delayed="+5h")
    assert client.post(ERRORS, {"code": 554, "tag": tag}) == 201
    (event,) = place.logged(tag, "Intercepted", 1)
    assert event["forced"]["stage"] == "queued"
    assert client.delete(ERRORS, {"tag": tag}) == 200


def _intercepted(place: Any, client: Client) -> None:
    tag = f"is-no-bounce-{token_hex(4)}"  # another one for each kind of body
    assert client.post(ERRORS, {"code": 554, "tag": tag}) == 201
    place.node.send("a@bounce.test", (tag,))
    assert place.rests(tag, queued=0)["bounced"] == 0
    (event,) = place.logged(tag, "Intercepted", 1)
    assert event["origin"] == "forced"
    assert client.delete(ERRORS, {"tag": tag}) == 200


def _discards(place: Any, client: Client) -> None:
    tag = f"discarded-{token_hex(4)}"  # another one for each kind of body
    assert client.post(ERRORS, {"code": 250, "tag": tag}) == 201
    place.node.send("a@discarded.test", (tag,))
    (event,) = place.logged(tag, "Intercepted", 1)
    assert event["code"] == 250
    assert place.node.statement(tag)["delivered"] == 0
    assert client.delete(ERRORS, {"tag": tag}) == 200


def _statuses(place: Any, client: Client) -> None:
    rule = {"code": 554, "tag": "once"}
    assert [client.post(ERRORS, rule), client.post(ERRORS, rule)] == [201, 200]
    assert ask(place.api, "POST", f"{ERRORS}?wait=0", b'{"code": 554, "tag": "once"}').status in (200, 202)
    assert client.delete(ERRORS, {"tag": "once"}) == 200


def _nothing_to_remove(place: Any, client: Client) -> None:
    assert client.delete(ERRORS, {"tag": "nobody has it"}) == 404
    assert client.delete(PAUSES, {"tag": "nobody has it"}) == 404


def _exactly(place: Any, client: Client) -> None:
    assert client.post(ERRORS, {"code": 554, "tag": "a", "domain": "b.test"}) == 201
    assert client.delete(ERRORS, {"tag": "a"}) == 404
    assert client.delete(ERRORS, {"tag": "a", "domain": "b.test", "code": 421}) == 200


def _query_and_body(place: Any, client: Client) -> None:
    assert ask(place.api, "DELETE", f"{ERRORS}?tag=a", b'{"tag": "a"}').status == 400


def _more_keys(place: Any, client: Client) -> None:
    assert client.post(ERRORS, {"code": 554, "tag": "keys"}) == 201
    (rule,) = client.list(ERRORS)
    assert {"id", "generation", "enabled", "hits", "created_by", "in_flight"} <= rule.keys()
    assert client.delete(ERRORS, {"tag": "keys"}) == 200


def _end_of_a_pause(place: Any, client: Client) -> None:
    for name in ("expire", "expires_at"):
        assert client.post(PAUSES, {"tag": name, name: "2099-01-01T00:00:00Z"}) == 201
        assert [pause["expires_at"][:10] for pause in client.list(PAUSES)] == ["2099-01-01"]
        assert client.delete(PAUSES, {"tag": name}) == 200


def _any(place: Any, client: Client) -> None:
    assert client.post(ERRORS, {"code": 554, "tag": "any", "domain": "*", "mta": "*"}) == 201
    (rule,) = client.list(ERRORS)
    assert not {"domain", "mta"} & rule.keys()
    assert client.delete(ERRORS, {"tag": "any"}) == 200


def _below(place: Any, client: Client) -> None:
    tag = f"below-{token_hex(4)}"  # another one for each kind of body
    assert client.post(ERRORS, {"code": 554, "domain": "*.below.test"}) == 201
    place.node.send("a@x.below.test", (tag,))
    place.logged(tag, "Intercepted", 1)
    assert client.delete(ERRORS, {"domain": "*.below.test"}) == 200


def _rank(place: Any, client: Client) -> None:
    tag = f"rank-{token_hex(4)}"  # another one for each kind of body
    for code, more in ((451, {"domain": "rank.test"}), (554, {})):
        assert client.post(ERRORS, {"code": code, "tag": tag, **more}) == 201
    place.node.send("a@rank.test", (tag,))
    (event,) = place.logged(tag, "Intercepted", 1)
    assert event["code"] == 554
    for more in ({"domain": "rank.test"}, {}):
        assert client.delete(ERRORS, {"tag": tag, **more}) == 200


def _selectors(place: Any, client: Client) -> None:
    rule = {"code": 554, "tags_all": ["a", "b"], "except_tags": ["c"], "tenant": "shop", "mx": "*.mx.test"}
    assert client.post(ERRORS, rule) == 201
    assert client.delete(ERRORS, {name: value for name, value in rule.items() if name != "code"}) == 200


def _headers(place: Any, client: Client) -> None:
    for header in (
        "X-MQ-Smarthost-Hostname",
        "X-MQ-Results-Queue",
        "X-MQ-Keepmime",
        "X-MQ-Inlinecss",
        "X-MQ-DSN-Notify",
    ):
        with place.node.sender() as smtp:
            assert smtp.mail("a@example.org")[0] == smtp.rcpt("a@header.test")[0] == 250
            code, reply = smtp.data(f"{header}: x\r\nSubject: s\r\n\r\ntext\r\n".encode())
            assert (code, reply[:5]) == (550, b"5.6.0"), header


def _queues(place: Any, client: Client) -> None:
    tag = f"results-{token_hex(4)}"  # another one for each kind of body
    place.node.send("a@results.test", (tag,))
    (event,) = place.logged(tag, "Delivery", 1)
    assert (event["code"], event["recipient"]) == (250, "a@results.test")


def _absent(place: Any, client: Client) -> None:
    for path in ABSENT:
        assert ask(place.api, "GET", path).status == 404, f"{path} is there by now: its calls belong to this test"


def _pools(place: Any, client: Client) -> None:
    assert ask(place.api, "GET", "/v1/pools").status == 200
    assert ask(place.api, "GET", "/v1/pools/default").status == 200
    assert ask(place.api, "GET", "/v1/poolips").status == 200


def _rights(place: Any, client: Client) -> None:
    assert ask(place.api, "GET", ERRORS, token="unknown").status == 401


INJECTED: dict[str, Any] = {
    "envelope": "bounces@example.com",
    "recipient": "ann@injected.test",
    "mime": "From: shop@example.com\r\nSubject: Your order\r\n\r\nIt is on its way.\r\n",
}


def _inject(place: Any, **fields: Any) -> Any:
    return ask(place.api, "POST", "/v1/inject", json.dumps(INJECTED | fields).encode())


def _injected(place: Any, client: Client) -> None:
    answer = _inject(place)
    assert answer.status == 202
    (one,) = answer.body["recipients"]
    assert one["id"] == f"{answer.body['id']}.1"


def _unsupported(place: Any, client: Client) -> None:
    for field in ("smarthost", "dkim", "dsn", "queues", "data", "key", "headers"):
        answer = _inject(place, **{field: {"a": "b"}})
        assert (answer.status, answer.body["error"]["field"]) == (400, field)
    for field in ("force", "inlinecss", "keepmime"):
        assert _inject(place, **{field: True}).status == 400
        assert _inject(place, **{field: False}).status == 202


def _mistaken(place: Any, client: Client) -> None:
    for field in ("Tags", "tag", "simulate", "send_at", "tenant", "idempotency_key"):
        answer = _inject(place, **{field: "x"})
        assert (answer.status, answer.body["error"]["field"]) == (400, field)
    assert _inject(place, customer="x").status == 202


def _both_times(place: Any, client: Client) -> None:
    time = "2050-01-01 00:00:00"
    assert _inject(place, delayed=time, nextattempt=time).body["error"]["field"] == "delayed"


def _far_away(place: Any, client: Client) -> None:
    assert _inject(place, nextattempt="9999-12-31 00:00:00").body["error"]["field"] == "nextattempt"


def _one_ip(place: Any, client: Client) -> None:
    assert _inject(place, ips=["192.0.2.1", "192.0.2.2"]).body["error"]["field"] == "ips"
    assert _inject(place, ips=[]).status == 400
    assert _inject(place, ips=["192.0.2.1"]).status == 202


def _times(place: Any, client: Client) -> None:
    assert _inject(place, maxdelivertime="2020-01-01 00:00:00").status == 400
    assert _inject(place, nextattempt="2020-01-01 00:00:00").status == 400


def _priority(place: Any, client: Client) -> None:
    assert _inject(place, priority=9).status == 400
    assert _inject(place, priority=2).status == 202


def _suppressed(place: Any, client: Client) -> None:
    tag = f"suppressed-{token_hex(4)}"  # another one for each kind of body
    address = f"{tag}@supp.test"
    body = {"address": address, "extended": "5.1.1", "description": "gone", "reason": "manual"}
    assert client.post("/v1/suppressions", body) in (200, 201)
    assert _inject(place, recipient=address, tags=[tag]).body["recipients"][0]["status"] == "FILTERED"
    place.rests(tag, accepted=1, filtered=1)


ABSENT = ("/v1/externalmtas",)

DEVIATIONS = (
    Deviation("`cluster`", "false unless given", "true unless given: an order holds on all nodes", _cluster),
    Deviation("codes 300 to 399", "taken", "refused with 400", _refused(code=354, tag="a")),
    Deviation("unknown fields", "taken", "refused with 400", _refused(code=554, tag="a", colour="blue")),
    Deviation(
        "the class of `extended`", "free", "that of the code, else 400", _refused(code=554, tag="a", extended="4.7.1")
    ),
    Deviation("no selector", "matches everything", 'needs `"everything": true`', _everything),
    Deviation(
        "waiting mail",
        "acts at each delivery's next attempt",
        "acts at once, by a sweep through the queues",
        _at_once,
    ),
    Deviation("result of a 5xx rule", "a bounce", "*intercepted*, so lists are not cleaned", _intercepted),
    Deviation("result of a 2xx rule", "not said", "discarded and *intercepted*, never delivered", _discards),
    Deviation(
        "status of `POST`",
        "not said",
        "201 made, 200 replaced, 202 not confirmed by every process within `?wait=`",
        _statuses,
    ),
    Deviation("a `DELETE` that finds nothing", "not said", "404", _nothing_to_remove),
    Deviation(
        "which rule a `DELETE` finds", "not said", "that of exactly these selectors; `code` is ignored", _exactly
    ),
    Deviation("selectors of a `DELETE`", "in the body", "in the body or in the query, in both 400", _query_and_body),
    Deviation("items of a list", "the fields of the rule", "`id` and further keys, too", _more_keys),
    Deviation("end of a pause", "by a person, or a flood pattern", "`expires_at`, or `expire`", _end_of_a_pause),
    Deviation("`*` as a value", "in the console only", "absent, as in the console", _any),
    Deviation("`*.example.com`", "not said", "the subdomains of example.com", _below),
    Deviation(
        "which of several rules acts",
        "not said",
        "one that ends mail, then a pause, then one that defers; of these the most specific",
        _rank,
    ),
    Deviation("several tags, exceptions, tenant, `mx`", "no", "`tags_all`, `except_tags`, `tenant`, `mx`", _selectors),
    Deviation(
        "`x-mq-smarthost-*`, `-*-queue`, `-keepmime`, `-inlinecss`, `-dsn-*`",
        "used",
        "refused with 550 5.6.0",
        _headers,
    ),
    Deviation("results, failure and success queues", "RabbitMQ", "the delivery log, see [log.md](log.md)", _queues),
    Deviation(
        "`/v1/pools`, `/v1/poolips`",
        "there",
        "the same fields, JSON or urlencoded; "
        "a pool without IPs waits, `PUT` and `GET /v1/pools/{name}` beside them; "
        "`POST` of a pool that is there changes the fields that it gives",
        _pools,
    ),
    Deviation("status and body of `POST /v1/inject`", "not said", "202 once it is stored, with the id", _injected),
    Deviation(
        "`key`, `data`, `dkim`, `dsn`, `queues`, `smarthost`, `headers`, `force`, `inlinecss`, `keepmime` of a message",
        "used",
        "refused with 400, unless false or empty",
        _unsupported,
    ),
    Deviation(
        "other fields of a message",
        "properties",
        "properties; 400 for a name that is one letter or its case away from a known one, "
        "and for names of `POST /v1/messages` and of headers",
        _mistaken,
    ),
    Deviation("`delayed` beside `nextattempt`", "not said", "refused with 400", _both_times),
    Deviation("`ips` of a message", "any number", "one; several are a pool", _one_ip),
    Deviation("times of a message in the past", "an attempt, or a failure", "refused with 400", _times),
    Deviation("first attempt in more than 10 years", "not said", "refused with 400", _far_away),
    Deviation("`priority` of a message", "up to rabbitmq-maxpriority", "0 (bulk) to 2, else 400", _priority),
    Deviation(
        "`/v1/suppressions`",
        "`value` and `type`; a hit fails with `code`",
        "`address` or `domain`; a hit ends as `FILTERED`; `extended`, `description` and `expire` are taken",
        _suppressed,
    ),
    Deviation(", ".join(f"`{path}`" for path in ABSENT), "there", "404: not in this release", _absent),
    Deviation("a request without a token that is valid", "not said", "401", _rights),
)


@pytest.mark.parametrize("deviation", DEVIATIONS, ids=lambda deviation: deviation.point)
@pytest.mark.parametrize("form", [False, True], ids=["json", "urlencoded"])
def test_a_deviation_is_as_the_page_says(place: Any, deviation: Deviation, form: bool) -> None:
    client = Client(place.api, form)
    deviation.seen(place, client)
    assert client.list(ERRORS) == client.list(PAUSES) == []


def test_the_page_has_these_deviations_and_no_others() -> None:
    text = (ROOT / "docs" / "mailerq.md").read_text("utf-8")
    rows = [tuple(cell.strip() for cell in row[1:-1].split("|")) for row in re.findall(r"^\|.*\|$", text, re.MULTILINE)]
    assert rows[2:] == [deviation[:3] for deviation in DEVIATIONS]
