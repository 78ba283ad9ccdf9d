"""The kinds of nasty destinations: what each answers, how a delivery to it ends, and why Postfix ends it otherwise.

A kind is an ordinary server but for its `script`. `ends` is the last word of Floodgate after three attempts, `code` its
reply code, `copies` how often the message came with its dot ("each": at each attempt). `postfix` is the last word of
Postfix 3.7 where that differs, and then `why` gives the reason.
"""

from collections.abc import Sequence
from typing import NamedTuple

from tests.support.scripted_peer import CLOSE, EHLO_LINES, RESET, SILENT, USUAL, Pieces, Read, Script, Wait

DELIVERED, BOUNCED, DEFERRED = "Delivery", "Bounce", "TransientFailure"
EACH = "each"
PIPELINED: Sequence[str] = EHLO_LINES[1:]
PLAIN: Sequence[str] = ("SIZE 104857600", "8BITMIME", "ENHANCEDSTATUSCODES")


class Kind(NamedTuple):
    name: str
    script: Script
    ends: str
    code: int
    copies: int | str = 0
    postfix: str = ""
    why: str = ""
    offers: Sequence[str] = PIPELINED
    large: bool = False  # a message of 5 MB
    tls: bool = False  # STARTTLS works
    later: Script | None = None  # from the second connection on


LONG = b"x" * 12_000
OK, TAKEN, GO = b"250 2.1.0 ok\r\n", b"250 2.0.0 taken\r\n", b"354 go on\r\n"
EHLO = b"250-peer.example\r\n250-PIPELINING\r\n250 8BITMIME\r\n"
TLS_ALERT = b"\x15\x03\x01\x00\x02\x02\x28"

GIVES_UP = (
    "Postfix retries until the message is too old. Waiting does not mend a peer that does not speak SMTP, "
    "so Floodgate tells the sender after three attempts, with the peer's bytes."
)
STRICT = (
    "Postfix skips a line that is no reply unless it has sent several commands at once. Behind such a "
    "line nobody knows which command a reply answers, so Floodgate ends the connection in either case."
)
NO_CODE = (
    "Postfix says HELO after any reply to EHLO but 2xx and 421. For Floodgate a reply that cannot answer "
    "EHLO shows a peer that does not speak SMTP; HELO is for servers that refuse EHLO with 5xx (RFC 5321 "
    "3.2)."
)
LATER = (
    "Postfix says HELO after a 4xx to EHLO, too. A 4xx asks to come again later (RFC 5321 4.2.1), and "
    "HELO would give up TLS and 8BITMIME."
)
NOT_YET = (
    "Postfix sends the body and takes the early reply for the answer to it. A 2xx that was read before "
    "the dot was sent cannot say that the message was taken, and to believe it can lose mail."
)
NEXT_REPLY = (
    "Postfix skips the line and takes the next reply, here the one to QUIT, for the answer to the dot. "
    "Floodgate does not know whether the message was taken, and says so (`uncertain`)."
)
HELO_NEXT = (
    "Postfix begins each connection with EHLO. Floodgate remembers for an hour that the host closes "
    "there, and says HELO."
)
CLEAR = (
    "Postfix goes on in the clear after a refused STARTTLS or a failed handshake, and defers when the "
    "connection is lost or silent. Opportunistic TLS never keeps Floodgate from delivering (RFC 7435): it "
    "connects again in the clear."
)
REFUSES_ALL = (
    "Postfix bounces when HELO is refused with 5xx. A host that refuses whoever connects says nothing about the mail "
    "that waits for it, so Floodgate tries again until the mail is too old."
)
OLD_552 = "RFC 5321 4.5.3.1.10: a 552 to RCPT may be an old server's word for too many recipients, which is temporary."

KINDS: tuple[Kind, ...] = (
    # The greeting
    Kind("greeting-421", {"GREETING": (b"421 4.3.2 busy\r\n", CLOSE)}, DEFERRED, 421),
    Kind("greeting-450", {"GREETING": (b"450 4.3.2 busy\r\n",)}, DEFERRED, 450),
    Kind("greeting-554", {"GREETING": (b"554 5.7.1 no\r\n",)}, DEFERRED, 554),
    Kind(
        "greeting-554-many-lines",
        {"GREETING": (b"220-hello\r\n521 5.7.1 no\r\n",)},
        DEFERRED,
        521,
    ),
    Kind("greeting-250", {"GREETING": (b"250 hello\r\n",)}, DELIVERED, 250, 1),
    Kind("greeting-354", {"GREETING": (b"354 hello\r\n",)}, BOUNCED, 554),
    Kind("greeting-999", {"GREETING": (b"999 hello\r\n",)}, BOUNCED, 554),
    Kind("greeting-junk", {"GREETING": (b"SSH-2.0-OpenSSH_9.2\r\n",)}, BOUNCED, 554, postfix=DEFERRED, why=GIVES_UP),
    Kind(
        "greeting-http",
        {"GREETING": (b"HTTP/1.1 400 Bad Request\r\nServer: x\r\n\r\n", CLOSE)},
        BOUNCED,
        554,
        postfix=DEFERRED,
        why=GIVES_UP,
    ),
    Kind("greeting-tls-alert", {"GREETING": (TLS_ALERT, CLOSE)}, BOUNCED, 554, postfix=DEFERRED, why=GIVES_UP),
    Kind("greeting-split", {"GREETING": (Pieces(b"220-a\r\n220 b\r\n", 1),)}, DELIVERED, 250, 1),
    Kind("greeting-long", {"GREETING": (Pieces(b"220 " + LONG + b"\r\n", 1400),)}, DELIVERED, 250, 1),
    Kind("greeting-200-lines", {"GREETING": (b"220-hello\r\n" * 199 + b"220 hello\r\n",)}, DELIVERED, 250, 1),
    Kind("greeting-lf", {"GREETING": (b"220 hello\n",)}, DELIVERED, 250, 1),
    Kind("greeting-twice", {"GREETING": (b"220 hello\r\n220 hello\r\n",)}, BOUNCED, 554),
    Kind("greeting-then-421", {"GREETING": (b"220 hello\r\n421 4.3.2 busy\r\n", CLOSE)}, DEFERRED, 421),
    Kind("greeting-empty-line-first", {"GREETING": (b"\r\n220 hello\r\n",)}, DELIVERED, 250, 1),
    Kind("greeting-late", {"GREETING": (Wait(0.4), USUAL)}, DELIVERED, 250, 1),
    Kind("greeting-silent", {"GREETING": (SILENT,)}, DEFERRED, 451),
    Kind("greeting-close", {"GREETING": (CLOSE,)}, DEFERRED, 451),
    Kind("greeting-reset", {"GREETING": (RESET,)}, DEFERRED, 451),
    Kind("greeting-no-end", {"GREETING": (b"220 hel", CLOSE)}, DEFERRED, 451),
    # EHLO and HELO
    Kind("ehlo-421", {"EHLO": (b"421 4.3.2 busy\r\n", CLOSE)}, DEFERRED, 421),
    Kind("ehlo-450", {"EHLO": (b"450 4.3.2 busy\r\n",)}, DEFERRED, 450, postfix=DELIVERED, why=LATER),
    Kind("ehlo-500", {"EHLO": (b"500 what\r\n",)}, DELIVERED, 250, 1),
    Kind("ehlo-500-close", {"EHLO": (b"500 what\r\n", CLOSE)}, DELIVERED, 250, 1, postfix=DEFERRED, why=HELO_NEXT),
    Kind("ehlo-500-helo-close", {"EHLO": (b"500 what\r\n",), "HELO": (CLOSE,)}, DEFERRED, 451),
    Kind(
        "ehlo-500-helo-554",
        {"EHLO": (b"500 what\r\n",), "HELO": (b"554 5.7.1 no\r\n",)},
        DEFERRED,
        554,
        postfix=BOUNCED,
        why=REFUSES_ALL,
    ),
    Kind("ehlo-354", {"EHLO": (b"354 go\r\n",)}, BOUNCED, 554, postfix=DELIVERED, why=NO_CODE),
    Kind("ehlo-999", {"EHLO": (b"999 x\r\n",)}, BOUNCED, 554, postfix=DELIVERED, why=NO_CODE),
    Kind("ehlo-junk", {"EHLO": (b"hola\r\n",)}, BOUNCED, 554, postfix=DEFERRED, why=GIVES_UP),
    Kind("ehlo-split", {"EHLO": (Pieces(EHLO, 1),)}, DELIVERED, 250, 1),
    Kind("ehlo-long-line", {"EHLO": (b"250-" + LONG + b"\r\n250 PIPELINING\r\n",)}, DELIVERED, 250, 1),
    Kind("ehlo-2000-lines", {"EHLO": (b"250-X-EXT\r\n" * 2000 + b"250 PIPELINING\r\n",)}, DELIVERED, 250, 1),
    Kind("ehlo-empty-lines", {"EHLO": (EHLO.replace(b"\r\n", b"\r\n\r\n"),)}, DELIVERED, 250, 1),
    Kind("ehlo-junk-inside", {"EHLO": (b"250-peer.example\r\nPIPELINING\r\n250 8BITMIME\r\n",)}, DELIVERED, 250, 1),
    Kind("ehlo-two-codes", {"EHLO": (b"220-peer.example\r\n250 PIPELINING\r\n",)}, DELIVERED, 250, 1),
    Kind("ehlo-size-nonsense", {"EHLO": (b"250-peer.example\r\n250 SIZE -1x\r\n",)}, DELIVERED, 250, 1),
    Kind("ehlo-size-small", {"EHLO": (b"250-peer.example\r\n250 SIZE 10\r\n",)}, BOUNCED, 552),
    Kind("ehlo-late", {"EHLO": (Wait(0.4), USUAL)}, DELIVERED, 250, 1),
    Kind("ehlo-silent", {"EHLO": (SILENT,)}, DEFERRED, 451),
    Kind("ehlo-close", {"EHLO": (CLOSE,)}, DEFERRED, 451),
    Kind("ehlo-reset", {"EHLO": (RESET,)}, DEFERRED, 451),
    Kind("ehlo-then-421", {"EHLO": (EHLO + b"421 4.3.2 busy\r\n", CLOSE)}, DEFERRED, 421),
    # STARTTLS, opportunistic
    Kind("starttls", {}, DELIVERED, 250, 1, tls=True),
    Kind("starttls-454", {"STARTTLS": (b"454 4.7.0 later\r\n",)}, DELIVERED, 250, 1),
    Kind("starttls-502", {"STARTTLS": (b"502 5.5.1 what\r\n",)}, DELIVERED, 250, 1),
    Kind("starttls-421", {"STARTTLS": (b"421 4.3.2 busy\r\n", CLOSE)}, DELIVERED, 250, 1, postfix=DEFERRED, why=CLEAR),
    Kind("starttls-999", {"STARTTLS": (b"999 x\r\n",)}, DELIVERED, 250, 1),
    Kind("starttls-junk", {"STARTTLS": (b"hola\r\n",)}, DELIVERED, 250, 1, postfix=DEFERRED, why=CLEAR),
    Kind("starttls-garbage", {"STARTTLS": (b"220 go\r\n", Wait(0.1), b"what is this\r\n", CLOSE)}, DELIVERED, 250, 1),
    Kind("starttls-injected", {"STARTTLS": (b"220 go\r\n250 injected\r\n",)}, DELIVERED, 250, 1),
    Kind("starttls-close", {"STARTTLS": (b"220 go\r\n", CLOSE)}, DELIVERED, 250, 1),
    Kind("starttls-silent", {"STARTTLS": (SILENT,)}, DELIVERED, 250, 1, postfix=DEFERRED, why=CLEAR),
    Kind(
        "starttls-early-552", {"BODY": (Read(65536), b"552 5.3.4 big\r\n", CLOSE)}, BOUNCED, 552, tls=True, large=True
    ),
    # MAIL
    Kind("mail-421", {"MAIL": (b"421 4.3.2 busy\r\n", CLOSE)}, DEFERRED, 421),
    Kind("mail-451", {"MAIL": (b"451 4.3.0 later\r\n",)}, DEFERRED, 451),
    Kind("mail-550", {"MAIL": (b"550 5.7.1 no\r\n",)}, BOUNCED, 550),
    Kind("mail-354", {"MAIL": (b"354 go\r\n",)}, BOUNCED, 554),
    Kind("mail-999", {"MAIL": (b"999 x\r\n",)}, BOUNCED, 554),
    Kind("mail-junk", {"MAIL": (b"hola\r\n",)}, BOUNCED, 554),
    Kind(
        "mail-junk-plain", {"MAIL": (b"hola\r\n250 ok\r\n",)}, BOUNCED, 554, offers=PLAIN, postfix=DELIVERED, why=STRICT
    ),
    Kind("mail-split", {"MAIL": (Pieces(b"250-2.1.0 a\r\n250 2.1.0 b\r\n", 1),)}, DELIVERED, 250, 1),
    Kind("mail-long", {"MAIL": (b"250 " + LONG + b"\r\n",)}, DELIVERED, 250, 1),
    Kind("mail-no-text", {"MAIL": (b"250\r\n",)}, DELIVERED, 250, 1),
    Kind("mail-twice-plain", {"MAIL": (OK + OK,)}, BOUNCED, 554, offers=PLAIN),
    Kind("mail-then-550-plain", {"MAIL": (OK + b"550 5.7.1 no\r\n", CLOSE)}, BOUNCED, 550, offers=PLAIN),
    Kind("mail-then-421", {"MAIL": (OK + b"421 4.3.2 busy\r\n", CLOSE)}, DEFERRED, 421),
    Kind("mail-late", {"MAIL": (Wait(0.4), USUAL)}, DELIVERED, 250, 1),
    Kind("mail-silent", {"MAIL": (SILENT,)}, DEFERRED, 451),
    Kind("mail-close", {"MAIL": (CLOSE,)}, DEFERRED, 451),
    Kind("mail-reset", {"MAIL": (RESET,)}, DEFERRED, 451),
    # RCPT
    Kind("rcpt-421", {"RCPT": (b"421 4.3.2 busy\r\n", CLOSE)}, DEFERRED, 421),
    Kind("rcpt-450", {"RCPT": (b"450 4.2.1 greylisted\r\n",)}, DEFERRED, 450),
    Kind("rcpt-550", {"RCPT": (b"550 5.1.1 unknown\r\n",)}, BOUNCED, 550),
    Kind("rcpt-552", {"RCPT": (b"552 no more\r\n",)}, DEFERRED, 552, postfix=BOUNCED, why=OLD_552),
    Kind("rcpt-251", {"RCPT": (b"251 2.1.5 forwarded\r\n",)}, DELIVERED, 250, 1),
    Kind("rcpt-550-354", {"RCPT": (b"550 5.1.1 unknown\r\n",), "DATA": (GO,)}, BOUNCED, 550),
    Kind("rcpt-999", {"RCPT": (b"999 x\r\n",)}, BOUNCED, 554),
    Kind("rcpt-junk", {"RCPT": (b"\x00\xff\xfe\r\n",)}, BOUNCED, 554),
    Kind("rcpt-two-codes", {"RCPT": (b"550-5.7.1 x\r\n554 5.7.1 y\r\n",)}, BOUNCED, 554),
    Kind("rcpt-junk-inside", {"RCPT": (b"550-5.7.1 x\r\nwww.x.test\r\n550 5.7.1 y\r\n",)}, BOUNCED, 550),
    Kind("rcpt-550-lf", {"RCPT": (b"550 5.1.1 unknown\n",)}, BOUNCED, 550),
    Kind("rcpt-550-long", {"RCPT": (Pieces(b"550 5.1.1 " + LONG + b"\r\n", 1400),)}, BOUNCED, 550),
    Kind("rcpt-550-then-junk", {"RCPT": (b"550 5.1.1 unknown\r\n???\r\n", CLOSE)}, BOUNCED, 550),
    Kind("rcpt-550-close", {"RCPT": (b"550 5.1.1 unknown\r\n", CLOSE)}, BOUNCED, 550),
    Kind("rcpt-silent", {"RCPT": (SILENT,)}, DEFERRED, 451),
    Kind("rcpt-close", {"RCPT": (CLOSE,)}, DEFERRED, 451),
    # DATA
    Kind("data-421", {"DATA": (b"421 4.3.2 busy\r\n", CLOSE)}, DEFERRED, 421),
    Kind("data-451", {"DATA": (b"451 4.3.0 later\r\n",)}, DEFERRED, 451),
    Kind("data-554", {"DATA": (b"554 5.7.1 no\r\n",)}, BOUNCED, 554),
    Kind("data-250", {"DATA": (b"250 ok\r\n",)}, BOUNCED, 554),
    Kind("data-999", {"DATA": (b"999 x\r\n",)}, BOUNCED, 554),
    Kind("data-junk", {"DATA": (b"hola\r\n",)}, BOUNCED, 554, postfix=DEFERRED, why=GIVES_UP),
    Kind("data-split", {"DATA": (Pieces(GO, 1),)}, DELIVERED, 250, 1),
    Kind("data-long", {"DATA": (b"354 " + LONG + b"\r\n",)}, DELIVERED, 250, 1),
    Kind("data-early-yes", {"DATA": (GO + TAKEN,)}, BOUNCED, 554, postfix=DELIVERED, why=NOT_YET),
    Kind("data-early-550", {"DATA": (GO + b"550 5.7.1 no\r\n", CLOSE)}, BOUNCED, 550),
    Kind("data-early-421", {"DATA": (GO + b"421 4.3.2 busy\r\n", CLOSE)}, DEFERRED, 421),
    Kind("data-then-junk", {"DATA": (GO + b"hola\r\n",)}, BOUNCED, 554, postfix=DELIVERED, why=STRICT),
    Kind("data-late", {"DATA": (Wait(0.4), USUAL)}, DELIVERED, 250, 1),
    Kind("data-silent", {"DATA": (SILENT,)}, DEFERRED, 451),
    Kind("data-close", {"DATA": (CLOSE,)}, DEFERRED, 451),
    # The body
    Kind("body-552-close", {"BODY": (Read(65536), b"552 5.3.4 big\r\n", CLOSE)}, BOUNCED, 552, large=True),
    Kind("body-552-reset", {"BODY": (Read(65536), b"552 5.3.4 big\r\n", RESET)}, BOUNCED, 552, large=True),
    Kind("body-552-reads-on", {"BODY": (Read(65536), b"552 5.3.4 big\r\n", SILENT)}, BOUNCED, 552, large=True),
    Kind("body-421", {"BODY": (Read(65536), b"421 4.3.2 full\r\n", CLOSE)}, DEFERRED, 421, large=True),
    Kind("body-451", {"BODY": (Read(65536), b"451 4.3.0 later\r\n", SILENT)}, DEFERRED, 451, large=True),
    Kind("body-250", {"BODY": (Read(65536), TAKEN, SILENT)}, BOUNCED, 554, large=True, postfix=DELIVERED, why=NOT_YET),
    Kind("body-close", {"BODY": (Read(65536), CLOSE)}, DEFERRED, 451, large=True),
    Kind("body-reset", {"BODY": (Read(65536), RESET)}, DEFERRED, 451, large=True),
    # The final dot
    Kind("dot-421", {"DOT": (b"421 4.3.2 busy\r\n", CLOSE)}, DEFERRED, 421, EACH),
    Kind("dot-451", {"DOT": (b"451 4.3.0 later\r\n",)}, DEFERRED, 451, EACH),
    Kind("dot-554", {"DOT": (b"554 5.7.1 spam\r\n",)}, BOUNCED, 554, 1),
    Kind("dot-354", {"DOT": (GO,)}, BOUNCED, 554, EACH),
    Kind("dot-999", {"DOT": (b"999 x\r\n",)}, BOUNCED, 554, EACH),
    Kind("dot-junk", {"DOT": (b"hola\r\n",)}, BOUNCED, 554, EACH, postfix=DELIVERED, why=NEXT_REPLY),
    Kind("dot-split", {"DOT": (Pieces(b"250-2.0.0 a\r\n250 2.0.0 b\r\n", 1),)}, DELIVERED, 250, 1),
    Kind("dot-long", {"DOT": (Pieces(b"250 2.0.0 " + LONG + b"\r\n", 1400),)}, DELIVERED, 250, 1),
    Kind("dot-5000-lines", {"DOT": (b"250-2.0.0 line\r\n" * 4999 + TAKEN,)}, DELIVERED, 250, 1),
    Kind("dot-550-long", {"DOT": (Pieces(b"550 5.7.1 " + LONG + b"\r\n", 1400),)}, BOUNCED, 550, 1),
    Kind("dot-then-421-lf", {"DOT": (TAKEN + b"421 bye\n", CLOSE)}, DELIVERED, 250, 1),
    Kind("dot-then-junk", {"DOT": (TAKEN + b"\x00hola\r\n", CLOSE)}, DELIVERED, 250, 1),
    Kind("dot-twice", {"DOT": (TAKEN + TAKEN,)}, DELIVERED, 250, 1),
    Kind("dot-lf", {"DOT": (b"250 2.0.0 taken\n",)}, DELIVERED, 250, 1),
    Kind("dot-two-codes", {"DOT": (b"250-2.0.0 a\r\n550 5.7.1 b\r\n",)}, BOUNCED, 550, 1),
    Kind("dot-late", {"DOT": (Wait(0.4), USUAL)}, DELIVERED, 250, 1),
    Kind("dot-silent", {"DOT": (SILENT,)}, DEFERRED, 451, EACH),
    Kind("dot-close", {"DOT": (CLOSE,)}, DEFERRED, 451, EACH),
    Kind("dot-reset", {"DOT": (RESET,)}, DEFERRED, 451, EACH),
    Kind("dot-no-end", {"DOT": (b"250 2.0.0 tak", CLOSE)}, DEFERRED, 451, EACH),
    Kind("dot-close-first-time", {"DOT": (CLOSE,)}, DELIVERED, 250, 2, later={}),
    # QUIT
    Kind("quit-500", {"QUIT": (b"500 what\r\n",)}, DELIVERED, 250, 1),
    Kind("quit-junk", {"QUIT": (b"\x00hola\r\n",)}, DELIVERED, 250, 1),
    Kind("quit-silent", {"QUIT": (SILENT,)}, DELIVERED, 250, 1),
    Kind("quit-close", {"QUIT": (CLOSE,)}, DELIVERED, 250, 1),
    Kind("quit-reset", {"QUIT": (RESET,)}, DELIVERED, 250, 1),
)
