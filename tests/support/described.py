"""Requests out of the description of the API: what must be mended in one that is valid by its schema, and why."""

import contextlib
import copy
import re
import uuid
from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Any, Final, NamedTuple

import hypothesis
import idna
import pytest
import requests
import schemathesis
from hypothesis.errors import FlakyStrategyDefinition
from hypothesis.stateful import run_state_machine_as_test
from hypothesis.strategies._internal import regex
from hypothesis.strategies._internal.lazy import unwrap_strategies
from schemathesis.checks import CHECKS, load_all_checks
from schemathesis.generation.feedback import FeedbackSources
from schemathesis.generation.hypothesis import builder
from schemathesis.generation.hypothesis.reporting import ignore_hypothesis_output
from schemathesis.pytest._test_builder import build_operation_test
from schemathesis.python._constants.orchestrator import make_constants_value_source

from tests.support.node import TOKEN

HEADERS: Final = {"Authorization": f"Bearer {TOKEN}"}
_ONE_OF: Final = (
    *(("mta", "pool"), ("ip", "domain"), ("mx", "domain"), ("mx", "ip")),
    *(("duration", "expires_at"), ("duration", "expire"), ("expire", "expires_at")),
    ("domain", "recipient"),
    ("preview_token", "max_matches"),
)
_OF_QUEUES: Final = ("id", "ids", "pool", "domain", "site", "tag", "tenant")
_OF_DOMAINS: Final = (
    "address", "bcc", "cc", "dkim_domain", "domain", "email", "envelope_from", "from", "mx", "recipient", "reply_to",
    "sender", "senders", "to",
)  # fmt: skip
_SELECT: Final = ("pool", "mta", "domain", "ip", "mx", "tag", "tenant", "tags_all", "sender", "recipient", "site")


_LEFT_OUT: Final = (  # marks of a test that could not be made as described
    builder.InvalidHeadersExampleMark,
    builder.InvalidRegexMark,
    builder.MissingPathParameters,
    builder.NonSerializableMark,
    builder.UnsatisfiableExampleMark,
    builder.UnserializablePayloadMark,
)


class Operations:
    """The operations of a description, which a node is asked for.

    schemathesis makes the requests of all of them, for a quarter of a minute, in each process that collects the tests.
    Here they are made one operation after the other, when a test runs.
    """

    def __init__(self, document: Mapping[str, Any], api: str) -> None:
        self._document = dict(document)
        self._api = api
        self._schema = schemathesis.openapi.from_dict(self._document)
        self._feedback = FeedbackSources(constants_value_source=make_constants_value_source(self._schema))
        self._by_label = {found.ok().label: found.ok() for found in self._schema.get_all_operations()}
        load_all_checks()
        self._checks = [self._remember_enforced, *(CHECKS.get_one(name) for name in CHECKS.get_all_names())]
        self._enforced: set[str] = set()  # operations that have refused a request without a valid token
        self._session = requests.Session()
        self._session.trust_env = False

    def ask(self, label: str, rules: hypothesis.settings) -> None:
        """All requests that schemathesis makes for the operation; all checks of their answers."""

        @rules
        def answers(case: schemathesis.Case) -> None:
            _prepare(case)
            case.call_and_validate(self._api, self._session, HEADERS, self._checks, timeout=60)

        made = build_operation_test(
            config=self._schema.config,
            operation=self._by_label[label],
            test_func=answers,
            given_kwargs={},
            feedback=self._feedback,
        )
        with ignore_hypothesis_output():
            made()
        assert [mark.attr_name for mark in _LEFT_OUT if mark.is_set(made)] == []

    def ask_in_a_row(self, rules: hypothesis.settings) -> None:
        """Requests in a row, each with the ids of the answers before; all checks of their answers."""
        how, checks = {"base_url": self._api, "session": self._session, "headers": HEADERS, "timeout": 60}, self._checks

        class Orders(schemathesis.openapi.from_dict(self._document).as_state_machine()):  # type: ignore[misc]
            def get_call_kwargs(self, case: schemathesis.Case) -> dict[str, Any]:
                return how

            def before_call(self, case: schemathesis.Case) -> None:
                _prepare(case)

            def validate_response(self, response: Any, case: schemathesis.Case, **more: Any) -> None:
                try:
                    super().validate_response(response, case, additional_checks=checks, **more)
                except BaseException as failure:
                    failures.append(failure)
                    raise

        failures: list[BaseException] = []
        try:
            run_state_machine_as_test(Orders, settings=rules)
        except FlakyStrategyDefinition:  # the node remembers orders, so a row that is repeated may get other answers
            if failures:
                raise failures[0] from None

    def _remember_enforced(self, context: schemathesis.CheckContext, *_: Any) -> None:
        """No check: each operation is asked once without a valid token, as schemathesis itself does in its runs."""
        context.auth_enforced_operations = self._enforced


@contextlib.contextmanager
def patterns_are_read_once() -> Iterator[None]:
    """Patches Hypothesis, which makes a strategy of a pattern anew wherever the description has the pattern."""
    make, made = regex.regex_strategy, {}

    def strategy(pattern: re.Pattern[str] | str, fullmatch: bool, *, alphabet: Any, **more: Any) -> Any:
        pattern = re.compile(pattern)
        letters = None if alphabet is None else unwrap_strategies(alphabet).intervals
        key = (pattern.pattern, pattern.flags, fullmatch, letters, *more.items())
        if key not in made:
            made[key] = make(pattern, fullmatch, alphabet=alphabet, **more)
        return made[key]

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(regex, "regex_strategy", strategy)
        yield


def _prepare(case: schemathesis.Case) -> None:
    if case.meta is None or case.meta.generation.mode.is_positive:
        mend(case)
    else:
        hypothesis.assume(not _is_international(case) and not _gives_one(case))


def _is_international(case: schemathesis.Case) -> bool:
    """Whether a request that violates its schema may be taken all the same: it has a domain in letters of its language,
    and no pattern can name the letters that IDNA takes."""
    for text in _texts_of(_OF_DOMAINS, [case.query, case.path_parameters, case.body]):
        domain = text.rpartition("@")[2].removeprefix("*.")
        with contextlib.suppress(UnicodeError):
            if not domain.isascii() and idna.encode(domain, uts46=True):
                return True
    return False


def _gives_one(case: schemathesis.Case) -> bool:
    """Whether a parameter that may repeat is given without a list: in a query string that is a list of one."""
    lists = [one.name for one in case.operation.query if one.definition.get("schema", {}).get("type") == "array"]
    return any(isinstance((case.query or {}).get(name), str | int | float) for name in lists)


def _texts_of(names: Collection[str], given: Any, below: bool = False) -> Iterator[str]:
    """All texts in fields of these names."""
    if isinstance(given, Mapping):
        for name, value in given.items():
            yield from _texts_of(names, value, below or name in names)
    elif isinstance(given, list):
        for value in given:
            yield from _texts_of(names, value, below)
    elif below and isinstance(given, str):
        yield given


class Condition(NamedTuple):
    """A condition that no schema of an operation says, so that a request that is valid by it may be refused."""

    name: str
    reason: str
    mend: Callable[[schemathesis.Case], None]  # makes the request fulfil it


def mend(case: schemathesis.Case) -> None:
    """Make a request that is valid by its schema one that must be taken."""
    if isinstance(case.body, dict | list):
        case.body = copy.deepcopy(case.body)  # it may be an example of the description itself
    for condition in CONDITIONS:
        condition.mend(case)


def _fields(case: schemathesis.Case) -> list[dict[str, Any]]:
    """The bodies of rules in a request, or the query that stands for one."""
    if case.path == "/v1/errors/bulk":
        return list(case.body.get("create") or ()) if isinstance(case.body, dict) else []
    if not case.path.startswith(("/v1/errors", "/v1/pauses")):
        return []
    if case.method == "DELETE" and "{id}" not in case.path and not isinstance(case.body, dict):
        return [case.query]
    return [case.body] if isinstance(case.body, dict) else []


def _one_place(case: schemathesis.Case) -> None:
    if case.method == "DELETE" and "{id}" not in case.path and isinstance(case.body, dict):
        case.query = {name: value for name, value in case.query.items() if name == "wait"}


def _no_exclusion(case: schemathesis.Case) -> None:
    for given in _fields(case):
        for name in [name for name in _SELECT if given.get(name) in (None, "*", ["*"])]:
            given.pop(name, None)
        for one, other in _ONE_OF:
            if given.get(one) is not None and given.get(other) is not None:
                del given[one]


def _countable(case: schemathesis.Case) -> None:
    for given in _fields(case):
        given.pop("preview_token", None)
        if given.get("max_matches") is not None:
            for name in ("mta", "ip", "mx", "cluster", "enabled"):
                given.pop(name, None)


def _times_to_come(case: schemathesis.Case) -> None:
    if case.path == "/v1/tokens" and isinstance(case.body, dict) and case.body.get("expires_at") is not None:
        case.body["expires_at"] = "+30m"
    for given in _fields(case):
        for name in ("expires_at", "expire", "accepted_before", "accepted_after"):
            if isinstance(given.get(name), str):
                given[name] = "now" if name == "accepted_after" else "+30m"
        if isinstance(given.get("duration"), str):
            given["duration"] = "30m"


def _recurring(case: schemathesis.Case) -> None:
    for given in _fields(case):
        if given.get("schedule") is None:
            given.pop("timezone", None)
        else:
            given["schedule"] = "Mo-Fr 22:00-08:00; Sa,Su 00:00-24:00"
            given["timezone"] = "Europe/Berlin"
            given.pop("in_flight", None)


def _selects(case: schemathesis.Case) -> bool:
    """Whether the request gives the selectors of a rule."""
    return "{id}" not in case.path


def _some_selector(case: schemathesis.Case) -> None:
    for given in _fields(case) if _selects(case) else ():
        given.pop("except_tags", None)
        given.pop("everything", None)
        if not any(name in given for name in _SELECT):
            given["everything"] = "true"


def _own_selectors(case: schemathesis.Case) -> None:
    if case.path == "/v1/errors/bulk" and isinstance(case.body, dict):
        create = case.body.get("create") or [{"code": 554}]
        for at, given in enumerate(create):
            given["sender"] = f"{at}@example.net"
            given.pop("everything", None)
        case.body = {"create": create}


def _all_of_them(case: schemathesis.Case) -> None:
    if case.path.startswith(("/v1/queues", "/v1/parked")) and case.method != "GET":
        for given in (case.body, case.query) if case.method == "DELETE" else (case.body,):
            if isinstance(given, dict) and all(given.get(name) in (None, "*") for name in _OF_QUEUES):
                given["everything"] = "true" if given is case.query else True


def _of_no_answer(case: schemathesis.Case) -> None:
    case.query = {name: value for name, value in case.query.items() if name != "cursor"}
    for name in [name for name in case.headers if name.lower() == "last-event-id"]:
        del case.headers[name]
    for name in [name for name in case.headers if name.lower() == "if-match"]:
        if case.path == "/v1/tenants/{name}":
            del case.headers[name]  # it may have no terms
        else:
            case.headers[name] = "*"


def _no_private_key(case: schemathesis.Case) -> None:
    if case.path.startswith("/v1/dkim") and isinstance(case.body, dict):
        case.body.pop("private_key", None)


def _usable_entry(case: schemathesis.Case) -> None:
    if case.path.startswith("/v1/replies") and isinstance(case.body, dict):
        case.body["pattern"] = "x"


def _count_or_rate(case: schemathesis.Case) -> None:
    if case.path == "/v1/pauses/{id}/release" and case.method == "POST" and isinstance(case.body, dict):
        rate = case.body.get("rate")
        case.body = {"count": case.body.get("count") or 1} if rate is None else {"rate": rate}


def _pool_of_its_ips(case: schemathesis.Case) -> None:
    if case.path.startswith("/v1/pools") and isinstance(case.body, dict):
        case.body = {
            name: value for name, value in case.body.items() if name in ("name", "pool", "description", "ehlo")
        }
    if case.path == "/v1/poolips" and case.method == "DELETE":
        case.query = {}
        case.body = {"name": "default", "ip": "192.0.2.7"}
    if case.path == "/v1/pools" and case.method == "DELETE" and not isinstance(case.body, dict):
        case.query = {"name": "news", **case.query}


def _pool_or_ip(case: schemathesis.Case) -> None:
    if case.path.startswith("/v1/limits") and isinstance(case.body, dict):
        if case.body.get("pool") is not None:
            case.body.pop("ip", None)
        case.body["connections"] = case.body.get("connections") or 1


def _some_part(case: schemathesis.Case) -> None:
    if case.path == "/v1/templates/{name}" and isinstance(case.body, dict):
        case.body = dict.fromkeys(case.body, "{{ x }}")


def _shown_data(case: schemathesis.Case) -> None:
    if case.path == "/v1/templates/{name}/render" and isinstance(case.body, dict):
        given = case.body.get("data") or {}
        case.body["data"] = {"x": 0, **{name: number for number, name in enumerate(given) if name.isalpha()}}


def _sending_time(case: schemathesis.Case) -> None:
    if case.method == "POST" and case.path == "/v1/messages" and isinstance(case.body, dict):
        given = case.body
        if given.get("send_at") is not None:
            given["send_at"] = "+30m"
            given.pop("delay", None)
        if given.get("window") is None:
            given.pop("timezone", None)
        else:
            given.update(window="Mo-Fr 09:00-17:00", timezone="Europe/Berlin")
        if isinstance(given.get("delay"), str):
            given["delay"] = "30m"


def _one_content(case: schemathesis.Case) -> None:
    if case.method == "POST" and case.path == "/v1/messages" and isinstance(case.body, dict):
        left_out = ("mime", "cc", "bcc", "attachments", "envelope_from", "template", "data", "track", "unsubscribe")
        kept = {name: value for name, value in case.body.items() if name not in left_out}
        case.body = {**kept, "from": "shop@example.com", "to": ["ann@example.net"], "text": "x"}
    if case.path == "/v1/inject" and isinstance(case.body, dict):
        for name in ("maxdelivertime", "delayed"):
            case.body.pop(name, None)


def _tls_by_day(case: schemathesis.Case) -> None:
    if case.path == "/v1/stats":
        alone = [group for group in ("tls", "link") if group in (case.query.get("by") or ())]
        if alone:
            case.query = {name: value for name, value in case.query.items() if name != "interval"} | {"by": alone[:1]}


def _secure_url(case: schemathesis.Case) -> None:
    if case.path == "/v1/webhooks" and isinstance(case.body, dict) and isinstance(case.body.get("url"), str):
        case.body["url"] = case.body["url"].replace("http://", "https://")
    if case.path == "/v1/webhooks/{id}/replay" and isinstance(case.body, dict):
        case.body = {"from": "2020-01-31T12:00:00Z"}


def _one_recipient(case: schemathesis.Case) -> None:
    if not case.path.startswith("/v1/suppressions"):
        return
    if case.method == "DELETE" and not any(name not in ("dry_run", "cursor") for name in case.query):
        case.query = {**case.query, "domain": "example.net"}
    bodies = [case.body] if isinstance(case.body, dict) else []
    if case.path.endswith("/import"):
        bodies = [one for given in bodies for one in given.get("suppressions") or () if isinstance(one, dict)]
    for given in bodies:
        for name in ("expires_at", "expire", "description", "created_at"):
            given.pop(name, None)
        if given.get("address") is None:
            given.pop("address", None)
            given["domain"] = given.get("domain") or "example.net"
        else:
            given.pop("domain", None)


def _new_key(case: schemathesis.Case) -> None:
    if case.headers.get("Idempotency-Key"):
        case.headers["Idempotency-Key"] = str(uuid.uuid4())


def _ends(case: schemathesis.Case) -> None:
    if case.path == "/v1/events":
        case.query = {**case.query, "for": "100ms"}


CONDITIONS: Final = (
    Condition("a new key", "an idempotency key stands for one call", _new_key),
    Condition("one place", "selectors of a removal stand in the query or in the body, not in both", _one_place),
    Condition("a pattern", "of a reply entry is an expression that RE2 takes", _usable_entry),
    Condition("a bound", "mail of some selectors cannot be counted; a preview_token is that of a preview", _countable),
    Condition("exclusive fields", "such as pool and mta, or duration and expires_at", _no_exclusion),
    Condition(
        "times to come", "a rule that has ended would match nothing; a text of ten years is a duration", _times_to_come
    ),
    Condition(
        "a schedule", "has no time that ends when it begins, a zone that is known, and no in_flight finish", _recurring
    ),
    Condition("some selector", "a rule for everything says so, and except_tags alone selects nothing", _some_selector),
    Condition(
        "rules of a set", "have selectors of their own, and ids of rules to remove are not known here", _own_selectors
    ),
    Condition("all mail", "an order about all of it says so, or names a queue", _all_of_them),
    Condition("of an answer", "a cursor, Last-Event-ID and If-Match are those of an answer before", _of_no_answer),
    Condition("a private key", "is one that fits the algorithm", _no_private_key),
    Condition("a staged release", "has a count or a rate", _count_or_rate),
    Condition("a pool", "warms IPs that it has, and an IP is removed from a pool that is named", _pool_of_its_ips),
    Condition("a limit", "is for a pool or for an IP, and limits something", _pool_or_ip),
    Condition("a template", "has a part, and is written in the syntax of one", _some_part),
    Condition("data", "of a mail have no control character and no name of the template language", _shown_data),
    Condition("the time of a message", "is one, to come; its window is a schedule in a known zone", _sending_time),
    Condition("a message", "has one content, and is not given up before it is due", _one_content),
    Condition(
        "a suppression", "has either an address or a domain, and ends later; a removal names some", _one_recipient
    ),
    Condition("TLS", "is counted alone, by day, in no other interval, and so are clicks of links", _tls_by_day),
    Condition("a webhook", "has an https:// URL unless settings allow another; a replay is of the past", _secure_url),
    Condition("a stream", "ends with `for`; else it lasts until its reader goes", _ends),
)
