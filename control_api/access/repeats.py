"""Orders with an idempotency key: each is carried out once, and a repeat gets the answer of the first.

A refusal had no effect, so it is not kept: a repeat is carried out. The same holds once the process that worked on an
order has ended without an answer, a minute later.
"""

import asyncio
import contextlib
import hashlib
import logging
import secrets
from collections.abc import AsyncIterator
from typing import Final

from aiohttp import hdrs, web
from aiohttp.typedefs import Middleware

from control_api.access.actor import ACTOR
from control_api.http.bodies import FORM_TYPE, JSON_TYPE, MAX_LARGE_BODY, keep_body
from control_api.http.keys import HEADER, REPLAYED, key_in
from control_api.http.middleware import MAIL_PATHS, RETRY_AFTER, Handler
from control_api.http.problems import Problem
from mta.content.kept_answer import KeptAnswer, seal, sealing_key, unseal
from mta.model.errors import BadValue, StoreError
from mta.model.idempotency import TOKEN, IdempotencyKey, idempotency_key
from mta.ports.idempotency import KeyRefusal, KeyTrouble
from mta.ports.kept_answers import KeptAnswers

log = logging.getLogger(__name__)

RENEW: Final = 15.0  # seconds between two renewals of the claim, which holds for a minute
_LARGE: Final = 64 * 1024  # bytes of an answer from which on it is compressed beside the loop
_READING: Final = (hdrs.METH_GET, hdrs.METH_HEAD)
_ORDER: Final = "order"
_STATUS: Final = {KeyTrouble.UNDER_WAY: 409, KeyTrouble.OTHER_CONTENT: 422, KeyTrouble.NO_ROOM: 503}
_UNDER_WAY: Final = "another order with this idempotency key is under way; ask again in a moment"
_OTHER: Final = "another order came with this idempotency key; give each order its own key"
_NO_ROOM: Final = "too many idempotency keys are kept (messages.idempotency_memory); try again later or without a key"
_WORDS: Final = {KeyTrouble.UNDER_WAY: _UNDER_WAY, KeyTrouble.OTHER_CONTENT: _OTHER, KeyTrouble.NO_ROOM: _NO_ROOM}


def carried_out_once(answers: KeptAnswers) -> Middleware:
    """For each request with a key that changes something. Calls that hand mail in go to another process, which keeps
    their keys with the mail."""

    @web.middleware
    async def once(request: web.Request, handler: Handler) -> web.StreamResponse:
        if HEADER not in request.headers or request.method in _READING or ACTOR not in request:
            return await handler(request)
        if request.path in MAIL_PATHS or request.match_info.http_exception is not None:  # 404, 405: there is no order
            return await handler(request)
        if request.body_exists and request.content_type not in (JSON_TYPE, FORM_TYPE):
            raise BadValue(HEADER, f"cannot be given with a stream; send {JSON_TYPE}, or repeat it without a key")
        given = key_in(request)
        key, sealing = await _key_of(request, given), sealing_key(_secret(request), given)
        try:
            return await _carry_out(request, handler, _Order(answers, key, sealing))
        except KeyRefusal as refused:
            headers = {} if refused.trouble is KeyTrouble.OTHER_CONTENT else {"Retry-After": RETRY_AFTER}
            raise Problem(_STATUS[refused.trouble], _WORDS[refused.trouble], HEADER, headers) from None

    return once


class _Order:
    """One request that works on an order."""

    def __init__(self, answers: KeptAnswers, key: IdempotencyKey, sealing: bytes) -> None:
        self._answers = answers
        self._key = key
        self._sealing = sealing
        self._owner = secrets.token_hex(8)

    async def claim(self) -> KeptAnswer | None:
        """The answer that is kept; None: the order is to be carried out. Raises KeyRefusal, StoreError."""
        sealed = await self._answers.claim(self._key, self._owner)
        if sealed is None:
            return None
        kept = await asyncio.to_thread(unseal, sealed, self._sealing) if len(sealed) > _LARGE else None
        kept = kept or unseal(sealed, self._sealing)
        if kept is None:
            raise KeyRefusal(KeyTrouble.OTHER_CONTENT)
        return kept

    @contextlib.asynccontextmanager
    async def renewed(self) -> AsyncIterator[None]:
        """The claim is renewed meanwhile."""
        renewing = asyncio.create_task(self._renew())
        try:
            yield
        finally:
            renewing.cancel()
            await asyncio.gather(renewing, return_exceptions=True)

    async def _renew(self) -> None:
        while True:
            await asyncio.sleep(RENEW)
            with contextlib.suppress(StoreError, KeyRefusal):
                await self._answers.claim(self._key, self._owner)

    async def end(self, answer: KeptAnswer | None) -> None:
        """Keeps the answer; None: the order had no effect."""
        try:
            if answer is None:
                await self._answers.leave(self._key, self._owner)
                return
            large = len(answer.body) > _LARGE
            sealed = await asyncio.to_thread(seal, answer, self._sealing) if large else seal(answer, self._sealing)
            await self._answers.keep(self._key, self._owner, sealed)
        except StoreError as error:
            log.warning("the answer to an order with an idempotency key is not kept: %s", error)


async def _carry_out(request: web.Request, handler: Handler, order: _Order) -> web.StreamResponse:
    if (kept := await order.claim()) is not None:
        return web.Response(status=kept.status, body=kept.body, headers=[*kept.headers, *REPLAYED.items()])
    answer = None
    try:
        async with order.renewed():
            response = await handler(request)
        if isinstance(response, web.Response) and isinstance(response.body, bytes) and response.status < 300:
            answer = KeptAnswer(response.status, _headers(response), response.body)
    except asyncio.CancelledError:
        raise  # the order may have been carried out: the claim ends by itself
    except BaseException:
        await order.end(None)
        raise
    await order.end(answer)
    return response


def _headers(response: web.Response) -> tuple[tuple[str, str], ...]:
    """Those of its handler; the server adds the others, and the length."""
    given = [(f"{name}", value) for name, value in response.headers.items()]
    return tuple((name, value) for name, value in given if name != hdrs.CONTENT_LENGTH)


async def _key_of(request: web.Request, given: str) -> IdempotencyKey:
    """The key in its scope: the token, and its tenant. Raises BadValue, Problem."""
    actor, secret = request[ACTOR], hashlib.sha256(_secret(request)).hexdigest()
    condition = repr(request.headers.getall(hdrs.IF_MATCH, ()))  # an empty one is not the same as none
    body = await keep_body(request, MAX_LARGE_BODY)
    content = (request.method.encode(), request.rel_url.raw_path_qs.encode(), condition.encode(), body)
    return idempotency_key((_ORDER, TOKEN, actor.token, secret, actor.tenant), given, content)


def _secret(request: web.Request) -> bytes:
    """That of the token, which the gate has checked."""
    secret = request.headers[hdrs.AUTHORIZATION].partition(" ")[2].strip(" ")
    return secret.encode("utf-8", "surrogateescape")
