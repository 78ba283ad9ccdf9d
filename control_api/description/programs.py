"""Programs of the page `docs/api.md`: what a client does with several calls, in the shell and in Python.

They are run as they are printed.
"""

from typing import Final, NamedTuple


class Program(NamedTuple):
    """A program that needs FLOODGATE_URL and FLOODGATE_TOKEN in its environment."""

    title: str
    words: str
    language: str  # of the block: sh or python
    text: str


_SEND: Final = r"""
answer=$(curl -sS --fail-with-body -H "Authorization: Bearer $FLOODGATE_TOKEN" \
  -H 'Content-Type: application/json' "$FLOODGATE_URL/v1/messages" -d '{
    "from": {"email": "shop@example.com", "name": "The shop"},
    "to": ["ann@example.net"],
    "subject": "Your order",
    "text": "It is on its way.",
    "tags": ["orders"],
    "delay": "10m"
  }')
id=$(printf '%s' "$answer" | sed -E 's/^\{"id":"([^"]*)".*/\1/')
curl -sS -H "Authorization: Bearer $FLOODGATE_TOKEN" "$FLOODGATE_URL/v1/messages/$id"
curl -sS -X POST -H "Authorization: Bearer $FLOODGATE_TOKEN" "$FLOODGATE_URL/v1/messages/$id/cancel?wait=5s"
"""

_SPARED: Final = r"""
{
  echo '{"from": "shop@example.com", "subject": "Sorry", "text": "This is the right one.", "tags": ["again"]}'
  curl -sS -H "Authorization: Bearer $FLOODGATE_TOKEN" \
    "$FLOODGATE_URL/v1/errors/$RULE/deliveries?class=intercepted&format=ndjson"
} | curl -sS --fail-with-body -H "Authorization: Bearer $FLOODGATE_TOKEN" \
  -H 'Content-Type: application/x-ndjson' --data-binary @- "$FLOODGATE_URL/v1/messages"
"""

_CLIENT: Final = '''
import json
import os
import time
import urllib.error
import urllib.request


class Refused(Exception):
    """The call cannot be taken as it is; `field` names the value, None = none is to blame."""

    def __init__(self, message, field):
        super().__init__(f"{field}: {message}" if field else message)
        self.field = field


def call(method, path, body=None, tries=6):
    """The answer. Waits and tries again while the node is busy (429) or cannot store mail (5xx)."""
    pause = 1.0
    for left in reversed(range(tries)):
        request = urllib.request.Request(os.environ["FLOODGATE_URL"] + path, method=method)
        request.add_header("Authorization", f"Bearer {os.environ['FLOODGATE_TOKEN']}")
        if body is not None:
            request.add_header("Content-Type", "application/json")
            request.data = json.dumps(body).encode()
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                return json.load(answer)
        except urllib.error.HTTPError as refusal:
            if refusal.code == 409 and path.partition("?")[0].endswith("/cancel"):
                return json.load(refusal)  # the record: it was sent before
            error = json.load(refusal)["error"]
            if (refusal.code != 429 and refusal.code < 500) or not left:
                raise Refused(error["message"], error["field"]) from None
            time.sleep(float(refusal.headers.get("Retry-After", pause)))
            pause = min(60.0, 2 * pause)


sent = call(
    "POST",
    "/v1/messages",
    {
        "from": "shop@example.com",
        "to": [
            {"email": "ann@example.net", "name": "Ann", "metadata": {"order": "4711"}},
            {"email": "bob@example.net", "name": "Bob", "metadata": {"order": "4712"}},
        ],
        "separate": True,
        "subject": "Your order",
        "html": "<p>It is on its way.</p>",
        "send_at": "+1h",
        "tags": ["orders"],
    },
)
for one in sent["recipients"]:
    if "error" in one:
        print(one["recipient"], "was not accepted:", one["error"]["text"])
        continue
    record = call("GET", f"/v1/messages/{one['id']}")
    print(one["recipient"], record["status"])
    print(one["recipient"], call("POST", f"/v1/messages/{one['id']}/cancel?wait=5s")["status"])
try:
    call("POST", "/v1/messages", {"from": "shop@example.com", "to": "ann", "text": "x"})
except Refused as refused:
    print(refused)
'''

PROGRAMS: Final = (
    Program("Send a message, look at it, take it back", "", "sh", _SEND),
    Program(
        "Write to those who were spared",
        "A forced error has kept a wrong message from them. The export of its deliveries is the list of recipients. Do "
        "not repeat a stream that broke off: those who have mail would get it again. Send the rest only, which is the "
        "list without the recipients of `GET /v1/tags/again/deliveries`; or make calls of up to 1,000 recipients, each "
        "with an `Idempotency-Key`, which may be repeated.",
        "sh",
        _SPARED,
    ),
    Program(
        "A client that knows its errors",
        "After a 4xx other than 429 the same call has the same answer, so the program mends it. A connection that ends "
        "without an answer, or in the middle of one, leaves it open whether the message was accepted.",
        "python",
        _CLIENT,
    ),
)


def section() -> str:
    """The section of the page."""
    parts = ["## Programs", "These need `FLOODGATE_URL` and `FLOODGATE_TOKEN` in their environment."]
    for program in PROGRAMS:
        parts += [f"### {program.title}", *([program.words] if program.words else [])]
        parts.append(f"```{program.language}\n{program.text.strip()}\n```")
    return "\n\n".join(parts) + "\n"
