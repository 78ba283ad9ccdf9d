"""The things that a call asks for and that wait for the store: its template, and the key of its links."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from control_api.http.problems import Problem
from control_api.injection.named_templates import NamedTemplates
from control_api.schemas.sending_values import TRACK
from control_api.schemas.values import FLAG
from mta.model.actor import Actor
from mta.model.errors import SealError
from mta.ports.templates import TemplateStore
from mta.ports.tracking import TrackingKeys

if TYPE_CHECKING:
    from mta.content.templating import CompiledTemplate
    from mta.content.tracking_links import TrackingLinks


class Aids(NamedTuple):
    """Of one call."""

    named: "CompiledTemplate | None" = None  # the template that it names
    links: "TrackingLinks | None" = None  # where it is to be tracked
    unsubscribe: "TrackingLinks | None" = None  # where its messages are to have List-Unsubscribe


NO_AIDS = Aids()


class CallAids:
    """Finds them."""

    def __init__(self, templates: TemplateStore, keys: TrackingKeys, url: str) -> None:
        """`url` is `tracking.url`, "" = nothing is tracked."""
        self._templates = NamedTemplates(templates)
        self._keys = keys
        self._url = url
        self._links: TrackingLinks | None = None

    async def of(self, fields: Mapping[str, Any], actor: Actor) -> Aids:
        """By the fields of a body. Raises BadValue, Problem, StoreAway, StoreError."""
        return (await self.marked(fields, actor))[0]

    async def marked(self, fields: Mapping[str, Any], actor: Actor, mark: bytes = b"") -> tuple[Aids, bytes]:
        """As `of`, and the mark of the template (`NamedTemplates.marked`)."""
        named = None
        if "template" in fields:
            named, mark = await self._templates.marked(fields, actor, mark)
        track = TRACK.read(fields["track"], "track") if "track" in fields else None
        links = await self._linking("track") if track is not None and any(track) else None
        wanted = "unsubscribe" in fields and FLAG.read(fields["unsubscribe"], "unsubscribe")
        return Aids(named, links, await self._linking("unsubscribe") if wanted else None), mark

    async def _linking(self, field: str) -> "TrackingLinks":
        """`field` asks for links."""
        from mta.content.tracking_links import TrackingLinks

        if not self._url:
            raise Problem(422, "tracking is off on this node: tracking.url is empty", field)
        if field == "unsubscribe" and not self._url.startswith("https://"):
            raise Problem(422, "needs a tracking.url that begins with https:// (RFC 8058)", field)
        if self._links is None:
            try:
                self._links = TrackingLinks(await self._keys.key(), self._url)
            except SealError as error:
                raise Problem(503, f"mail can have no links here: {error}", field) from None
        return self._links
