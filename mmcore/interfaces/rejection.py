"""The fault of a single row: it is counted, written down with its key, and the run goes on."""

from __future__ import annotations


class Rejection(Exception):
    """This sample cannot be used.

    Args:
        reason: a short fixed word such as ``image-unreadable``; rejections are counted by it.
        detail: what was found, with the values.
    """

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(reason, detail)
        self.reason = reason
        self.detail = detail

    def __str__(self) -> str:
        return f"{self.reason}: {self.detail}"
