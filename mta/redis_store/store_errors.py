"""Errors of the client library as the product's own: whether a call may have run, and what the server says."""

from typing import Final

from redis.exceptions import (
    AuthenticationError,
    BusyLoadingError,
    ClusterDownError,
    ClusterError,
    ConnectionError,
    InvalidResponse,
    MasterDownError,
    OutOfMemoryError,
    ReadOnlyError,
    RedisClusterException,
    RedisError,
    ResponseError,
    TimeoutError,
    TryAgainError,
)

from mta.model.errors import (
    StoreAway,
    StoreDenied,
    StoreError,
    StoreForeign,
    StoreFull,
    StoreLoading,
    StoreRefuses,
    StoreUnreached,
)
from mta.redis_store.connections import Unconnected

FOREIGN: Final = (RedisError, RedisClusterException, OSError)  # the errors that `store_error` translates

# Errors that mean "not now" rather than "wrong": the same call may go through later.
_AWAY = (
    ConnectionError,
    TimeoutError,
    InvalidResponse,
    ClusterDownError,
    ClusterError,
    TryAgainError,
    OSError,
)
_REFUSES = (MasterDownError, ReadOnlyError)

_NOT_NOW = ("BUSY", "CLUSTERDOWN", "TRYAGAIN", "MOVED", "ASK ")
# The server says these before anything of a step has run, and is likely to say them again.
_NO_WRITES = ("READONLY", "MISCONF", "LOADING", "NOREPLICAS", "MASTERDOWN")
_DISCARDED: Final = "EXECABORT Transaction discarded because of: "


def store_error(error: Exception, resends: bool) -> StoreError:
    """The error of mta.model.errors that a call raises instead of `error`. `resends`: the client may send a call again
    by itself, so a failure to connect does not prove that the call never ran."""
    if isinstance(error, OutOfMemoryError):
        return StoreFull(str(error))
    if isinstance(error, BusyLoadingError):
        return StoreLoading(str(error))
    if isinstance(error, _REFUSES):
        return StoreRefuses(str(error))
    if isinstance(error, Unconnected):
        if isinstance(error.__cause__, BusyLoadingError):
            return StoreLoading(str(error))
        return (StoreAway if resends else StoreUnreached)(str(error))
    if isinstance(error, ResponseError):
        return _refusal(str(error).removeprefix(_DISCARDED))
    if isinstance(error, _AWAY):
        return _away(error)
    # A Cluster's client that reaches no node says why in the cause.
    return _away(error.__cause__) if isinstance(error.__cause__, _AWAY) else StoreError(str(error))


def _refusal(text: str) -> StoreError:
    """The meaning of an error that the server answers."""
    if text.startswith(("OOM", "-OOM")) or "OOM command not allowed" in text:
        return StoreFull(text)
    if text.startswith(_NO_WRITES):
        return StoreRefuses(text)
    return StoreAway(text) if text.startswith(_NOT_NOW) else StoreError(text)


def _away(error: BaseException) -> StoreAway:
    """The kind of absence that the error tells."""
    words = str(error) or type(error).__name__
    if isinstance(error, AuthenticationError):
        return StoreDenied(words)
    if isinstance(error, InvalidResponse):
        return StoreForeign(words)
    return StoreLoading(words) if isinstance(error, BusyLoadingError) else StoreAway(words)
