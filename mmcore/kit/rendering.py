"""What every text format does with parts, whatever its tags: pictures numbered, runs merged."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence

from mmcore.interfaces import ImagePart, ImageSlot, Part, Rejection, TextPart, TextRun


def is_document(parts: Sequence[Part]) -> bool:
    """Whether the parts are a document rather than a conversation.

    Raises:
        Rejection: ``mixed-roles``.
    """
    roles = {part.role for part in parts}
    if "document" in roles and len(roles) > 1:
        raise Rejection("mixed-roles", f"document parts among turns of {sorted(roles)}")
    return roles <= {"document"}


def is_learned(part: TextPart) -> bool:
    """Only documents and the assistant's words teach."""
    return part.loss and part.role in ("document", "assistant")


def numbered(parts: Sequence[Part]) -> list[TextPart | ImageSlot]:
    """The parts with every picture replaced by its place in the order of pictures."""
    count = itertools.count()
    return [ImageSlot(next(count)) if isinstance(part, ImagePart) else part for part in parts]


def merged(pieces: Iterable[TextRun | ImageSlot]) -> list[TextRun | ImageSlot]:
    """Neighbouring runs that are learned alike as one run."""

    def learned(piece: TextRun | ImageSlot) -> bool | None:
        return piece.learned if isinstance(piece, TextRun) else None

    result: list[TextRun | ImageSlot] = []
    for flag, group in itertools.groupby(pieces, key=learned):
        if flag is None:
            result.extend(group)
        else:
            runs = (piece.ids for piece in group if isinstance(piece, TextRun))
            result.append(TextRun(tuple(itertools.chain.from_iterable(runs)), flag))
    return result
