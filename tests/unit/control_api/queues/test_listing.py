import msgspec
from aiohttp.test_utils import TestClient

from control_api.queues.listing import Facts, shown_queue
from mta.model.limit_use import LimitUse
from mta.model.mail import QueueKey, Record
from mta.model.outcomes import Reply, ReturnReason
from mta.model.queue_figures import Failure, ToldRates
from mta.policy.limits_in_force import ceiling, limits_in_force
from mta.policy.rule_table import RuleTable
from mta.policy.shaping import Budget, Plan
from mta.ports.books import QueueCounts
from tests.support.control_api import Cluster, counts_of

COUNTS = QueueCounts(QueueKey("p", "example.com"), due=3, scheduled=0, claimed=0)


def test_a_queue_says_why_deliveries_of_it_were_put_back():
    returns = {ReturnReason.STOPPING: 1, ReturnReason.NO_SLOT: 2}
    why = shown_queue(COUNTS, Facts(RuleTable.empty(), 0, returns={COUNTS.queue: returns})).why
    assert [(entry.reason, entry.count) for entry in why] == [("due", 3), ("no_slot", 2), ("stopping", 1)]
    assert why[2].text == "put back into the queue in the last minute: the worker was stopping"


def test_a_queue_of_which_nothing_was_put_back_says_nothing_about_it():
    assert [entry.reason for entry in shown_queue(COUNTS, Facts(RuleTable.empty(), 0)).why] == ["due"]


def test_o7_claimed_mail_that_waits_for_a_connection_says_so():
    counts = COUNTS._replace(due=0, claimed=5)
    why = shown_queue(counts, Facts(RuleTable.empty(), 0, waits={COUNTS.queue: 3})).why
    assert [(entry.reason, entry.count) for entry in why] == [("connection", 3), ("claimed", 2)]
    assert why[0].text.startswith("waits for a connection")
    assert why[1].text == "a worker delivers it now"
    [entry] = shown_queue(counts, Facts(RuleTable.empty(), 0, waits={COUNTS.queue: 9})).why
    assert (entry.reason, entry.count) == ("connection", 5), "the worker told it before some were settled"


def test_o12_a_queue_has_its_rate_and_the_last_failure_that_a_worker_tells():
    queue = COUNTS.queue
    rates = ToldRates({queue: 42.5}, all_told=True)
    failures = {queue: Failure(1_700_000_000.5, "mx.example.com", Reply(421, "4.7.0", "slow\u202edown"))}
    shown = shown_queue(COUNTS, Facts(RuleTable.empty(), 0, rates=rates, failures=failures))
    assert shown.rate == 42.5
    assert msgspec.to_builtins(shown.last_reply) == {
        "code": 421, "enhanced": "4.7.0", "text": "slow\\u202edown", "mx": "mx.example.com",
        "at": "2023-11-14T22:13:20.500Z",
    }  # fmt: skip
    assert (
        shown_queue(COUNTS._replace(queue=QueueKey("p", "x.test")), Facts(RuleTable.empty(), 0, rates=rates)).rate == 0
    )


def test_o12_the_last_reply_is_that_of_mail_that_waits_where_no_worker_knows_it():
    tried = Record("from@x.test", "to@example.com", (), 1, 1, 9, attempts=2, last=Reply(451, "4.3.0", "later"))
    shown = shown_queue(COUNTS._replace(tried=tried), Facts(RuleTable.empty(), 0))
    assert msgspec.to_builtins(shown.last_reply) == {"code": 451, "enhanced": "4.3.0", "text": "later"}
    assert shown.rate is None, "nobody has told it"


def test_o12_a_queue_says_which_limit_holds_it_up():
    budget = Budget("site", "sites.big", 2, 0, 60.0)
    plan = Plan((budget,), None, 0, "", False, (60.0,), 0, 5.0)
    limits = limits_in_force(plan, {budget: LimitUse(2, 61_500)}, 60_000)
    why = shown_queue(COUNTS, Facts(RuleTable.empty(), 60_000, limits={COUNTS.queue: limits})).why
    assert [(entry.reason, entry.count, entry.text) for entry in why[1:]] == [
        ("limit", 3, "all 2 connections that sites.big allows are in use"),
        ("limit", 3, "the 60 messages a minute of sites.big are used up for now"),
    ]
    free = limits_in_force(plan, {budget: LimitUse(1, 60_500)}, 60_000)
    assert [limit.binds for limit in free] == [False, False]
    assert ceiling(free) is None
    assert ceiling(limits).name == "messages_per_minute"


async def test_queues_are_listed_by_the_site_of_their_domain(api: TestClient, cluster: Cluster) -> None:
    cluster.queue_counts = [counts_of("default", f"d{n}.test") for n in range(4)]
    cluster.sites = {"d1.test": "big", "d3.test": "big"}
    page = await (await api.get("/v1/queues?site=big")).json()
    assert [(queue["domain"], queue["site"]) for queue in page["queues"]] == [("d1.test", "big"), ("d3.test", "big")]
    first = await (await api.get("/v1/queues?site=big&limit=2")).json()
    rest = await (await api.get(f"/v1/queues?site=big&limit=2&cursor={first['cursor']}")).json()
    assert [queue["domain"] for queue in first["queues"] + rest["queues"]] == ["d1.test", "d3.test"]
