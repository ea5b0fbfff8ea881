"""The auto-regressive loss is a weighted sum over labels, and counts them on the host."""

from __future__ import annotations

import attrs
import torch

from mmcore.interfaces import PackedBatch, SampleKey, Segment
from mmcore_objectives.spec import AutoregressiveSpec


@attrs.frozen
class Fixed:
    """A model whose hidden states are position numbers, and which misses a target by distance."""

    def hidden(self, batch: PackedBatch) -> torch.Tensor:
        return torch.arange(len(batch.input_ids_T)).float()[:, None]

    def nll(self, h_LE: torch.Tensor, targets_L: torch.Tensor) -> torch.Tensor:
        return (h_LE[:, 0] - targets_L).abs()


def batch(weight: float, labels: int) -> PackedBatch:
    none = torch.empty(0)
    return PackedBatch(
        input_ids_T=torch.zeros(6, dtype=torch.long),
        position_ids_T=torch.arange(6),
        cu_seqlens=torch.tensor([0, 6], dtype=torch.int32),
        lengths=(6,),
        label_index_L=torch.tensor([1, 4]),
        targets_L=torch.tensor([3, 5]),
        label_weight_L=torch.full((2,), weight),
        pixels_NCHW=none,
        patch_mask_NP=none,
        image_token_index_K=none,
        label_segment_L=none,
        segments=(Segment(SampleKey("s", "0", 0), "s", 0, 6, 0, labels),),
    )


def test_it_is_the_sum_over_labelled_positions():
    objective = AutoregressiveSpec().build()
    assert objective.count(batch(1.0, 2)) == 2.0
    assert objective.loss(Fixed(), batch(1.0, 2)).item() == 3.0


def test_weight_zero_silences_a_position():
    objective = AutoregressiveSpec().build()
    assert objective.count(batch(0.0, 0)) == 0.0
    assert objective.loss(Fixed(), batch(0.0, 0)).item() == 0.0
