"""The template engine: Jinja2's syntax by MiniJinja, with a bound on the work and on the output.

MiniJinja counts the steps, and the bytes that they make, against its fuel; it reads neither files nor Python objects.
It holds the lock of the interpreter while it renders, so a thread would not help the event loop: the bound on the work
is such that no template takes longer than the loop may stand still.
"""

import re
from typing import Final

import minijinja

from mta.content.template_attributes import untested
from mta.content.template_bounds import excess
from mta.content.template_values import checked
from mta.model.errors import BadRendering, BadValue
from mta.model.templates import MAX_PART, MAX_SUBJECT, PARTS, TemplateParts

FUEL: Final = 8000  # of all parts of one mail: 64 bytes of text cost 1, a row of a table some 12; 10 ms at the worst
_ALL: Final = "\0".join(f"{{% include '{part}' %}}" for part in PARTS)
_CALL: Final = "call"
_TOO_MUCH: Final = f"takes more than {FUEL} steps, or gives more than {FUEL >> 4} KiB"
_QUOTED: Final = re.compile(r"`(.+?)` is undefined")
_RAW_CONTROL: Final = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")


class CompiledTemplate:
    """Parts whose syntax is right. It may be used by several threads."""

    def __init__(self, parts: TemplateParts, field: str = "") -> None:
        """`field` stands before the name of a part in errors. Raises BadValue: which part is wrong, where and why."""
        self.parts = parts
        self._checked: dict[str, str] = {}
        self._environment = minijinja.Environment(
            fuel=FUEL, undefined_behavior="strict", auto_escape_callback=_escapes, keep_trailing_newline=True
        )
        self._environment.remove_global("debug")
        self._environment.remove_global("namespace")  # one that holds itself ends the process as it is printed
        for part in PARTS:
            self._add(part, getattr(parts, part), f"{field}{part}")

    def _add(self, part: str, source: str, field: str) -> None:
        most = MAX_SUBJECT if part == "subject" else MAX_PART
        if len(source.encode("utf-8", "replace")) > most:
            raise BadValue(field, f"is longer than {most} bytes of UTF-8")
        if _RAW_CONTROL.search(source) is not None:
            raise BadValue(field, "has a control character; mail cannot show it")
        if (over := excess(source) or untested(source)) is not None:
            raise BadValue(field, over)
        try:
            self._environment.add_template(part, source)  # an error of syntax names the template as it was given
            self._checked[part] = within = checked(source)
            if within is not source:
                self._environment.add_template(part, within)
        except minijinja.TemplateError as error:
            raise BadValue(field, f"is no template: {_words(error)}, line {error.line or 1}") from None
        except UnicodeEncodeError:
            raise BadValue(field, "holds half of a surrogate pair; give UTF-8") from None

    def render(self, assignments: str) -> TemplateParts:
        """The parts with the values that `template_data.source_of` gives. Raises BadRendering."""
        try:
            rendered = self._environment.render_str(assignments + _ALL, _CALL)
        except minijinja.TemplateError as error:
            raise self._fault(assignments, error) from None
        found = rendered.split("\0")
        if len(found) != len(PARTS):
            raise BadRendering("template", "gives a control character; mail cannot show it")
        subject, text, html = found
        return TemplateParts(_one_line(subject), text, html)

    def _fault(self, assignments: str, error: minijinja.TemplateError) -> BadRendering:
        """The reason. A part that is included hides it, so that part is rendered alone, behind the assignments, which
        are on the first line of its text."""
        for part in PARTS:
            if f'"{part}"' in (error.detail or ""):
                try:
                    self._environment.render_str(assignments + self._checked[part], part)
                except minijinja.TemplateError as own:
                    return _told(part, own)
        return BadRendering("template", _TOO_MUCH)


def _escapes(name: str) -> bool:
    return name == "html"


def _one_line(subject: str) -> str:
    """A subject is one line of a header: line breaks, of the template or of the data, are blanks."""
    return subject if subject.isprintable() else " ".join(line.strip() for line in subject.splitlines()).strip()


def _told(part: str, error: minijinja.TemplateError) -> BadRendering:
    if error.kind == "OutOfFuel":
        return BadRendering(part, _TOO_MUCH)
    found = _QUOTED.search(error.detail or "")
    if found is not None:
        return BadRendering(part, f"{found[1]} has no value (line {error.line})", found[1])
    return BadRendering(part, f"{_words(error)} (line {error.line})")


def _words(error: minijinja.TemplateError) -> str:
    return error.detail or error.message.partition(" (in ")[0]
