"""Damages of webhooks, each with the test that must notice."""

from tests.mutations.mutation import Mutation

_ADDRESSES = "mta/policy/public_addresses.py"
_ENTRIES = "mta/redis_store/steps/entries.lua"
_T_STATE = "tests/unit/history/test_webhook_tables.py::test_"
_T_STREAM = "tests/unit/webhooks/test_stream.py::test_"
_T_SENDER = "tests/unit/webhooks/test_sender.py::test_"
_T_ADDRESSES = "tests/unit/http_out/test_allowed_addresses.py::test_a13_"
_T_POST = "tests/unit/http_out/test_webhook_post.py::test_"
_T_API = "tests/unit/control_api/webhooks/test_webhooks.py::test_"
_T_STORE = "tests/integration/redis_store/test_webhook_store.py::test_"

WEBHOOKS = (
    Mutation(
        "webhooks: the position moves with the number of its owner alone",
        "mta/history/webhook_tables.py",
        "update(_ENDPOINTS).where(_ENDPOINTS.c.endpoint == endpoint_id, _ENDPOINTS.c.owner == owner)",
        "update(_ENDPOINTS).where(_ENDPOINTS.c.endpoint == endpoint_id)",
        _T_STATE + "a_story_of_every_state",
    ),
    Mutation(
        "webhooks: never two requests of one message",
        "mta/webhooks/stream.py",
        "if message and message in self._busy and message not in own:",
        "if False:",
        _T_STREAM + "of_a_message_one_request_is_under_way_and_its_later_events_wait",
    ),
    Mutation(
        "webhooks: 410 disables",
        "mta/webhooks/health.py",
        "if answer.status == GONE:",
        "if False:",
        _T_SENDER + "an_endpoint_that_is_gone_is_disabled_at_once",
    ),
    Mutation(
        "webhooks: the address of a connection is checked",
        "mta/http_out/allowed_addresses.py",
        "if not self._may(address):",
        "if False:",
        _T_POST + "a_name_that_means_another_address_at_each_look_reaches_none_that_is_refused",
    ),
    Mutation(
        "webhooks: names are looked up at the servers that are set",
        "mta/http_out/webhook_post.py",
        "aiohttp.AsyncResolver(nameservers=self._dns_servers)",
        "aiohttp.AsyncResolver()",
        _T_POST + "names_are_looked_up_at_the_servers_that_are_set_and_in_the_hosts_file",
    ),
    Mutation(
        "webhooks: an address is not used for longer than a second",
        "mta/http_out/webhook_post.py",
        "ttl_dns_cache=_NAME_KEPT",
        "ttl_dns_cache=None",
        _T_POST + "a13_a_name_that_rebinds_is_judged_at_each_connection",
    ),
    Mutation(
        "webhooks: a window of failures puts the probe off once",
        "mta/webhooks/health.py",
        "elif now >= next_probe:",
        "else:",
        _T_SENDER + "a_window_of_requests_that_fail_at_once_puts_the_next_one_off_as_one_failure_does",
    ),
    Mutation(
        "webhooks: a rush that is refused takes no retries",
        "mta/webhooks/stream.py",
        "return self.failures + (not self.is_early)",
        "return self.failures + 1",
        _T_SENDER + "a_receiver_that_answers_one_request_and_refuses_the_rush_behind_it_loses_nothing",
    ),
    Mutation(
        "webhooks: a probe has new events first",
        "mta/webhooks/stream.py",
        "if request is None and waiting:",
        "if waiting:",
        _T_SENDER + "events_that_are_refused_for_ever_do_not_keep_the_others_away",
    ),
    Mutation(
        "webhooks: IPv4 addresses inside IPv6 addresses",
        _ADDRESSES,
        "if address in _TRANSLATED:",
        "if False:",
        _T_ADDRESSES + "an_address_is_public_only_if_those_that_it_carries_are",
    ),
    Mutation(
        "webhooks: IPv6 outside 2000::/3 is not public",
        _ADDRESSES,
        "return address in _UNICAST and not any(",
        "return not any(",
        _T_ADDRESSES + "an_address_is_public_only_if_those_that_it_carries_are",
    ),
    Mutation(
        "webhooks: an address in a URL is refused",
        "mta/webhooks/endpoint_book.py",
        "if not is_public(address):",
        "if False:",
        _T_API + "a_bad_endpoint_is_refused_with_the_field_and_the_reason",
    ),
    Mutation(
        "webhooks: the share of a tenant",
        _ENTRIES,
        "if stands == '' and share then",
        "if false then",
        _T_STORE + "a_token_of_a_tenant_makes_a_tenth_of_the_endpoints_at_most",
    ),
)
