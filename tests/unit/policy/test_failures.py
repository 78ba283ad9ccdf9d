"""Replies and trouble, classified in one place."""

import pytest

from mta.model.outcomes import Origin, Reply, Verdict
from mta.model.phases import Phase
from mta.policy.failures import after_all_hosts, broken, judge, refused, unroutable


@pytest.mark.parametrize(
    ("phase", "code", "verdict"),
    [
        (Phase.DOT, 250, Verdict.DELIVERED),
        (Phase.RCPT, 550, Verdict.PERMANENT),
        (Phase.RCPT, 450, Verdict.TEMPORARY),
        (Phase.RCPT, 552, Verdict.TEMPORARY),
        (Phase.DOT, 552, Verdict.PERMANENT),
        (Phase.MAIL, 554, Verdict.PERMANENT),
        (Phase.GREETING, 554, Verdict.TEMPORARY),
        (Phase.EHLO, 550, Verdict.TEMPORARY),
        (Phase.GREETING, 220, Verdict.TEMPORARY),
        (Phase.TLS, 554, Verdict.TEMPORARY),
        (Phase.DATA, 421, Verdict.TEMPORARY),
        (Phase.DOT, 354, Verdict.TEMPORARY),
        (Phase.BODY, 552, Verdict.PERMANENT),
        (Phase.BODY, 451, Verdict.TEMPORARY),
        (Phase.BODY, 250, Verdict.TEMPORARY),
    ],
)
def test_replies_are_judged(phase: Phase, code: int, verdict: Verdict) -> None:
    assert judge(phase, Reply(code)) is verdict


def test_trouble_after_the_dot_warns_of_a_second_copy_c31() -> None:
    assert "more than once" in broken(Phase.DOT, "the connection was lost").reply.text
    assert "more than once" not in broken(Phase.DATA, "the connection was lost").reply.text


def test_d11_the_sentence_stands_only_where_the_outcome_is_unknown() -> None:
    lost = broken(Phase.DOT, "the connection was lost", "mx.test")
    assert lost.reason == "sending end of data (the message may be delivered more than once) (mx.test)"
    assert all("more than once" not in phase.value for phase in Phase)
    for phase in set(Phase) - {Phase.DOT}:
        assert "more than once" not in broken(phase, "lost").reason


def test_d8_a_host_that_can_be_waited_for_is_told_before_one_that_cannot() -> None:
    nonsense = broken(Phase.GREETING, "hola", "mx1", unintelligible=True)
    away = broken(Phase.CONNECT, "refused", "mx2")
    assert after_all_hosts([away, nonsense]) is away
    assert after_all_hosts([nonsense, nonsense]) is nonsense


def test_a_null_mx_has_its_own_code_c101() -> None:
    trouble = unroutable("no mail", "5.1.10", temporary=False)
    assert (trouble.verdict, trouble.reply.code, trouble.origin) == (Verdict.PERMANENT, 556, Origin.LOCAL)
    assert unroutable("later", "4.4.3", temporary=True).reply.code == 451


def test_all_hosts_must_refuse_for_good_before_mail_bounces() -> None:
    never = refused(Phase.GREETING, Reply(554), "mx1", "192.0.2.1")._replace(verdict=Verdict.PERMANENT)
    later = broken(Phase.CONNECT, "refused", "mx2", "192.0.2.2")
    assert after_all_hosts([later, never]) is later
    assert after_all_hosts([never, never]) is never
    assert later.reason == "connecting (mx2)"


def test_mail_waits_for_limits_only_if_no_host_was_tried() -> None:
    dead = broken(Phase.CONNECT, "refused", "mx1")._replace(untried=True)
    soon, late = (unroutable("full", "4.4.5", temporary=True)._replace(untried=True, wait=wait) for wait in (0.5, 2.0))
    assert after_all_hosts([late, soon, dead]) is soon
    tried = after_all_hosts([broken(Phase.CONNECT, "refused", "mx2"), soon])
    assert (tried.untried, tried.wait) == (False, 0.0)
