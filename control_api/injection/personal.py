"""Messages of a call that differ by recipient: rendered of a template and of data, all of them before one is queued."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from control_api.schemas.sending_values import Addressee, BadData
from mta.content.compose import Letter, Mailbox
from mta.content.personal import PersonalLetter
from mta.content.template_data import Assignments, source_of, tenant_assignment
from mta.content.templating import CompiledTemplate
from mta.model.errors import BadRendering, BadValue
from mta.model.templates import TemplateParts
from mta.ports.admission import Draft


class PersonalContent(NamedTuple):
    """The content of the messages of a call."""

    template: CompiledTemplate
    letter: PersonalLetter
    common: Assignments  # of the call and of its tenant

    def draft(self, addressee: Addressee) -> Draft:
        """See plan.Content. Raises BadData."""
        try:
            parts = self.template.render(source_of(self.common, addressee.data or {}))
        except BadRendering as bad:
            field = addressee.field.removesuffix(".email")
            raise BadData(f"{field}.data", f"{bad.reason} in {bad.part}, for {addressee.given}") from None
        header = self.letter.header((addressee.mailbox,), parts.subject)
        return Draft(header, self.letter.rest(parts), (addressee.mailbox.address,), addressee.metadata)

    def for_all(self, to: Sequence[Mailbox], recipients: tuple[str, ...]) -> Draft:
        """Of the data of the call. Raises BadData."""
        try:
            parts = self.template.render(source_of(self.common))
        except BadRendering as bad:
            raise BadData("data", f"{bad.reason} in {bad.part}") from None
        header = self.letter.header(to, parts.subject)
        return Draft(header, self.letter.rest(parts), recipients)


def personal_content(
    letter: Letter, named: CompiledTemplate | None, data: Assignments, tenant: Mapping[str, Any]
) -> PersonalContent:
    """`named` None: the subject and the texts of the letter are the template. Raises BadValue."""
    template = named or CompiledTemplate(TemplateParts(letter.subject, letter.text or "", letter.html or ""))
    try:
        made = PersonalLetter(letter, template.parts)
    except (ValueError, LookupError) as error:
        raise BadValue("body", f"cannot be written as MIME ({error})") from error
    return PersonalContent(template, made, {**tenant_assignment(tenant), **data})
