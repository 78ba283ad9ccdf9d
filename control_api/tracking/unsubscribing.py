"""One-click unsubscribe (RFC 8058): a page for those who follow the link, and the POST of a mailbox provider."""

import html
import logging
from collections.abc import Callable
from typing import Final

from aiohttp import hdrs, web
from msgspec.structs import replace

from mta.content.tracking_links import TrackingLinks
from mta.model.engagement import TrackedMail
from mta.model.errors import StoreError
from mta.model.events import EventType, about_topic, engagement_event
from mta.model.status import Reason
from mta.model.suppressions import Suppressed, Suppression, SuppressionKey
from mta.policy.addresses import comparable, domain_of
from mta.ports.suppressions import SuppressionStore
from mta.ports.tracking import EngagementStore
from mta.timing.clock import wall_ms

AUTHOR: Final = "unsubscribe"
FIELD: Final = "List-Unsubscribe"
ONE_CLICK: Final = "One-Click"

_MOST_BODY: Final = 16 * 1024  # bytes
_POLICY: Final = "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; frame-ancestors 'none'"
_HEADERS: Final = {"Content-Security-Policy": _POLICY}
_PAGE: Final = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>{title}</title>
<style>body{{font:1.1rem/1.5 sans-serif;max-width:32rem;margin:15vh auto;padding:0 1rem}}
button{{font:inherit;padding:.5rem 1.2rem}}</style></head>
<body><h1>{title}</h1><p>{words}</p>{form}</body></html>
"""
_FORM: Final = (
    f'<form method="post"><input type="hidden" name="{FIELD}" value="{ONE_CLICK}"><button>Unsubscribe</button></form>'
)
_UNKNOWN: Final = "This link is not complete. Copy it from the mail as a whole.\n"

_log = logging.getLogger(__name__)


class Unsubscribing:
    """The handlers. Only POST unsubscribes: programs that look through mail follow its links with GET."""

    def __init__(
        self,
        links: TrackingLinks,
        events: EngagementStore,
        suppressions: SuppressionStore | None,
        node: str,
        client: Callable[[web.Request], str],
        clock: Callable[[], int] = wall_ms,
    ) -> None:
        """`suppressions` None: the event alone is made, as `suppressions.auto` says. `client` gives the address of the
        sender of a request, `clock` Unix milliseconds."""
        self._links = links
        self._events = events
        self._suppressions = suppressions
        self._node = node
        self._client = client
        self._clock = clock

    async def show(self, request: web.Request) -> web.Response:
        """A page with a button."""
        mail = self._links.read_unsubscribe(request.match_info["mail"])
        if mail is None:
            return web.Response(status=404, text=_UNKNOWN)
        return _page("Unsubscribe", f"No more {_subject(mail)} will be sent to {html.escape(mail.recipient)}.", _FORM)

    async def take(self, request: web.Request) -> web.Response:
        """200 once it is in the store; a mailbox provider repeats the POST after 503."""
        mail = self._links.read_unsubscribe(request.match_info["mail"])
        if mail is None:
            return web.Response(status=404, text=_UNKNOWN)
        if (request.content_length or 0) > _MOST_BODY:
            return web.Response(status=413, text="The body is too large.\n")
        try:
            wish = (await request.post()).get(FIELD)
        except (ValueError, web.HTTPException):
            wish = None
        if wish != ONE_CLICK:
            return web.Response(status=400, text=f"The body must be {FIELD}={ONE_CLICK} (RFC 8058).\n")
        try:
            await self._keep(mail, self._client(request))
        except StoreError as error:
            _log.warning("an unsubscription must be repeated: %s", error)
            return web.Response(status=503, text="Please try again later.\n", headers={hdrs.RETRY_AFTER: "60"})
        return _page("Unsubscribed", f"No more {_subject(mail)} will be sent to {html.escape(mail.recipient)}.", "")

    async def _keep(self, mail: TrackedMail, client: str) -> None:
        """Raises StoreError. One that is repeated makes no second event."""
        now, store = self._clock(), self._suppressions
        key = SuppressionKey(comparable(mail.recipient), mail.tenant, mail.topic)
        if store is not None and (known := (await store.find([key])).get(key)) is not None and known.in_force(now):
            return
        mail = replace(mail, domain=domain_of(key.subject))  # the link leaves it out, to be short
        event = engagement_event(EventType.UNSUBSCRIBE, now, self._node, mail, client, "", {})
        await self._events.note([about_topic(event, mail.topic)])  # first, or one that is repeated had none
        if store is not None:
            await store.put([Suppressed(key, Suppression(Reason.UNSUBSCRIBE, now, AUTHOR))])


def _subject(mail: TrackedMail) -> str:
    return f"mail about {html.escape(mail.topic)}" if mail.topic else "mail"


def _page(title: str, words: str, form: str) -> web.Response:
    text = _PAGE.format(title=title, words=words, form=form)
    return web.Response(text=text, content_type="text/html", charset="utf-8", headers=_HEADERS)
