"""Seeds of a run's many purposes, each from the run's own and a name."""

from __future__ import annotations

import hashlib


def seed_of(seed: int, *names: str) -> int:
    """A seed for one purpose of a run: stable, and unrelated to those of other purposes."""
    text = "/".join([str(seed), *names])
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=7).digest(), "big")
