"""The result of TLS on one connection, in the words of RFC 8460."""

from typing import Final, NamedTuple

SUCCESS: Final = "success"
CLEAR: Final = "clear"  # the host offers no STARTTLS, and clear text was allowed
NOT_SUPPORTED: Final = "starttls-not-supported"
HOST_MISMATCH: Final = "certificate-host-mismatch"
EXPIRED: Final = "certificate-expired"
NOT_TRUSTED: Final = "certificate-not-trusted"
FAILED: Final = "validation-failure"

NO_POLICY: Final = "no-policy-found"
STS: Final = "sts"


class TlsResult(NamedTuple):
    """One kind of result, as it is counted by day."""

    domain: str
    policy: str  # "sts" or "no-policy-found"
    mx: str  # "" = no host was asked: the policy itself failed
    result: str
