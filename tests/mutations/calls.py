"""Damages of mail over HTTP, each with the test that must notice."""

from tests.mutations.mutation import Mutation

_CALLS = "mta/admission/calls.py"
_T_CALLS = "tests/unit/admission/test_calls.py::test_"
_T_PLAN = "tests/unit/control_api/injection/test_plan.py::test_"
_T_DOOR = "tests/unit/control_api/injection/test_door.py::test_"

CALLS = (
    Mutation(
        "calls: ids follow each other over parts",
        _CALLS,
        "ids = [id_in_row(self._first, self._count + place) for place in range(len(drafts))]",
        "ids = [id_in_row(self._first, place) for place in range(len(drafts))]",
        _T_CALLS + "ids_follow_each_other_over_parts_and_submissions",
    ),
    Mutation(
        "calls: no answer where something is not known",
        "control_api/injection/answers.py",
        "if len(replies) < len(handed):",
        "if not replies:",
        _T_DOOR + "no_answer_is_given_where_nothing_is_known",
    ),
    Mutation(
        "calls: the tenant of the token",
        "control_api/injection/plan.py",
        'if actor.tenant and named not in ("", actor.tenant):',
        "if False:",
        _T_PLAN + "the_tenant_of_a_token_wins",
    ),
    Mutation(
        "calls: header fields that are none of the client's",
        "control_api/schemas/sending_values.py",
        "if lowered in _OTHER_WAYS or lowered.startswith(_OTHER_PREFIXES):",
        "if lowered in _OTHER_WAYS:",
        _T_PLAN + "a_value_that_cannot_be_taken_is_named",
    ),
)
