"""What a remote reply, or trouble on the way to one, means for the deliveries that met it; in one place."""

import enum
from typing import NamedTuple

from mta.model.outcomes import Origin, Reply, Verdict
from mta.model.phases import Phase


class Scope(enum.Enum):
    """Whom a failure concerns."""

    RECIPIENT = "recipient"
    MESSAGE = "message"
    SITE = "site"  # this host, whatever the message
    SESSION = "session"  # this connection only


class Judgement(NamedTuple):
    """What a reply means."""

    verdict: Verdict
    scope: Scope


class Trouble(NamedTuple):
    """Why deliveries could not be attempted, or not to the end."""

    verdict: Verdict
    reply: Reply
    origin: Origin
    scope: Scope
    phase: Phase
    host: str = ""
    ip: str = ""

    @property
    def reason(self) -> str:
        return f"{self.phase.value} ({self.host or self.ip})" if self.host or self.ip else self.phase.value


_SCOPES = {
    Phase.MAIL: Scope.MESSAGE,
    Phase.RCPT: Scope.RECIPIENT,
    Phase.DATA: Scope.MESSAGE,
    Phase.DOT: Scope.MESSAGE,
}

_ENHANCED = {
    Phase.DNS: "4.4.3",
    Phase.CONNECT: "4.4.1",
    Phase.TLS: "4.7.5",
}

_ACCEPTED = {phase: Judgement(Verdict.DELIVERED, scope) for phase, scope in _SCOPES.items()}


def judge(phase: Phase, reply: Reply) -> Judgement:
    """The meaning of a final reply (RFC 5321 4.2.1, 4.3.2); what is no final reply is trouble of the session."""
    code = reply.code
    if 200 <= code < 300 and phase in _ACCEPTED:
        return _ACCEPTED[phase]
    scope = _SCOPES.get(phase, Scope.SITE)
    if code == 421 or code < 400:
        return Judgement(Verdict.TEMPORARY, Scope.SESSION)
    if code < 500:
        return Judgement(Verdict.TEMPORARY, scope)
    if phase is Phase.RCPT and code == 552:  # "too many recipients" of old servers, RFC 5321 4.5.3.1.10
        return Judgement(Verdict.TEMPORARY, scope)
    if scope is Scope.SITE:  # a host that refuses everybody says nothing about the mail that waits for it
        return Judgement(Verdict.TEMPORARY, scope)
    return Judgement(Verdict.PERMANENT, scope)


def refused(phase: Phase, reply: Reply, host: str, ip: str) -> Trouble:
    """The host said no before a transaction could begin."""
    verdict, scope = judge(phase, reply)
    return Trouble(verdict, reply, Origin.REMOTE, scope, phase, host, ip)


def broken(phase: Phase, words: str, host: str = "", ip: str = "") -> Trouble:
    """Connection, time or protocol failed: temporary, whatever it was. After the dot the
    words warn of a second copy."""
    if phase is Phase.DOT:
        words += "; the message may be delivered more than once"
    scope = Scope.SITE if phase in (Phase.DNS, Phase.CONNECT, Phase.GREETING, Phase.EHLO, Phase.TLS) else Scope.SESSION
    return Trouble(
        Verdict.TEMPORARY, Reply(451, _ENHANCED.get(phase, "4.4.2"), words), Origin.LOCAL, scope, phase, host, ip
    )


def unroutable(words: str, enhanced: str, temporary: bool) -> Trouble:
    """DNS or the routes lead nowhere: 556 for a null MX (RFC 7505 4.1), 550 for other permanent trouble."""
    code = 451 if temporary else 556 if enhanced == "5.1.10" else 550
    verdict = Verdict.TEMPORARY if temporary else Verdict.PERMANENT
    return Trouble(verdict, Reply(code, enhanced, words), Origin.LOCAL, Scope.SITE, Phase.DNS)


def unsendable(code: int, enhanced: str, words: str, host: str = "", ip: str = "") -> Trouble:
    """This message cannot go to this peer as it is (RFC 6152, RFC 1870, RFC 6531): permanent."""
    return Trouble(Verdict.PERMANENT, Reply(code, enhanced, words), Origin.LOCAL, Scope.MESSAGE, Phase.MAIL, host, ip)


def worst(troubles: list[Trouble]) -> Trouble:
    """What the delivery is told after every host failed: permanent only when each of them said so, else the last
    temporary trouble. One host's 5xx greeting says nothing about the others (RFC 5321 5.1)."""
    temporary = [trouble for trouble in troubles if trouble.verdict is Verdict.TEMPORARY]
    return temporary[-1] if temporary else troubles[-1]
