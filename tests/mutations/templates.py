"""Damages of templates and of tracked mail, each with the test that must notice."""

from tests.mutations.mutation import Mutation

_ENGINE = "mta/content/templating.py"
_DATA = "mta/content/template_data.py"
_LINKS = "mta/content/tracking_links.py"
_T_ENGINE = "tests/unit/content/test_templating.py::test_"
_T_LINKS = "tests/unit/content/test_tracking_links.py::test_"
_T_LISTENER = "tests/unit/control_api/tracking/test_listener.py::test_"
_T_CALLS = "tests/unit/control_api/injection/test_personal_calls.py::test_"

TEMPLATES = (
    Mutation(
        "templates: the work for one mail has a bound",
        _ENGINE,
        "FUEL: Final = 8000 ",
        "FUEL: Final = 8_000_000 ",
        _T_ENGINE + "a_bomb_goes_off_in_the_sandbox",
    ),
    Mutation(
        "templates: a name without a value is an error",
        _ENGINE,
        'undefined_behavior="strict"',
        'undefined_behavior="lenient"',
        _T_ENGINE + "a_name_without_a_value_is_named",
    ),
    Mutation(
        "templates: values are escaped in HTML",
        _ENGINE,
        'return name == "html"',
        "return False",
        _T_ENGINE + "each_part_is_rendered_and_html_alone_is_escaped",
    ),
    Mutation(
        "templates: a subject is one line",
        _ENGINE,
        "return TemplateParts(_one_line(subject), text, html)",
        "return TemplateParts(subject, text, html)",
        _T_ENGINE + "a_subject_is_one_line",
    ),
    Mutation(
        "templates: data do not take the place of what is kept of the tenant",
        _DATA,
        '"in", "not", TENANT)',
        '"in", "not")',
        _T_ENGINE + "data_that_no_mail_can_show_are_refused_by_name",
    ),
    Mutation(
        "templates: a draft is not sent",
        "control_api/injection/named_templates.py",
        "(version is not None and not version.published_at)",
        "False",
        _T_CALLS + "the_published_version_is_used_and_others_by_number",
    ),
    Mutation(
        "templates: of two drafts that saw the same template one is kept",
        "mta/redis_store/steps/templates.lua",
        "  if stands ~= wanted then\n",
        "  if false then\n",
        "tests/integration/redis_store/test_template_store.py::test_of_two_drafts_that_saw_the_same_template_one_is_kept",
    ),
    Mutation(
        "tracking: a link leads only where a node said",
        _LINKS,
        "if not hmac.compare_digest(mac, self._mac(mail, address)):",
        "if False:",
        _T_LINKS + "an_address_is_led_to_only_as_a_node_wrote_it",
    ),
    Mutation(
        "tracking: a link is good for its mail alone",
        _LINKS,
        'mail.encode() + b"\\0" + address',
        "address",
        _T_LINKS + "an_address_is_led_to_only_as_a_node_wrote_it",
    ),
    Mutation(
        "tracking: an address is believed of a trusted proxy alone",
        "control_api/tracking/app.py",
        "        if not self._trusts(peer):\n            return peer\n",
        "",
        _T_LISTENER + "an_address_is_believed_of_a_trusted_proxy_alone",
    ),
)
