"""Damages of scheduled mail, quotas and the simulation, each with the test that must notice."""

from tests.mutations.mutation import Mutation

_DISPATCHER = "mta/scheduling/dispatcher.py"
_QUOTAS = "mta/admission/quotas.py"
_QUOTAS_LUA = "mta/redis_store/steps/quotas.lua"
_T_DISPATCHER = "tests/unit/scheduling/test_dispatcher.py::test_"
_T_QUOTAS = "tests/unit/admission/test_quotas.py::test_"
_T_STORE = "tests/integration/redis_store/test_quota_store.py::test_"

SCHEDULED = (
    Mutation(
        "window: a claim outside of it goes back",
        _DISPATCHER,
        "elif one.record.window is not None and is_closed(one.record.window, now):",
        "elif False:",
        _T_DISPATCHER + "mail_whose_window_is_closed_goes_back_until_it_opens",
    ),
    Mutation(
        "window: mail that waits for a connection goes back when it closes",
        "mta/egress/transaction_end.py",
        "elif is_closed(claimed.record.window, now):",
        "elif False:",
        "tests/unit/egress/test_next_hosts_and_expiry.py::"
        "test_mail_whose_window_closes_while_it_waits_for_a_connection_goes_back",
    ),
    Mutation(
        "window: a retry moves into it",
        "mta/policy/retry.py",
        "        due = opens_at(record.window, due)\n",
        "        pass\n",
        "tests/unit/policy/test_retry.py::test_a_retry_outside_the_window_moves_to_its_next_opening",
    ),
    Mutation(
        "quota: no more than it has",
        _QUOTAS_LUA,
        "    granted = left\n",
        "    granted = needed\n",
        _T_STORE + "processes_side_by_side_never_get_more_than_the_quota[plain]",
    ),
    Mutation(
        "quota: the day binds as well",
        _QUOTAS_LUA,
        "if per_day > 0 and per_day - in_day <= left then",
        "if false then",
        _T_STORE + "a_quota_is_handed_out_once[plain]",
    ),
    Mutation(
        "quota: mail that is not accepted uses nothing up",
        _QUOTAS,
        "if reserved is not None and not accepted:",
        "if False:",
        _T_QUOTAS + "mail_that_is_not_accepted_uses_nothing_up",
    ),
    Mutation(
        "quota: a slice ends with its hour",
        _QUOTAS,
        "if slice_ is None or slice_.hour < hour or slice_.quota != quota:",
        "if slice_ is None:",
        _T_QUOTAS + "a_slice_ends_with_its_hour_and_with_its_quota",
    ),
    Mutation(
        "quota: a message of SMTP comes in whole",
        _QUOTAS,
        "if fits < wanted and (call is None or not (fits or call.has_accepted)):",
        "if fits < wanted and call is not None and not (fits or call.has_accepted):",
        _T_QUOTAS + "a_message_of_smtp_comes_in_whole_or_is_refused_until_the_hour_ends",
    ),
    Mutation(
        "simulation: no destination",
        _DISPATCHER,
        "elif domain == simulated or one.record.simulated:",
        "elif domain == simulated:",
        _T_DISPATCHER + "simulated_mail_never_reaches_egress",
    ),
)
