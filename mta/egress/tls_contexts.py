"""The client's side of TLS for each need; each context is made when it is needed first."""

import ssl

from mta.policy.tls import TlsLevel, TlsNeed


class TlsContexts:
    """Contexts by the file of the authorities."""

    def __init__(self) -> None:
        self._verifying: dict[str, ssl.SSLContext] = {}
        self._other: ssl.SSLContext | None = None

    def of(self, need: TlsNeed) -> ssl.SSLContext:
        """A context that checks the certificate and its name only where the need is `verified`."""
        if need.level is TlsLevel.VERIFIED:
            context = self._verifying.get(need.ca_file)
            if context is None:
                context = self._verifying[need.ca_file] = ssl.create_default_context(cafile=need.ca_file or None)
            return context
        if self._other is None:
            self._other = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            self._other.check_hostname = False
            self._other.verify_mode = ssl.CERT_NONE
        return self._other
