"""A picture and its text, for objectives that compare the two: which go together, and how packs
carry them.

Letters: B pairs, W tokens of a text.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import attrs
import numpy as np
import torch
from numpy.typing import NDArray

from mmcore.data.tokenized import TokenizedSample
from mmcore.interfaces import (
    PAIR_IDS,
    PAIR_MASK,
    PAIR_VIEW,
    PAIR_WEIGHT,
    ImagePart,
    PairText,
    Part,
    TextPart,
)


@attrs.frozen
class PairTexts:
    """How the texts of a stage's pictures are read. Can be pickled if the tokenizer can.

    Attributes:
        tokenize: of the token sampler.
        most: ids of a text at the most.
    """

    tokenize: PairText
    most: int

    def of(self, parts: Sequence[Part]) -> tuple[int, ...]:
        """All words of a sample that shows exactly one picture, whoever says them; nothing where it
        shows another number, or has no words."""
        pictures = sum(isinstance(part, ImagePart) for part in parts)
        spoken = [part.text.strip() for part in parts if isinstance(part, TextPart)]
        words = " ".join(text for text in spoken if text)
        return tuple(self.tokenize(words)) if pictures == 1 and words else ()

    @property
    def nothing(self) -> tuple[int, ...]:
        """A text without words: for the row of a pack without pairs."""
        return tuple(self.tokenize(""))

    @property
    def longest(self) -> tuple[int, ...]:
        """A made-up text of as many ids as there can be."""
        return (self.nothing[0],) * self.most


def paired(sample: TokenizedSample, text: tuple[int, ...]) -> TokenizedSample:
    """The sample with the text of its picture, if it shows that in one view (or in one group of
    patches that its tiler makes of several)."""
    groups = [one.plan.groups for one in sample.pictures]
    return attrs.evolve(sample, pair=text) if groups == [1] else sample


def carried(
    samples: Sequence[TokenizedSample], texts: PairTexts | None
) -> Mapping[str, torch.Tensor]:
    """What a pack of these samples carries in its ``aux``; nothing where no texts are wanted.

    A pack without pairs carries an empty text with its first view, at weight zero.
    """
    if texts is None:
        return {}
    pairs = list(_pairs(samples))
    rows = [text for text, _ in pairs] or [texts.nothing]
    ids_BW, mask_BW = _side_by_side(rows)
    return {
        PAIR_IDS: torch.from_numpy(ids_BW),
        PAIR_MASK: torch.from_numpy(mask_BW),
        PAIR_VIEW: torch.tensor([view for _, view in pairs] or [0], dtype=torch.int64),
        PAIR_WEIGHT: torch.full((len(rows),), float(bool(pairs))),
    }


def _pairs(samples: Sequence[TokenizedSample]) -> Iterator[tuple[tuple[int, ...], int]]:
    """Texts, and which view of the pack shows their pictures."""
    before = 0
    for sample in samples:
        if sample.pair:
            yield sample.pair, before
        before += sum(picture.plan.groups for picture in sample.pictures)


def _side_by_side(
    rows: Sequence[Sequence[int]],
) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Texts below one another, the shorter ones with zeros behind, and what of it is there."""
    lengths_B = np.array([len(row) for row in rows])
    mask_BW = np.arange(lengths_B.max()) < lengths_B[:, None]
    ids_BW = np.zeros(mask_BW.shape, dtype=np.int64)
    ids_BW[mask_BW] = np.concatenate([np.array(row, dtype=np.int64) for row in rows])
    return ids_BW, mask_BW
