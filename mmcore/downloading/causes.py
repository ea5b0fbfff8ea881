"""Why links are dead, in few words: img2dataset's many messages, and what we find ourselves."""

from __future__ import annotations

import re
from typing import Final

NO_ADDRESS: Final = "no web address"
NO_ANSWER: Final = "no answer of img2dataset"
NOT_IN_TIME: Final = "no end in sight"
NO_PICTURE: Final = "no picture"
TOO_LARGE: Final = "too large"
OTHER: Final = "other"

_WORDS: Final = (
    ("x-robots-tag", "opted out (X-Robots-Tag)"),
    ("timed out", "timed out"),
    ("name resolution", "name service failed"),
    ("name or service not known", "no such host"),
    ("nodename nor servname", "no such host"),
    ("no address associated", "no such host"),
    ("network is unreachable", "network unreachable"),
    ("no route to host", "network unreachable"),
    ("connection refused", "connection refused"),
    ("certificate", "certificate refused"),
    ("ssl", "encryption failed"),
    ("incompleteread", "connection broken"),
    ("connection reset", "connection broken"),
    ("closed connection", "connection broken"),
    ("connection aborted", "connection broken"),
    ("badstatusline", "connection broken"),
    ("redirect", "redirected for ever"),
    ("decoding error", NO_PICTURE),
)
"""What a message holds, in lower case, and its cause; the first that fits counts."""


def cause_of(message: str) -> str:
    """The cause that an error message of img2dataset tells of."""
    text = message.lower()
    # A loop of redirections comes with the code of the last one.
    code = re.match(r"http error (\d{3})", text)
    if code and "redirect" not in text:
        return f"HTTP {code[1]}"
    return next((cause for words, cause in _WORDS if words in text), OTHER)
