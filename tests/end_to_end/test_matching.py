"""A Q-Former learns to match a handful of pairs, wherever they stand in packs.

Letters: M pairs, P patches of a view, D width of a patch, W tokens of a text.
"""

from __future__ import annotations

import attrs
import pytest
import torch
from torch.nn.utils.rnn import pad_sequence

from mmcore.interfaces import (
    MATCH,
    PAIR_IDS,
    PAIR_MASK,
    PAIR_VIEW,
    PAIR_WEIGHT,
    PackedBatch,
)
from mmcore_objectives.pair_specs import ItcSpec, ItmSpec
from mmcore_samplers.qformer_spec import QFormerSpec

WORDS = ("a", "b", "c")
PATCHES, WIDTH = 4, 8
CHANCE = 0.6365
"""What matching costs that knows no more than that one in three matches."""


class Views:
    """The Q-Former as objectives are given it: with the encoder's features of a pack's views."""

    def __init__(self, sampler, features_MPD) -> None:
        self.sampler, self.features_MPD = sampler, features_MPD

    def provided(self, wanted, batch, view_B, ids_BW, mask_BW):
        mask_MP = torch.ones(self.features_MPD.shape[:2], dtype=torch.bool)
        return self.sampler.provide(wanted, self.features_MPD, mask_MP, view_B, ids_BW, mask_BW)

    def tell(self, name, total) -> None:
        pass


def pack(ids_MW, mask_MW) -> PackedBatch:
    """All pairs, the last one's picture first."""
    none, pairs = torch.zeros(0), len(ids_MW)
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
            PAIR_IDS: ids_MW,
            PAIR_MASK: mask_MW,
            PAIR_VIEW: torch.arange(pairs).flip(0),
            PAIR_WEIGHT: torch.ones(pairs),
        },
    )


def losses_of(objectives, model, batch, step: int) -> list[torch.Tensor]:
    """As a step has them: surveyed (by the first, which sees what all need), compared, and told."""
    said, seen = {}, {}
    for objective in objectives:
        if not seen:
            with torch.no_grad():
                seen = objective.survey(model, batch)
        said.update(objective.compare([seen], [0], step)[0])
    told = attrs.evolve(batch, aux={**batch.aux, **said})
    return [one.loss(model, told) / one.count(told) for one in objectives]


def test_matching_is_learned_beyond_chance_for_every_picture_and_text() -> None:
    torch.manual_seed(0)
    spec = attrs.evolve(QFormerSpec().tiny(), queries=4, layers=1)
    sampler = spec.build(dim_in=WIDTH, dim_out=4, attention="sdpa")
    read = spec.pair_text()
    texts = [torch.tensor(read(word)) for word in WORDS]
    ids_MW = pad_sequence(texts, batch_first=True)
    mask_MW = pad_sequence([torch.ones_like(one) for one in texts], batch_first=True).bool()
    model = Views(sampler, torch.randn(len(WORDS), PATCHES, WIDTH))
    batch, objectives = pack(ids_MW, mask_MW), [ItmSpec().build(), ItcSpec().build()]
    optimizer = torch.optim.AdamW(sampler.parameters(), lr=5e-3)
    matched = []
    while len(matched) < 400 and max(matched[-5:], default=CHANCE) > CHANCE / 6:
        losses = losses_of(objectives, model, batch, len(matched))
        matched.append(losses[0].item())
        optimizer.zero_grad()
        sum(losses).backward()
        optimizer.step()
    assert matched[0] == pytest.approx(CHANCE, abs=0.15)
    assert max(matched[-5:]) <= CHANCE / 6
    pairs = len(WORDS)
    view, text = torch.arange(pairs).repeat_interleave(pairs), torch.arange(pairs).repeat(pairs)
    (logits,) = model.provided(MATCH, batch, view, ids_MW[text], mask_MW[text])
    assert torch.equal(logits.argmax(1) == 1, view == pairs - 1 - text)
