"""The texts that drawn pictures show: which ones training may see, and which are held out."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final, Literal

TextKind = Literal["digit", "number", "word"]

WORDS: Final[tuple[str, ...]] = tuple(
    """
    ACE ACT AND ANT ARC ART ATE BAD BAN BAR BAT BED BEE BET CAB CAN CAR CAT COB COD CON COT DAB DEN
    DOC DOE DON DOT EAR EAT ECO END ERA NAB NET NOD NOR NOT OAR OAT ODD ONE ORB ORE RAN RAT RED ROB
    ROD ROE ROT SAD SAT SEA SET SOB SON TAB TAN TAR TEA TEN TOE TON BOA BOB BRA SOD NEE TOO CEO BEN
    """.split()  # noqa: SIM905
)
"""Words of three letters, all made of the same ten: A B C D E N O R S T."""


def _is_held_out_number(number: int) -> bool:
    """A fifth of the numbers, chosen so that every digit stays in training at both its places."""
    tens, ones = divmod(number, 10)
    return (tens + 2 * ones) % 5 == 0


TRAINING: Final[Mapping[TextKind, tuple[str, ...]]] = MappingProxyType(
    {
        "digit": tuple("0123456789"),
        "number": tuple(str(n) for n in range(10, 100) if not _is_held_out_number(n)),
        "word": tuple(word for index, word in enumerate(WORDS) if index % 5),
    }
)
"""What training pictures show."""

HELD_OUT: Final[Mapping[TextKind, tuple[str, ...]]] = MappingProxyType(
    {
        "digit": tuple("0123456789"),
        "number": tuple(str(n) for n in range(10, 100) if _is_held_out_number(n)),
        "word": tuple(word for index, word in enumerate(WORDS) if index % 5 == 0),
    }
)
"""What evaluation pictures show: in training none of these texts is ever seen as a whole."""
