"""How far an outgoing session has come, in words for people."""

import enum


class Phase(enum.Enum):
    """The step of an outgoing session at which trouble came; log and API show the value."""

    DNS = "looking up the destination"
    CONNECT = "connecting"
    GREETING = "waiting for the greeting"
    EHLO = "sending EHLO"
    TLS = "starting TLS"
    AUTH = "authenticating"
    RSET = "sending RSET"
    MAIL = "sending MAIL"
    RCPT = "sending RCPT"
    DATA = "sending DATA"
    BODY = "sending the message"
    DOT = "sending end of data"
    QUIT = "sending QUIT"


IN_DOUBT = (
    "(the message may be delivered more than once)"  # beside a phase, if the server may have accepted the message
)
