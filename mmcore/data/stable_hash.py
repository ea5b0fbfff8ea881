"""Hashes and permutations that are the same on every machine and in every Python process."""

from __future__ import annotations

import hashlib

import numpy as np
from numpy.typing import NDArray


def stable_hash(*words: object) -> int:
    """64 bits that depend on the words and their borders."""
    text = "\x1f".join(str(word) for word in words)
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "little")


def shuffled(count: int, *words: object) -> NDArray[np.int64]:
    """A permutation of ``range(count)`` that the words decide."""
    return np.argsort(splitmix(stable_hash(*words), count), kind="stable")


def splitmix(seed: int, count: int) -> NDArray[np.uint64]:
    """The first numbers of SplitMix64 (Steele, Lea, Flood 2014)."""
    steps = np.arange(1, count + 1, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
    x = steps + np.array([seed], dtype=np.uint64)
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))
