"""Which errors are the machine's: a disk, a network or a store that may answer the next time."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from typing import Final

_NUMBERS: Final = frozenset(
    {
        errno.EAGAIN,
        errno.EBUSY,
        errno.ECONNABORTED,
        errno.ECONNREFUSED,
        errno.ECONNRESET,
        errno.EHOSTDOWN,
        errno.EHOSTUNREACH,
        errno.EINTR,
        errno.EIO,
        errno.ENETDOWN,
        errno.ENETRESET,
        errno.ENETUNREACH,
        errno.ENOBUFS,
        errno.ENOTCONN,
        errno.EPIPE,
        errno.ESHUTDOWN,
        errno.ESTALE,
        errno.ETIMEDOUT,
        getattr(errno, "EREMOTEIO", errno.EIO),  # on Linux only
    }
)

_STATUSES: Final = frozenset({408, 425, 429, 500, 502, 503, 504})
"""Answers of a server that asks to come again."""

_CODES: Final = frozenset(
    {
        "InternalError",
        "RequestLimitExceeded",
        "RequestTimeout",
        "RequestTimeoutException",
        "ServiceUnavailable",
        "SlowDown",
        "Throttling",
        "ThrottlingException",
        "TooManyRequests",
        "TooManyRequestsException",
        "IncompleteBody",
    }
)
"""The same in words, as S3 says them."""

_CLASSES: Final = frozenset(
    {
        # aiohttp
        "ClientConnectionError",
        "ClientPayloadError",
        "ServerDisconnectedError",
        "ServerTimeoutError",
        # botocore
        "ConnectionClosedError",
        "ConnectTimeoutError",
        "EndpointConnectionError",
        "HTTPClientError",
        "IncompleteReadError",
        "ReadTimeoutError",
        "ResponseStreamingError",
        # requests, urllib3, http.client
        "ChunkedEncodingError",
        "ConnectTimeout",
        "IncompleteRead",
        "ProtocolError",
        "ReadTimeout",
        # httpx
        "ConnectError",
        "ReadError",
        "RemoteProtocolError",
        "TimeoutException",
    }
)
"""Classes of libraries that need not be installed, by name."""


def is_transient(error: BaseException) -> bool:
    """Whether the fault is the machine's, and may be gone the next time."""
    chain = list(_causes(error))
    answers = [answer for one in chain for answer in _answers(one)]
    if answers:
        # A store's driver gives any answer that it does not know the number of a broken disk.
        return any(answer in _STATUSES or answer in _CODES for answer in answers)
    return any(_is_broken(one) for one in chain)


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__


def _answers(error: BaseException) -> Iterator[object]:
    """What a server answered, if this is about an answer: a number, or S3's word for it."""
    response = getattr(error, "response", None)
    if isinstance(response, dict):
        yield response.get("ResponseMetadata", {}).get("HTTPStatusCode")
        yield response.get("Error", {}).get("Code")
    for holder in (error, response):
        for name in ("status", "status_code", "code"):
            if isinstance(value := getattr(holder, name, None), int):
                yield value


def _is_broken(error: BaseException) -> bool:
    if isinstance(error, (TimeoutError, ConnectionError)):
        return True
    if isinstance(error, OSError) and error.errno in _NUMBERS:
        return True
    return any(kind.__name__ in _CLASSES for kind in type(error).__mro__)
