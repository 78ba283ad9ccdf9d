from control_api.queues.listing import shown_queue
from mta.model.mail import QueueKey
from mta.model.outcomes import ReturnReason
from mta.policy.rule_table import RuleTable
from mta.ports.books import QueueCounts

COUNTS = QueueCounts(QueueKey("p", "example.com"), due=3, scheduled=0, claimed=0)


def test_a_queue_says_why_deliveries_of_it_were_put_back():
    returns = {ReturnReason.STOPPING: 1, ReturnReason.NO_SLOT: 2}
    why = shown_queue(COUNTS, RuleTable.empty(), 0, False, returns).why
    assert [(entry.reason, entry.count) for entry in why] == [("due", 3), ("no_slot", 2), ("stopping", 1)]
    assert why[2].text == "put back into the queue in the last minute: the worker was stopping"


def test_a_queue_of_which_nothing_was_put_back_says_nothing_about_it():
    assert [entry.reason for entry in shown_queue(COUNTS, RuleTable.empty(), 0, False).why] == ["due"]


def test_o7_claimed_mail_that_waits_for_a_connection_says_so():
    counts = COUNTS._replace(due=0, claimed=5)
    why = shown_queue(counts, RuleTable.empty(), 0, False, waits=3).why
    assert [(entry.reason, entry.count) for entry in why] == [("connection", 3), ("claimed", 2)]
    assert why[0].text.startswith("waits for a connection")
    assert why[1].text == "a worker delivers it now"
    [entry] = shown_queue(counts, RuleTable.empty(), 0, False, waits=9).why
    assert (entry.reason, entry.count) == ("connection", 5), "the worker told it before some were settled"
