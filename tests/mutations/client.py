"""Damages of the SMTP client that lose mail, show it to others or send it twice, by their C- ids."""

from tests.mutations.mutation import Mutation

_TRANSPARENCY = "mta/smtp/transparency.py"
_MACHINE = "mta/smtp/client_machine.py"
_HANDSHAKE = "mta/egress/handshake.py"
_FAILURES = "mta/policy/failures.py"
_SETTLEMENT = "mta/scheduling/settlement.py"
_SETTINGS = "mta/model/settings.py"
_T_TRANSPARENCY = "tests/unit/smtp/test_transparency.py::test_"
_T_TRANSACTIONS = "tests/unit/egress/test_transactions.py::test_"
_T_HANDSHAKE = "tests/unit/egress/test_handshake.py::test_"
_T_TARGETS = "tests/unit/egress/test_targets.py::test_"
_T_MX = "tests/unit/policy/test_mx.py::test_"
_T_RETRY = "tests/unit/policy/test_retry.py::test_"
_T_SETTLEMENT = "tests/unit/scheduling/test_settlement.py::test_"
_T_DEAD = "tests/unit/egress/test_dead_hosts.py::test_"

CLIENT = (
    Mutation(
        "client: it waits ten minutes for the reply to the final dot (C-30)",
        _SETTINGS,
        'description="Longest wait for the reply to the final dot.")] = 600.0\n',
        'description="Longest wait for the reply to the final dot.")] = 60.0\n',
        "tests/unit/settings_file/test_load_settings.py::test_c30_by_default_the_client_waits_as_long_as_rfc_5321_says",
    ),
    Mutation(
        "client: dots at the begin of lines are stuffed (C-40)",
        _TRANSPARENCY,
        '        content = content.replace(b"\\r\\n.", b"\\r\\n..")\n',
        "        pass\n",
        _T_TRANSPARENCY + "c40_no_bare_line_end_and_one_end_of_data_leave",
    ),
    Mutation(
        "client: a lone dot for a message without a recipient (C-50)",
        _MACHINE,
        "            if taken and self._accepted:\n                return _LOOK\n",
        "            if taken:\n                return _LOOK\n",
        _T_TRANSACTIONS + "354_without_a_recipient_gets_a_lone_dot_c50",
    ),
    Mutation(
        "client: a message above the size that a peer takes is not sent (C-70)",
        "mta/egress/peer_support.py",
        "    if limit and size > limit:\n",
        "    if False:\n",
        _T_TRANSACTIONS + "what_the_peer_finds_too_large_is_not_sent_c70",
    ),
    Mutation(
        "client: the last line has the code of a reply whose lines differ (C-80)",
        "mta/smtp/reply_parser.py",
        "        self._code = code\n        if self._keep(text):",
        "        code = self._code = self._code or code\n        if self._keep(text):",
        _T_TRANSACTIONS + "each_answer_in_each_phase_c80_c102_f26_f27",
    ),
    Mutation(
        "client: 8-bit content is not sent where 8BITMIME is not offered (C-71)",
        "mta/egress/peer_support.py",
        "if record.needs_8bit and not extensions.eight_bit and transaction.content is not None:",
        "if False and transaction.content is not None:",
        _T_TRANSACTIONS + "c71_8bit_content_is_converted_where_8bitmime_is_not_offered",
    ),
    Mutation(
        "client: text in the clear behind the reply to STARTTLS ends the connection (C-90)",
        _HANDSHAKE,
        "        if self._replies or self._parser.pending:\n",
        "        if False:\n",
        _T_HANDSHAKE + "c90_text_in_the_clear_behind_the_reply_to_starttls_counts_for_nothing",
    ),
    Mutation(
        "client: trouble of DNS defers (C-100)",
        "mta/egress/targets.py",
        "            troubles.append(unroutable(found.failure, enhanced, found.temporary))\n",
        "            troubles.append(unroutable(found.failure, enhanced, False))\n",
        _T_TARGETS + "mx_that_cannot_be_used_never_falls_back_to_a_c100",
    ),
    Mutation(
        "client: a question to DNS that was lost and forgotten is asked anew (C-100)",
        "mta/dns/resolver.py",
        "        if not done:\n",
        "        if False:\n",
        "tests/integration/test_dns_resolver.py::test_c100_a_question_that_was_lost_and_is_not_repeated_is_asked_anew",
    ),
    Mutation(
        "client: connections to hosts of lower preference are lent to nobody who has not tried the better ones (C-100)",
        "mta/egress/targets.py",
        "return Targets(targets, targets[:equal])",
        "return Targets(targets, targets)",
        "tests/unit/egress/test_shared_connections.py::test_"
        "a_connection_to_a_host_of_lower_preference_is_not_used_before_the_better_host_was_tried_c100",
    ),
    Mutation(
        "client: a null MX does not lead to the domain itself (C-101)",
        "mta/policy/mx.py",
        "    if not real:\n        return Hosts((), f",
        "    if not real:\n        return Hosts((domain,), f",
        _T_MX + "a_null_mx_and_unusable_ones_never_fall_back_c101",
    ),
    Mutation(
        "client: 552 to a recipient defers (C-102)",
        _FAILURES,
        "    if phase is Phase.RCPT and code == 552:",
        "    if phase is Phase.MAIL and code == 552:",
        _T_TRANSACTIONS + "552_to_a_recipient_is_temporary_c102",
    ),
    Mutation(
        "client: no attempt is used up where no connection was tried (C-103)",
        _SETTLEMENT,
        "    return claimed.record.attempts + (not outcome.untried)\n",
        "    return claimed.record.attempts + 1\n",
        _T_SETTLEMENT + "c103_a_failure_without_a_connection_counts_no_attempt",
    ),
    Mutation(
        "client: mail whose host is dead does not expire for want of attempts (C-103)",
        "mta/policy/retry.py",
        "    if outcome is not None and outcome.untried:\n",
        "    if False and outcome is not None:\n",
        _T_RETRY + "c103_no_attempt_is_used_up_where_no_connection_was_tried",
    ),
    Mutation(
        "client: another address is not dead because its slot is taken (C-103)",
        "mta/egress/shared_marks.py",
        "        if found >> 40 != place.mark or not 0 <",
        "        if not 0 <",
        _T_DEAD + "c103_two_addresses_of_one_slot_do_not_answer_for_each_other",
    ),
)
