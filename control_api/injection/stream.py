"""A call whose recipients follow the message line by line (NDJSON), in any number.

A part of them is accepted before the next is read. The answers wait in a file until the body has come, since many
clients read nothing before they have sent all.
"""

import asyncio
import tempfile
from collections.abc import AsyncIterator, Sequence
from functools import partial
from typing import IO, Final, NamedTuple

import msgspec
from aiohttp import web

from control_api.access.actor import actor_of
from control_api.http.bodies import NDJSON_TYPE, parse_json, parse_value
from control_api.http.problems import Problem
from control_api.http.times import now_ms
from control_api.injection.aids import CallAids
from control_api.injection.answers import refusal, shown
from control_api.injection.plan import Content, Head, Place, Planner
from control_api.injection.reading import LARGE, Line, Lines
from control_api.schemas.message_answers import RemoteReply
from control_api.schemas.sending_shapes import SentRecipient
from control_api.schemas.sending_values import Addressee, read_follower
from mta.content.compose import Mailbox
from mta.model.actor import Actor
from mta.model.errors import BadValue
from mta.model.ids import message_text
from mta.ports.admission import MOST_IN_A_PART, Calls, Draft, Handed, Requester

_PIECE: Final = 64 * 1024  # bytes of the answer that are written at once
_PATIENCE: Final = 30.0  # seconds that a part waits while no message may come
_LOOK: Final = 0.2  # seconds between two looks at whether one may come

_encode: Final = msgspec.json.Encoder().encode


class Part(NamedTuple):
    """Recipients that are accepted together, and their answers."""

    places: Sequence[Place]
    handed: Sequence[Handed]


async def send_stream(
    request: web.Request,
    calls: Calls,
    planner: Planner,
    aids: CallAids,
    requester: Requester,
    most: int,
    folder: str,
) -> web.StreamResponse:
    """`most`: bytes of the line with the message; `folder` is for the answers. Raises Problem, BadValue,
    Unanswerable."""
    lines = Lines(request, most)
    first = await lines.some(1)
    if not first:
        raise BadValue("body", "is empty; the first line is the message, and each line that follows a recipient")
    with tempfile.TemporaryFile(dir=folder) as answers:
        accepted, with_recipients = "", Part((), ())  # the first part that has some
        broken = False
        try:
            async for part in _parts(lines, first[0], calls, planner, aids, requester, actor_of(request)):
                answers.write(b"".join(_encode(one) + b"\n" for one in shown(part.places, part.handed)))
                accepted = accepted or next((message_text(one.id) for one in part.handed if one.is_accepted), "")
                with_recipients = with_recipients if with_recipients.places else part
        except Problem as problem:
            if not accepted:
                raise
            broken = True
            error = RemoteReply(code=554, enhanced="5.6.0", text=f"the rest was not read: {problem}")
            answers.write(_encode(SentRecipient(recipient="", error=error)) + b"\n")
        if not with_recipients.places:
            raise BadValue("body", "has no recipients; each line after the first is one")
        if not accepted:
            raise refusal(with_recipients.places, with_recipients.handed)
        return await _answer(request, answers, accepted, broken)


async def _parts(
    lines: Lines,
    first: Line,
    calls: Calls,
    planner: Planner,
    aids: CallAids,
    requester: Requester,
    actor: Actor,
) -> AsyncIterator[Part]:
    fields = parse_json(_text(first))
    fields = {name: value for name, value in fields.items() if value is not None}
    open_head = partial(planner.head, aids=await aids.of(fields, actor))
    if len(first.text) > LARGE:
        head = await asyncio.to_thread(open_head, fields, actor, now_ms())
    else:
        head = open_head(fields, actor, now_ms())
    call = calls.begin(requester, head.sender, head.asked)
    while some := await lines.some(MOST_IN_A_PART):
        drafts, places = await _followed(planner, head, [_addressee(line) for line in some])
        await _wait_until_mail_may_come(calls)
        yield Part(places, await call.submit(drafts) if drafts else ())


async def _followed(
    planner: Planner, head: Head, addressees: Sequence[Addressee]
) -> tuple[Sequence[Draft], Sequence[Place]]:
    """Messages that differ are made beside the loop."""
    if isinstance(head.content, Content):
        return planner.follow(head, addressees)
    return await asyncio.to_thread(planner.follow, head, addressees)


async def _wait_until_mail_may_come(calls: Calls) -> None:
    """Not for ever. The parts before are accepted, so the client could not repeat the call as a whole."""
    left = _PATIENCE
    while calls.refusal() is not None and left > 0:
        await asyncio.sleep(_LOOK)
        left -= _LOOK


def _addressee(line: Line) -> Addressee:
    """A line that is no recipient has an answer of its own, too."""
    field = f"line {line.number}"
    try:
        return read_follower(parse_value(_text(line)), field)
    except BadValue as bad:
        where = field if bad.field == "body" else bad.field
        return Addressee(where, "", Mailbox(""), BadValue(where, bad.reason))


def _text(line: Line) -> str:
    try:
        return line.text.decode("utf-8")
    except UnicodeDecodeError:
        raise BadValue("body", "is not UTF-8") from None


async def _answer(request: web.Request, answers: IO[bytes], accepted: str, broken: bool) -> web.StreamResponse:
    """`broken`: the body was not read to its end, so no request can follow it."""
    response = web.StreamResponse(status=202, headers={"Location": f"/v1/messages/{accepted}"})
    response.content_type = NDJSON_TYPE
    response.content_length = answers.tell()
    if broken:
        response.force_close()
    await response.prepare(request)
    answers.seek(0)
    while piece := answers.read(_PIECE):
        await response.write(piece)
    await response.write_eof()
    return response
