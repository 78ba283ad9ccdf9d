"""The plan of a soak: drawn from its seed alone, with each kind of fault in turn."""

from itertools import islice

from tests.soak.plan import KEPT, What, campaign, mails, plan_of


def test_a_seed_determines_load_orders_and_faults():
    assert plan_of(7, 600.0) == plan_of(7, 600.0) != plan_of(8, 600.0)
    plan = plan_of(7, 600.0)
    assert list(islice(mails(plan), 500)) == list(islice(mails(plan), 500))


def test_every_kind_of_fault_comes_within_some_minutes():
    faults = plan_of(1, 240.0).faults
    assert {fault.what for fault in faults} == set(What)
    assert all(0.0 < fault.at < 240.0 for fault in faults)


def test_mail_of_a_campaign_comes_before_its_order_and_after_it():
    plan = plan_of(1, 60.0, rate=50.0, order_every=20.0)
    sent = list(islice(mails(plan), 3000))
    assert {mail.tag for _, mail in sent} == {KEPT, *(campaign(n) for n in range(4))}
    for number, moment in enumerate(plan.orders):
        times = [at for at, mail in sent if mail.tag == campaign(number)]
        assert min(times) < moment < max(times)


def test_no_two_messages_have_a_recipient_in_common():
    recipients = [to for _, mail in islice(mails(plan_of(1, 60.0)), 2000) for to in mail.recipients]
    assert len(recipients) == len(set(recipients))
