"""The texts that drawn pictures show: which ones training may see, and which are held out."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final, Literal

TextKind = Literal["digit", "number", "word"]

_CONSONANTS: Final = "BCDNRST"
_VOWELS: Final = "AEO"

WORDS: Final[tuple[str, ...]] = tuple(
    first + vowel + last for first in _CONSONANTS for vowel in _VOWELS for last in _CONSONANTS
)
"""Short words such as CAT, DOT and BEN: every syllable of consonant, vowel, consonant. Not all of
them mean something, so that they cannot be guessed from a few letters, only read."""


def _is_held_out_word(word: str) -> bool:
    """A fifth of the words, spread so that every letter stays in training at all its places."""
    first, vowel, last = tuple(word)
    place = _CONSONANTS.index(first) + 2 * _CONSONANTS.index(last) + _VOWELS.index(vowel)
    return place % 5 == 0


def _is_held_out_number(number: int) -> bool:
    """A fifth of the numbers, chosen so that every digit stays in training at both its places."""
    tens, ones = divmod(number, 10)
    return (tens + 2 * ones) % 5 == 0


_DIGITS: Final = tuple("0123456789")

TRAINING: Final[Mapping[TextKind, tuple[str, ...]]] = MappingProxyType(
    {
        "digit": _DIGITS,
        "number": tuple(str(n) for n in range(10, 100) if not _is_held_out_number(n)),
        "word": tuple(word for word in WORDS if not _is_held_out_word(word)),
    }
)
"""What training pictures show. All single digits: see ``drawing.inks_for``."""

HELD_OUT: Final[Mapping[TextKind, tuple[str, ...]]] = MappingProxyType(
    {
        "digit": _DIGITS,
        "number": tuple(str(n) for n in range(10, 100) if _is_held_out_number(n)),
        "word": tuple(word for word in WORDS if _is_held_out_word(word)),
    }
)
"""What evaluation pictures show: training shows none of these numbers and words, but all of their
characters at the same places."""
