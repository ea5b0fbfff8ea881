"""Spans of time as people say them."""

from __future__ import annotations


def duration(seconds: float) -> str:
    """``2 h 05 min``, ``4 min 10 s`` or ``7.3 s``."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest:02} s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours:,} h {minutes:02} min"
