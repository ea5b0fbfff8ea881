"""The fault of a single row: it is counted, written down with its key, and the run goes on."""

from __future__ import annotations

from typing import Final

MOST_CHARACTERS: Final = 500
"""A detail that is longer ends in "…": it may quote a whole row."""


class Rejection(Exception):
    """This sample cannot be used.

    Args:
        reason: a short fixed word such as ``image-unreadable``; rejections are counted by it.
        detail: what was found, with the values; shortened to ``MOST_CHARACTERS``, and half
            surrogates, which no file takes, are written as escapes.
    """

    def __init__(self, reason: str, detail: str) -> None:
        detail = detail[:MOST_CHARACTERS] + "…" * (len(detail) > MOST_CHARACTERS)
        detail = detail.encode(errors="backslashreplace").decode()
        super().__init__(reason, detail)
        self.reason = reason
        self.detail = detail

    def __str__(self) -> str:
        return f"{self.reason}: {self.detail}"
