"""From the fields of a call to its messages, and to the place of each recipient in them."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Protocol

from control_api.http.problems import Problem
from control_api.injection.aids import NO_AIDS, Aids
from control_api.injection.limits import CallLimits
from control_api.injection.ready_mime import ReadyMime
from control_api.injection.schedule import schedule_of
from control_api.injection.unsubscribing import with_unsubscribe
from control_api.schemas.inject_shapes import MIME_PARTS
from control_api.schemas.reading import fields_of
from control_api.schemas.sending_shapes import SEND
from control_api.schemas.sending_values import Addressee, BadData
from mta.content.compose import Composed, Letter, Mailbox, compose
from mta.model.actor import Actor
from mta.model.errors import BadValue
from mta.model.injection import NOTHING_ASKED, Injection
from mta.model.rules import Rule
from mta.policy.routing import queue_domain
from mta.ports.admission import Draft
from mta.smtp.recipient_list import compared

if TYPE_CHECKING:
    from mta.content.tracking_links import TrackingLinks

_MOST_MADE: Final = 64 * 1024 * 1024  # bytes of the messages of a call, where each has a content of its own
_NO_FROM: Final = "is required; give an address, or an object with email and name"
_SHOWN: Final = SEND._replace(leaves_out=frozenset(fields_of(SEND.struct)) - MIME_PARTS)
_OF_CONTENT: Final = ("reply_to", "subject", "text", "html", "headers", "attachments")


class Place(NamedTuple):
    """A recipient of a call: which of its messages it is of, and which recipient of that."""

    addressee: Addressee
    draft: int  # -1 = its address cannot be used
    number: int  # from 1


class Plan(NamedTuple):
    """The messages of a call."""

    sender: str
    asked: Injection
    drafts: Sequence[Draft]
    places: Sequence[Place]  # in the order of to, cc, bcc


class Drafting(Protocol):
    """The content of the messages of a call."""

    def draft(self, addressee: Addressee) -> Draft:
        """The message to one recipient, which no other one gets."""
        ...

    def for_all(self, to: Sequence[Mailbox], recipients: tuple[str, ...]) -> Draft:
        """One message to all recipients, whose header shows some of them."""
        ...


class Content(NamedTuple):
    """The same content in all messages of a call; their headers may differ in To."""

    composed: Composed | None
    ready: bytes  # header
    rest: bytes

    def draft(self, addressee: Addressee) -> Draft:
        address = addressee.mailbox.address
        return Draft(self.header((addressee.mailbox,)), self.rest, (address,), addressee.metadata)

    def for_all(self, to: Sequence[Mailbox], recipients: tuple[str, ...]) -> Draft:
        return Draft(self.header(to), self.rest, recipients)

    def header(self, to: Sequence[Mailbox]) -> bytes:
        """The header of one message."""
        return self.ready if self.composed is None else self.composed.header(to)


class Head(NamedTuple):
    """A message without its recipients."""

    sender: str
    asked: Injection
    content: Drafting
    unsubscribe: "TrackingLinks | None" = None


class Planner:
    """Plans calls by the limits of the node."""

    def __init__(
        self,
        limits: CallLimits,
        mime: ReadyMime,
        tenants: Callable[[], Mapping[str, Rule]] = dict,
        would_sign: Callable[[bytes, str], bool] = lambda header, tenant: False,
    ) -> None:
        """`tenants` gives the terms of tenants, by name; `would_sign`: see ports.admission.Calls."""
        self._limits = limits
        self._mime = mime
        self._tenants = tenants
        self._would_sign = would_sign

    def plan(self, fields: Mapping[str, Any], actor: Actor, now_ms: int, aids: Aids = NO_AIDS) -> Plan:
        """Raises BadValue, and Problem 403, 413 and 422."""
        given = SEND.read(fields, "a field of a message")
        to, cc, bcc = (given.get(name) or [] for name in ("to", "cc", "bcc"))
        separate = bool(given.get("separate")) or any(one.data is not None for one in to)
        self._check_recipients(to, cc, bcc, separate)
        asked = _asked(given, actor, now_ms)
        content = self._drafting(given, cc, asked, aids, any(one.data is not None for one in to))
        if aids.links is not None and not separate and len(to) + len(cc) + len(bcc) > 1:
            words = "needs separate: true where a message has several recipients: a pixel is of one"
            raise Problem(422, words, "track")
        drafts, places = _placed(content, to, cc, bcc, separate)
        self._check_sizes(content, drafts)
        if aids.unsubscribe is not None:
            self._check_signed(given, content, asked.tenant)
            drafts = with_unsubscribe(drafts, asked, aids.unsubscribe)
        return Plan(envelope_sender(given), asked, drafts, places)

    def places(self, fields: Mapping[str, Any], actor: Actor, now_ms: int) -> Plan:
        """The places of the recipients of a call whose messages were made before. Raises BadValue."""
        given = SEND.read(fields, "a field of a message")
        to, cc, bcc = (given.get(name) or [] for name in ("to", "cc", "bcc"))
        separate = bool(given.get("separate")) or any(one.data is not None for one in to)
        drafts, places = _placed(Content(None, b"", b""), to, cc, bcc, separate)
        return Plan("", NOTHING_ASKED, drafts, places)

    def head(self, fields: Mapping[str, Any], actor: Actor, now_ms: int, aids: Aids = NO_AIDS) -> "Head":
        """A message whose recipients follow it one by one, each with a message of its own. Raises as `plan`."""
        given = SEND.read(fields, "a field of a message")
        for name in ("to", "cc", "bcc"):
            if name in given:
                raise BadValue(name, "cannot be given here; the recipients are the lines that follow")
        asked = _asked(given, actor, now_ms)
        content = self._drafting(given, (), asked, aids, False)
        if aids.unsubscribe is not None:
            self._check_signed(given, content, asked.tenant)
        return Head(envelope_sender(given), asked, content, aids.unsubscribe)

    def one(self, mime: str | Mapping[str, Any], addressee: Addressee) -> tuple[Sequence[Draft], Sequence[Place]]:
        """A message to one recipient, from MIME or from parts as POST /v1/messages has them. Raises as `plan`."""
        if isinstance(mime, str):
            content, to = Content(None, *self._mime.split(mime, "mime")), tuple[Mailbox, ...]()
        else:
            given = _SHOWN.read(mime, "a part of a message")
            shown_to, cc = given.get("to") or [], given.get("cc") or []
            for one in (*shown_to, *cc):
                if one.data is not None:
                    raise BadValue("mime", "is no template: leave data out, or use POST /v1/messages")
            content, to = self._content(given, cc), tuple(_usable(shown_to))
        drafts, places = _placed(content, (addressee,), (), (), separate=True)
        if drafts and to:
            drafts = [drafts[0]._replace(header=content.header(to))]
        for draft in drafts:
            self._check_size(draft)
        return drafts, places

    def follow(self, head: "Head", addressees: Sequence[Addressee]) -> tuple[Sequence[Draft], Sequence[Place]]:
        """The messages of some of its recipients. Raises Problem 413."""
        if isinstance(head.content, Content):
            addressees = [_without_data(one) for one in addressees]
        drafts, places = _placed(head.content, addressees, (), (), separate=True, goes_on=True)
        self._check_sizes(head.content, drafts)
        if head.unsubscribe is not None:
            drafts = with_unsubscribe(drafts, head.asked, head.unsubscribe)
        return drafts, places

    def _check_recipients(
        self,
        to: Sequence[Addressee],
        cc: Sequence[Addressee],
        bcc: Sequence[Addressee],
        separate: bool,
    ) -> None:
        """Raises BadValue."""
        count = len(to) + len(cc) + len(bcc)
        if not count:
            raise BadValue("to", "is required; give at least one recipient in to, cc or bcc")
        if count > self._limits.recipients:
            words = f"with cc and bcc gives {count} recipients; messages.max_batch is {self._limits.recipients}"
            raise BadValue("to", f"{words}: give them in several calls, or as a stream (application/x-ndjson)")
        for one in (*cc, *bcc):
            if one.data is not None:
                field = one.field.removesuffix(".email")
                raise BadValue(f"{field}.data", "can be given in to only, where each recipient gets an own message")
        if separate:
            for name, some in (("cc", cc), ("bcc", bcc)):
                if some:
                    words = "would get a copy of each message of to; leave it out, or separate and data of recipients"
                    raise BadValue(name, words)
            return
        if count > self._limits.recipients_of_message:
            words = f"gives one message {count} recipients; smtp.max_recipients is {self._limits.recipients_of_message}"
            raise BadValue("to", f"{words}: give them in several calls, or separate: true")
        for one in (*to, *cc, *bcc):
            if one.metadata is not None:
                field = one.field.removesuffix(".email")
                raise BadValue(f"{field}.metadata", "needs separate: true, since one message has one set of properties")

    def _drafting(
        self, given: Mapping[str, Any], cc: Sequence[Addressee], asked: Injection, aids: Aids, has_own_data: bool
    ) -> Drafting:
        """Subject and texts are templates where there are data. Raises BadValue."""
        is_template = aids.named is not None or "data" in given or has_own_data
        if not is_template and aids.links is None:
            return self._content(given, cc)
        # The engine, and all else that such calls need, is loaded with the first of them.
        from control_api.injection.personal import Tracking, parts_of, personal_content
        from mta.content.templating import CompiledTemplate

        if "mime" in given:
            raise BadValue("mime", "goes as it is: it cannot be given beside data or track")
        for name in ("subject", "text", "html") if aids.named is not None else ():
            if name in given:
                raise BadValue(name, "cannot be given beside template, which has it")
        if aids.named is None:
            _check_parts(given)
        if "sender" not in given:
            raise BadValue("from", _NO_FROM)
        letter, terms = letter_of(given, cc), self._tenants().get(asked.tenant)
        template = aids.named or (CompiledTemplate(parts_of(letter)) if is_template else None)
        tracking = None
        if aids.links is not None:
            tracking = Tracking(aids.links, given["track"], asked.tenant, asked.tags, asked.pool or "")
        own = {} if terms is None else dict(terms.vars)
        return personal_content(letter, template, given.get("data") or {}, own, tracking)

    def _content(self, given: Mapping[str, Any], cc: Sequence[Addressee]) -> Content:
        """Raises BadValue."""
        if "mime" in given:
            for name in _OF_CONTENT:
                if name in given:
                    raise BadValue(name, "cannot be given beside mime, which has it")
            return Content(None, *self._mime.split(given["mime"], "mime"))
        _check_parts(given)
        if "sender" not in given:
            raise BadValue("from", _NO_FROM)
        try:
            composed = compose(letter_of(given, cc))
        except (ValueError, LookupError) as error:
            raise BadValue("body", f"cannot be written as MIME ({error})") from error
        return Content(composed, b"", composed.rest)

    def _check_signed(self, given: Mapping[str, Any], content: Drafting, tenant: str) -> None:
        """Raises Problem 422 for a message with List-Unsubscribe that would leave without our signature."""
        if isinstance(content, Content) and content.composed is None:
            header = content.ready
        else:
            header = f"From: <{given['sender'].address}>\r\n".encode()
        if not self._would_sign(header, tenant):
            words = "needs a DKIM signature of this node over its header fields (RFC 8058): give the domain of From an "
            raise Problem(422, words + "active key (POST /v1/dkim), and see that dkim.sign is not off", "unsubscribe")

    def _check_sizes(self, content: Drafting, drafts: Sequence[Draft]) -> None:
        """Raises Problem 413."""
        if isinstance(content, Content):
            drafts = drafts[:1]
        for draft in drafts:
            self._check_size(draft)

    def _check_size(self, draft: Draft) -> None:
        """Raises Problem 413."""
        size = len(draft.header) + len(draft.rest)
        if size > self._limits.message:
            words = f"the message has {size} bytes as MIME; smtp.max_message_size is {self._limits.message}"
            raise Problem(413, words, "body")


def _check_parts(given: Mapping[str, Any]) -> None:
    """Raises BadValue."""
    if not any(name in given for name in ("subject", "text", "html", "attachments")):
        raise BadValue("text", "is required; give text, html, attachments or a subject, or the whole as mime")


def _without_data(one: Addressee) -> Addressee:
    """Data of a recipient whose message is no template are an error."""
    if one.data is None or one.problem is not None:
        return one
    field = one.field.removesuffix(".email")
    return one._replace(problem=BadData(f"{field}.data", "needs data in the first line, which makes it a template"))


def letter_of(given: Mapping[str, Any], cc: Sequence[Addressee]) -> Letter:
    """The parts of the message by the values of a body."""
    return Letter(
        sender=given["sender"],
        reply_to=given.get("reply_to") or (),
        cc=tuple(one.mailbox for one in cc if one.problem is None),
        subject=given.get("subject", ""),
        text=given.get("text"),
        html=given.get("html"),
        headers=given.get("headers") or (),
        attachments=given.get("attachments") or (),
    )


def envelope_sender(given: Mapping[str, Any]) -> str:
    """ "" is the null sender. Raises BadValue."""
    if "envelope_from" in given:
        return str(given["envelope_from"])
    if "sender" in given:
        return str(given["sender"].address)
    raise BadValue("from", "is required; give an address, or give envelope_from")


def tenant_of(given: Mapping[str, Any], actor: Actor) -> str:
    """The tenant of the token wins. Raises Problem 403 where another one is named."""
    named = str(given.get("tenant") or "")
    if actor.tenant and named not in ("", actor.tenant):
        raise Problem(403, f"the token is bound to tenant {actor.tenant}; name that one, or none", "tenant")
    return actor.tenant or named


def _asked(given: Mapping[str, Any], actor: Actor, now_ms: int) -> Injection:
    """Raises Problem 403."""
    due_at, window = schedule_of(given, now_ms)
    return Injection(
        tags=given.get("tags") or (),
        pool=given.get("pool"),
        due_at=due_at,
        max_age=given.get("max_age"),
        window=window,
        simulated=bool(given.get("simulate")) or actor.simulates,
        properties=given.get("metadata") or None,
        tenant=tenant_of(given, actor),
        priority=given.get("priority", 0),
        topic=given.get("topic") or "",
    )


def _placed(
    content: Drafting,
    to: Sequence[Addressee],
    cc: Sequence[Addressee],
    bcc: Sequence[Addressee],
    separate: bool,
    goes_on: bool = False,
) -> tuple[list[Draft], list[Place]]:
    """`goes_on`: data that make no message are the problem of their recipient alone. Else raises Problem 422."""
    drafts: list[Draft] = []
    places: list[Place] = []
    size = 0
    if separate:
        for one in map(_checked, to):
            if one.problem is None:
                try:
                    drafts.append(content.draft(one))
                    size += 0 if isinstance(content, Content) else len(drafts[-1].header) + len(drafts[-1].rest)
                except BadData as bad:
                    if not goes_on:
                        raise Problem(422, bad.reason, bad.field) from None
                    one = one._replace(problem=bad)
            if size > _MOST_MADE:
                words = f"makes messages of more than {_MOST_MADE >> 20} MiB; give fewer recipients in one call"
                raise Problem(413, words, "to")
            places.append(Place(one, -1 if one.problem is not None else len(drafts) - 1, 1))
        return drafts, places
    numbers: dict[str, int] = {}
    addresses: list[str] = []
    for one in map(_checked, (*to, *cc, *bcc)):
        if one.problem is not None:
            places.append(Place(one, -1, 0))
            continue
        number = numbers.setdefault(compared(one.mailbox.address), len(addresses) + 1)
        if number > len(addresses):
            addresses.append(one.mailbox.address)
        places.append(Place(one, 0, number))
    if addresses:
        shown = tuple(_usable(to))
        try:
            drafts.append(content.for_all(shown, tuple(addresses)))
        except BadData as bad:
            raise Problem(422, bad.reason, bad.field) from None
    return drafts, places


def _usable(addressees: Sequence[Addressee]) -> Iterator[Mailbox]:
    return (one.mailbox for one in addressees if one.problem is None)


def _checked(addressee: Addressee) -> Addressee:
    """With the problem of a domain that has no queue."""
    if addressee.problem is None:
        try:
            queue_domain(addressee.mailbox.address.rpartition("@")[2])
        except BadValue as bad:
            return addressee._replace(problem=BadValue(addressee.field, bad.reason))
    return addressee
