"""Which of a Q-Former's parameters serve what, and what they are called in BLIP-2's checkpoints."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

from mmcore.interfaces import CAPTION, CONTRAST, MATCH, TOKENS

QUERIES: Final = "query_tokens.weight"
"""What the published checkpoints call ``query_tokens``; all other names are theirs."""

TOWER: Final = "words and their layers"
"""Of the text tower, whatever it is used for."""

_HEADS: Final = {
    "vision_projection": CONTRAST,
    "text_projection": CONTRAST,
    "temperature": CONTRAST,
    "itm_head": MATCH,
    "caption": CAPTION,
    "language_projection": TOKENS,
    "embeddings": TOWER,
}
_TEXT_LAYER: Final = re.compile(r"qformer\.encoder\.layer\.\d+\.(intermediate|output)\.")


def purpose(name: str) -> str | None:
    """What a parameter is for, besides what all share."""
    return TOWER if _TEXT_LAYER.match(name) else _HEADS.get(name.partition(".")[0])


def unused(names: Iterable[str], needs: frozenset[str]) -> frozenset[str]:
    """The parameters that nothing uses where only ``needs`` are asked for."""
    used = {None, *needs, *([TOWER] if needs - {TOKENS} else [])}
    return frozenset(name for name in names if purpose(name) not in used)


def published(name: str) -> str:
    """What BLIP-2's checkpoints call a parameter."""
    return "query_tokens" if name == QUERIES else name
