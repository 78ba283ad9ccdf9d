"""Messages of a call that differ by recipient: rendered of a template and of data, all of them before one is queued."""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

from msgspec.structs import replace

from control_api.schemas.sending_values import Addressee, BadData, Track
from mta.content.compose import Letter, Mailbox
from mta.content.personal import PersonalLetter
from mta.content.template_data import Assignments, source_of, tenant_assignment
from mta.content.templating import CompiledTemplate
from mta.content.tracked_html import with_links, with_pixel
from mta.content.tracking_links import TrackingLinks
from mta.model.engagement import TrackedMail
from mta.model.errors import BadRendering, BadValue
from mta.model.ids import MessageId, delivery_id
from mta.model.templates import TemplateParts
from mta.policy.routing import queue_domain
from mta.ports.admission import Draft
from mta.timing.clock import wall_seconds


class Tracking(NamedTuple):
    """The facts that the links in all messages of a call have in common, and how to make these links."""

    links: TrackingLinks
    wanted: Track
    tenant: str
    tags: tuple[str, ...]
    pool: str

    def html(self, text: str, message: MessageId, recipient: str) -> str:
        """The HTML of the message to one recipient."""
        domain = queue_domain(recipient.rpartition("@")[2])
        delivery, now = delivery_id(message, 1), int(wall_seconds())
        mail = self.links.mail(TrackedMail(delivery, now, recipient, domain, self.tenant, self.tags, self.pool))
        text = with_links(text, self.links, mail) if self.wanted.clicks else text
        return with_pixel(text, self.links, mail) if self.wanted.opens else text


class PersonalContent(NamedTuple):
    """The content of the messages of a call."""

    template: CompiledTemplate | None  # None: all have the texts of `fixed`
    fixed: TemplateParts
    letter: PersonalLetter
    common: Assignments  # of the call and of its tenant
    tracking: Tracking | None

    def draft(self, addressee: Addressee) -> Draft:
        """See plan.Content. Raises BadData."""
        try:
            parts = self._rendered(addressee.data or {})
        except BadRendering as bad:
            field = addressee.field.removesuffix(".email")
            raise BadData(f"{field}.data", f"{bad.reason} in {bad.part}, for {addressee.given}") from None
        return self._draft((addressee.mailbox,), parts, (addressee.mailbox.address,), addressee.metadata)

    def for_all(self, to: Sequence[Mailbox], recipients: tuple[str, ...]) -> Draft:
        """Of the data of the call. Raises BadData."""
        try:
            parts = self._rendered({})
        except BadRendering as bad:
            raise BadData("data", f"{bad.reason} in {bad.part}") from None
        return self._draft(to, parts, recipients, None)

    def _rendered(self, own: Assignments) -> TemplateParts:
        return self.fixed if self.template is None else self.template.render(source_of(self.common, own))

    def _draft(
        self, to: Sequence[Mailbox], parts: TemplateParts, recipients: tuple[str, ...], metadata: dict[str, str] | None
    ) -> Draft:
        """The links of a tracked message hold its id. Its draft is finished once the id is known; until then the draft
        has texts of about the same size."""
        if self.tracking is None or not parts.html:
            return Draft(self.letter.header(to, parts.subject), self.letter.rest(parts), recipients, metadata)
        unfinished = (parts.text + parts.html).encode()
        return Draft(b"", unfinished, recipients, metadata, partial(self._finished, to, parts, recipients, metadata))

    def _finished(
        self,
        to: Sequence[Mailbox],
        parts: TemplateParts,
        recipients: tuple[str, ...],
        metadata: dict[str, str] | None,
        message: MessageId,
    ) -> Draft:
        assert self.tracking is not None
        tracked = replace(parts, html=self.tracking.html(parts.html, message, recipients[0]))
        return Draft(self.letter.header(to, parts.subject), self.letter.rest(tracked), recipients, metadata)


def personal_content(
    letter: Letter,
    template: CompiledTemplate | None,
    data: Assignments,
    tenant: Mapping[str, Any],
    tracking: Tracking | None = None,
) -> PersonalContent:
    """`template` None: the texts of the letter are no template. Raises BadValue."""
    parts = template.parts if template is not None else parts_of(letter)
    try:
        made = PersonalLetter(letter, parts)
    except (ValueError, LookupError) as error:
        raise BadValue("body", f"cannot be written as MIME ({error})") from error
    return PersonalContent(template, parts, made, {**tenant_assignment(tenant), **data}, tracking)


def parts_of(letter: Letter) -> TemplateParts:
    return TemplateParts(letter.subject, letter.text or "", letter.html or "")
