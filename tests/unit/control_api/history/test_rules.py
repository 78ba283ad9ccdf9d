"""The deliveries of a rule, and the figures of its statement that come from history (O5)."""

import asyncio
import csv
import io
import json
from typing import Any

import msgspec
import pytest
from aiohttp.test_utils import TestClient

from control_api.http.turns import Turns
from control_api.rules.before_counts import BeforeCounts
from control_api.rules.mail_of_rule import MailOfRule, filter_of
from mta.model.errors import HistoryAway
from mta.model.events import Event, EventType
from mta.model.ids import DeliveryId, MessageId, delivery_id, delivery_text
from mta.model.outcomes import Forced, Stage
from mta.model.rules import PastDot, Rule, Selectors
from mta.model.status import DeliveryRow
from mta.policy.rule_table import RuleTable
from mta.ports.history import RowFilter
from tests.support.control_api import AT, Cluster, Sites
from tests.support.eventually import eventually
from tests.support.memory_history import AS_OF, MemoryHistory

RULE = Rule("ab12", Selectors(tag="red", domain="ok.test"), 554, generation=3, created_at=AT)
FORCED = Forced("ab12", 3, Stage.QUEUED)


def id_of(number: int) -> DeliveryId:
    return delivery_id(MessageId((AT - 10_000).to_bytes(6, "big") + number.to_bytes(10, "big")), 1)


def put(history: MemoryHistory, number: int, kind: EventType = EventType.DELIVERY, **more: Any) -> DeliveryRow:
    fields = {"tags": ("red",), "domain": "ok.test", "recipient": f"r{number}@ok.test", "sender": "a@b", "seq": 2}
    at = more.pop("time", AT - 5000)
    return history.add(Event(kind, at, id_of(number), "n1", **fields | more))


@pytest.fixture
def mail(cluster: Cluster, history: MemoryHistory) -> Cluster:
    """1, 2: delivered before; 3: past its dot; 4: intercepted; 5: bounced before; 6: another domain; 7: waits."""
    cluster.rules[RULE.id] = RULE
    cluster.past_dot = (PastDot(RULE.id, delivery_text(id_of(3)), "r3@ok.test", AT - 1),)
    for number in (1, 2, 3):
        put(history, number, time=AT - 5000 + 4000 * number)
    put(history, 4, EventType.INTERCEPTED, forced=FORCED)
    put(history, 5, EventType.BOUNCE, code=550)
    put(history, 6, domain="other.test", recipient="r6@other.test")
    put(history, 7, EventType.RECEPTION)
    return cluster


async def recipients(api: TestClient, query: str) -> list[str]:
    async with api.get(f"/v1/errors/ab12/deliveries{query}") as answer:
        assert answer.status == 200, await answer.text()
        return sorted(record["recipient"].partition("@")[0] for record in await answer.json())


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("", ["r3", "r4"]), ("?class=before", ["r1", "r2"]), ("?class=after", ["r3"]),
        ("?class=delivered", ["r1", "r2", "r3"]), ("?class=intercepted", ["r4"]), ("?class=bounced", ["r5"]),
        ("?class=queued", ["r7"]), ("?class=held", []), ("?class=expired", []),
    ],
)  # fmt: skip
async def test_o5_the_deliveries_of_a_rule_by_class(
    api: TestClient, mail: Cluster, query: str, expected: list[str]
) -> None:
    assert await recipients(api, query) == expected


async def test_they_come_as_csv_and_are_404_for_a_rule_that_is_not_there(api: TestClient, mail: Cluster) -> None:
    async with api.get("/v1/errors/ab12/deliveries?class=intercepted&format=csv") as answer:
        (row,) = csv.DictReader(io.StringIO(await answer.text(), newline=""))
    assert (row["forced.rule"], row["status"]) == ("ab12", "UNDELIVERABLE")
    async with api.get("/v1/errors/cd34/deliveries") as answer:
        assert answer.status == 404


async def test_o5_a_statement_of_several_selectors_counts_before_in_history(api: TestClient, mail: Cluster) -> None:
    mail.counts["ab12"] = {"met": 2, "intercepted:queued": 1, "after": 1}
    async with api.get("/v1/errors/ab12/statement") as answer:
        said = await answer.json()
    assert said["delivered"] == {"before": 2, "after": 1, "source": "history"}
    assert said["accepted"] == 6
    async with api.get("/v1/errors/ab12/statement?format=text") as answer:
        text = await answer.text()
    first, *_ = text.splitlines()
    assert first.startswith("Mail with domain=ok.test tag=red, canceled ")
    assert "6 accepted, 3 had it, 1 stopped" in first
    assert "delivered before the rule was effective" in text


async def test_a_statement_as_a_page_holds_no_markup_of_others(api: TestClient, mail: Cluster) -> None:
    mail.rules["ab12"] = msgspec.structs.replace(RULE, reason="<script>alert(1)</script>")
    async with api.get("/v1/errors/ab12/statement?format=html") as answer:
        assert (answer.status, answer.content_type) == (200, "text/html")
        page = await answer.text()
    assert "<script" not in page
    assert "&lt;script&gt;" in page
    assert page.startswith("<!DOCTYPE html>")
    assert "had it" in page


async def test_where_history_cannot_answer_before_is_absent(
    api: TestClient, mail: Cluster, history: MemoryHistory
) -> None:
    def away() -> None:
        raise HistoryAway("no answer")

    history.reach = away
    async with api.get("/v1/errors/ab12/statement") as answer:
        said = await answer.json()
    assert said["delivered"] == {"after": 0}
    assert "accepted" not in said


async def test_a_rule_of_one_tag_asks_its_counters_and_not_history(
    api: TestClient, mail: Cluster, history: MemoryHistory
) -> None:
    mail.rules["ab12"] = msgspec.structs.replace(RULE, selectors=Selectors(tag="red"))
    mail.tags["red"] = {"accepted": 5, "delivered": 3}
    async with api.get("/v1/errors/ab12/statement") as answer:
        said = await answer.json()
    assert said["delivered"] == {"before": 3, "after": 0}
    assert history.asked == []


def effect_of(cluster: Cluster) -> MailOfRule:
    return MailOfRule(cluster.effect_of(cluster.rules["ab12"], False), RuleTable.empty("n1", ("safe",)), Sites(cluster))


async def test_the_mail_of_a_rule_by_site_is_that_of_the_domains_of_the_site(
    mail: Cluster, history: MemoryHistory
) -> None:
    mail.rules["ab12"] = msgspec.structs.replace(RULE, selectors=Selectors(site="big"))
    mail.sites = {"a.test": "big"}
    rows = [put(history, 8, domain="a.test"), put(history, 9, domain="b.test")]
    found = effect_of(mail)
    assert [row.id for row in await found.of_its_site(rows)] == [rows[0].id]
    assert found.matches(rows[0])
    counts = BeforeCounts(history, Turns(), patience=20.0)
    before = await counts.count(found, "ab12", 1, AT - 10, None)
    assert (before.accepted, before.delivered) == (1, 1)


def test_protected_mail_and_other_nodes_are_not_the_rules(mail: Cluster, history: MemoryHistory) -> None:
    found = effect_of(mail)
    assert found.matches(put(history, 8))
    assert not found.matches(put(history, 9, tags=("red", "safe")))
    mail.rules["ab12"] = msgspec.structs.replace(RULE, selectors=Selectors(tag="red", cluster=False, node="n2"))
    assert not effect_of(mail).matches(put(history, 10))
    mail.rules["ab12"] = msgspec.structs.replace(RULE, enabled=False, expires_at=1)
    assert effect_of(mail).matches(put(history, 11))


def test_the_database_filters_what_it_can() -> None:
    def of(**selectors: Any) -> RowFilter:
        return filter_of(msgspec.structs.replace(RULE, selectors=Selectors(**selectors)))

    assert of(tags_all=("a", "b"), pool="gold", tenant="acme") == RowFilter(tag="a", pool="gold", tenant="acme")
    assert of(domain="*.ok.test", sender="*@x.test", mta="192.0.2.1") == RowFilter()
    assert of(domains=("a.test", "b.test"), sender="a@x.test", recipient="b@y.test") == RowFilter(
        sender="a@x.test", recipient="b@y.test"
    )
    assert of(accepted_after=5, accepted_before=9) == RowFilter(accepted_from=5, accepted_until=9)


async def test_a_long_count_goes_on_beside_the_statement(mail: Cluster, history: MemoryHistory) -> None:
    go_on = asyncio.Event()
    rows = history.rows

    async def slow(*args: Any) -> Any:
        await go_on.wait()
        return await rows(*args)

    history.rows = slow  # type: ignore[method-assign]
    counts = BeforeCounts(history, Turns(), patience=0.01)
    found = effect_of(mail)
    assert await counts.count(found, "ab12", 3, AT, None) is None
    go_on.set()
    while (known := await counts.count(found, "ab12", 3, AT, None)) is None:
        pass
    assert (known.accepted, known.delivered) == (6, 2)
    asked = len(history.asked)
    assert await counts.count(found, "ab12", 3, AT, None) == known
    assert len(history.asked) == asked
    assert await counts.count(found, "ab12", 4, AS_OF + 1, None) is None  # history is not there yet
    await counts.stop()


async def test_o6_the_accounts_of_rules_that_a_set_removes_go_into_history(api: TestClient, mail: Cluster) -> None:
    create = [{"code": 554, "tag": f"t{number}"} for number in range(9)]
    async with api.post("/v1/errors/bulk?wait=1s", json={"create": create}) as answer:
        made = (await answer.json())["rules"]
    mail.counts[made[3]] = {"met": 2, "intercepted:queued": 2}
    async with api.post("/v1/errors/bulk?wait=1s", json={"remove": made}) as answer:
        assert (await answer.json())["removed"] == made
    await eventually(lambda: len(mail.accounts) == len(made))
    told = {kept.properties["rule"]: kept.properties for kept in mail.accounts if kept.properties is not None}
    assert sorted(told) == sorted(made)
    assert {one["op"] for one in told.values()} == {"account"}
    said = json.loads(told[made[3]]["statement"])
    assert (said["matched"], said["intercepted"]["queued"], bool(said["removed_at"])) == (2, 2, True)


async def test_o6_the_statement_of_a_removed_rule_goes_into_history_and_comes_from_there(
    api: TestClient, mail: Cluster, history: MemoryHistory
) -> None:
    mail.counts["ab12"] = {"met": 2, "intercepted:queued": 1, "after": 1}
    async with api.delete("/v1/errors/ab12?wait=1s") as answer:
        assert answer.status == 200
    (kept,) = mail.accounts
    assert kept.properties is not None
    assert (kept.properties["rule"], kept.properties["op"]) == ("ab12", "account")
    mail.removed.clear()  # status.retention is over
    async with api.get("/v1/errors/ab12/statement") as answer:
        assert answer.status == 404
    history.statements["ab12"] = kept.properties["statement"]
    async with api.get("/v1/errors/ab12/statement") as answer:
        said = await answer.json()
    assert (said["rule"], said["intercepted"]["queued"], said["tag"]) == ("ab12", 1, "red")
    assert said["removed_at"]
    async with api.get("/v1/errors/ab12/statement?format=text") as answer:
        assert "was removed" in await answer.text()
    async with api.get("/v1/pauses/ab12/statement") as answer:  # it was no pause
        assert answer.status == 404
    history.statements["ab12"] = '{"a set": 1}'
    async with api.get("/v1/errors/ab12/statement") as answer:
        assert answer.status == 404
