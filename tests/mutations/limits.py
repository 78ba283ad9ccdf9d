"""Damages of limit orders and reactions, each with the test that must notice."""

from tests.mutations.mutation import Mutation

_LIMITS = "mta/scheduling/limits.py"
_T_LIMITS = "tests/unit/scheduling/test_limits.py::test_"
_T_EGRESS = "tests/unit/egress/test_transactions.py::test_"
_T_POLICY = "tests/unit/policy/test_reactions.py::test_"
_T_START = "tests/unit/policy/test_slow_start.py::test_"
_T_WATCH = "tests/unit/scheduling/test_reaction_watch.py::test_"

LIMITS = (
    Mutation(
        "limits: a connection gives back the slots that it took",
        _LIMITS,
        "tuple(budget.scope for budget in counted))",
        "())",
        _T_LIMITS + "a_limit_order_between_taking_and_giving_back_leaks_no_slot",
    ),
    Mutation(
        "limits: spare slots of a wider limit are not used under a lower one",
        _LIMITS,
        "if budget.connections < self._limits.get(budget.scope, 0):",
        "if False:",
        _T_LIMITS + "a_lower_limit_holds_for_slots_that_are_spare_already",
    ),
    Mutation(
        "limits: no connection to a site that is closed",
        _LIMITS,
        "if any(budget.closed for budget in budgets):",
        "if False:",
        _T_LIMITS + "nothing_leaves_to_a_site_that_is_closed",
    ),
    Mutation(
        "limits: connections opened before a lower limit end",
        "mta/egress/egress.py",
        "outlet.retire(is_meant)",
        "pass",
        _T_EGRESS + "a_connection_ends_before_its_next_message_when_an_order_makes_its_limits_tighter",
    ),
    Mutation(
        "limits: a connection that was being opened before a lower limit carries no mail",
        "mta/egress/slots.py",
        "slot.outdated = True",
        "pass",
        _T_EGRESS + "a_connection_ends_before_its_next_message_when_an_order_makes_its_limits_tighter",
    ),
    Mutation(
        "reactions: a reply to many deliveries counts once",
        "mta/scheduling/reaction_watch.py",
        "if last is not None and last[0] is reply and last[1] == message:",
        "if False:",
        _T_WATCH + "one_reply_to_many_deliveries_counts_once",
    ),
    Mutation(
        "reactions: two processes give one order",
        "mta/policy/reactions.py",
        "if was is not None and was.until > now and",
        "if False and was.until > now and",
        _T_POLICY + "of_two_processes_that_react_at_once_one_gives_the_order_and_a_later_reply_renews_it",
    ),
    Mutation(
        "slow start: replies of one burst halve once",
        "mta/policy/slow_start.py",
        "if stands is not None and _has_just_fallen(stands, now):",
        "if False:",
        _T_START + "replies_of_one_burst_halve_once_and_those_of_the_next_second_again",
    ),
    Mutation(
        "slow start: of the processes that saw the same limit one opens it",
        "mta/scheduling/slow_start.py",
        "lambda was: opened(seen, now) if was == seen else None",
        "lambda was: opened(was, now)",
        "tests/unit/scheduling/test_slow_start.py::test_success_opens_the_path_again_until_it_is_free",
    ),
    Mutation(
        "slow start: a reply about one connection does not halve",
        "mta/policy/slow_start.py",
        " and known.reaction is Reaction.SLOW_DOWN",
        "",
        _T_START + "only_replies_about_the_rate_of_all_mail_halve",
    ),
    Mutation(
        "limits: open connections know an order about their messages",
        "mta/egress/egress.py",
        "                outlet.take_plan(plan)\n",
        "",
        "tests/unit/egress/test_transactions.py::test_an_order_about_the_messages_of_a_connection_holds_for_connections_"
        "that_are_open",
    ),
)
