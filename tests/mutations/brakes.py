"""Damages of brakes, each with the test that must notice."""

from tests.mutations.mutation import Mutation

_POLICY = "mta/policy/brakes.py"
_PULLER = "mta/brakes/puller.py"
_STEPS = "mta/redis_store/steps/brakes.lua"
_T_POLICY = "tests/unit/policy/test_brakes.py::test_"
_T_PULLER = "tests/unit/brakes/test_puller.py::test_"
_T_STORE = "tests/integration/redis_store/test_brake_store.py::test_"

BRAKES = (
    Mutation(
        "brakes: a settlement that is not carried out is not counted",
        _STEPS,
        "many = many + (answer[number] == 'O' and 1 or 0)",
        "many = many + 1",
        _T_STORE + "a_settlement_that_is_not_carried_out_is_not_counted[plain]",
    ),
    Mutation(
        "brakes: a tag of a few messages makes no key",
        _STEPS,
        "'accepted') or 0) >= least then",
        "'accepted') or 0) >= 0 then",
        _T_STORE + "a_tag_is_counted_once_it_has_had_enough_mail_in_the_lane[plain]",
    ),
    Mutation(
        "brakes: no pull below the least number",
        _POLICY,
        "return counted >= max(1, brake.least) and hits",
        "return hits",
        _T_POLICY + "a_brake_is_pulled_beyond_its_ratio_and_never_below_its_least_number[79-79-False]",
    ),
    Mutation(
        "brakes: mail of other tenants is not counted",
        _POLICY,
        'self._each.get(name.partition("\\0")[2], ())',
        'self._each.get("", ())',
        _T_POLICY + "each_tag_is_counted_by_itself_those_of_other_tenants_not",
    ),
    Mutation(
        "brakes: the window begins anew once the rule is lifted",
        _PULLER,
        "        await self._store.clear((pull.brake, counter_of(pull.tag, pull.tenant)))\n",
        "",
        _T_PULLER + "once_the_rule_is_lifted_the_window_begins_anew_and_it_may_be_pulled_again",
    ),
    Mutation(
        "brakes: an order of a person is not replaced",
        _PULLER,
        "made = await self._standing(rule) or (",
        "made = (",
        _T_PULLER + "a_rule_of_a_person_stays_as_it_is",
    ),
    Mutation(
        "brakes: trouble with the store loses no crossing",
        _PULLER,
        '                    self._afresh = True\n                    log.log(severity(error), "brakes are not',
        '                    log.log(severity(error), "brakes are not',
        _T_PULLER + "a_store_that_fails_in_between_loses_no_crossing",
    ),
    Mutation(
        "brakes: the first note of a pull stands",
        "mta/redis_store/brake_store.py",
        '"HSETNX", keys.META_BRAKE_PULLS',
        '"HSET", keys.META_BRAKE_PULLS',
        _T_STORE + "a_pull_is_noted_once_and_replaces_the_one_before[plain]",
    ),
)
