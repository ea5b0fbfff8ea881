"""Packs that hold nothing but pairs, and a model that has its answers from a table.

Letters: B pairs, W tokens of a text, Q queries, X width of a comparison.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import attrs
import pytest
import torch

from mmcore.interfaces import PAIR_IDS, PAIR_MASK, PAIR_VIEW, PAIR_WEIGHT, PackedBatch


@attrs.define
class Table:
    """Says the same whatever is asked, and keeps what was asked and told."""

    answer: tuple[torch.Tensor, ...]
    asked: list[tuple[object, ...]] = attrs.field(factory=list)
    told: dict[str, float] = attrs.field(factory=dict)

    def provided(self, *asked: object) -> tuple[torch.Tensor, ...]:
        self.asked.append(asked)
        return self.answer

    def tell(self, name: str, total: torch.Tensor) -> None:
        self.told[name] = total.item()


def pack_of(texts: Sequence[Sequence[int]], **aux: torch.Tensor) -> PackedBatch:
    """A pack of pairs with these texts; without any, with one row of weight zero."""
    none = torch.zeros(0)
    rows = texts or [[0, 0]]
    longest = max(map(len, rows))
    return PackedBatch(
        *[none] * 3,
        lengths=(),
        label_index_L=none,
        targets_L=none,
        label_weight_L=none,
        pixels_NCHW=none,
        patch_mask_NP=none,
        image_token_index_K=none,
        label_segment_L=none,
        aux={
            PAIR_IDS: torch.tensor([[*text] + [0] * (longest - len(text)) for text in rows]),
            PAIR_MASK: torch.tensor([[w < len(text) for w in range(longest)] for text in rows]),
            PAIR_VIEW: torch.arange(len(rows)),
            PAIR_WEIGHT: torch.full((len(rows),), float(bool(texts))),
            **aux,
        },
    )


@pytest.fixture
def pack() -> Callable[..., PackedBatch]:
    return pack_of


@pytest.fixture
def table() -> type[Table]:
    return Table
