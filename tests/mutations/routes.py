"""Damages of routes, relays and TLS, each with the test that must notice."""

from tests.mutations.mutation import Mutation

_NEXT_HOSTS = "mta/egress/next_hosts.py"
_HANDSHAKE = "mta/egress/handshake.py"
_T_NEXT_HOSTS = "tests/unit/egress/test_next_hosts_and_expiry.py::test_"
_T_POLICIES = "tests/unit/egress/test_sts_policies.py::test_c104_"
_T_STS = "tests/unit/policy/test_mta_sts.py::test_c104_"
_T_CONNECTIONS = "tests/unit/egress/test_connections.py::test_"
_T_RELAYS = "tests/scenarios/s41_routes/test_relays.py::test_"

ROUTES = (
    Mutation(
        "routes: a dot without an answer goes nowhere else (C-31)",
        _NEXT_HOSTS,
        "if outcome.verdict is not Verdict.TEMPORARY or outcome.uncertain or outcome.forced is not None:",
        "if outcome.verdict is not Verdict.TEMPORARY or outcome.forced is not None:",
        _T_NEXT_HOSTS + "d5_what_is_left_for_the_next_host",
    ),
    Mutation(
        "routes: a password needs TLS",
        _HANDSHAKE,
        '        if not self._encrypted:\n            raise self._failed("the connection has no TLS',
        '        if False:\n            raise self._failed("the connection has no TLS',
        "tests/unit/egress/test_login.py::test_a_password_never_goes_in_clear_text",
    ),
    Mutation(
        "routes: a refused password bounces no mail",
        "mta/policy/failures.py",
        "if code < 500 or phase not in _OF_THE_MAIL:",
        "if code < 500:",
        _T_RELAYS + "a_password_that_the_relay_refuses_defers_the_mail_and_is_nowhere_to_be_read",
    ),
    Mutation(
        "TLS: no clear text where it is required (C-90)",
        "mta/egress/dial.py",
        "if wanted and (not need.may_be_clear or (handshake.offers_tls and not tls_failed)):",
        "if wanted and handshake.offers_tls and not tls_failed:",
        _T_CONNECTIONS + "c90_tls_required_and_not_offered_is_temporary",
    ),
    Mutation(
        "MTA-STS: the wildcard stands for one label (C-104)",
        "mta/policy/mta_sts.py",
        "return name in self.hosts or f\"*.{name.partition('.')[2]}\" in self.hosts",
        "return name in self.hosts or any(name.endswith(one[1:]) for one in self.hosts)",
        _T_STS + "hosts_that_a_policy_allows",
    ),
    Mutation(
        "MTA-STS: a host that fails keeps the policy (C-104)",
        "mta/egress/sts_policies.py",
        "            if fetched.failure:\n",
        "            if fetched.failure:\n                self._known.pop(domain, None)\n",
        _T_POLICIES + "a_new_id_is_fetched_and_a_host_that_fails_keeps_the_policy",
    ),
)
