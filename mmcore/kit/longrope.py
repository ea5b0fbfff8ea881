"""LongRoPE for packs: every sequence turns by its own length, whatever lies beside it.

A model with LongRoPE has two lists of rotary frequencies: one for sequences up to the context that
it was first trained with, one for longer ones. transformers chooses one list for all that it is
given at once, so a long sequence would change the short ones of its pack; here each has its own.

Letters: B entries, T positions, F frequencies (half the rotated width).
"""

from __future__ import annotations

from typing import Any, cast

import torch
from torch import nn
from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS


class PackedLongRope(nn.Module):
    """Takes the place of ``rotary_emb`` in a transformers decoder.

    Args:
        rotary: the decoder's own, made for short sequences.
    """

    def __init__(self, rotary: Any) -> None:
        super().__init__()
        config = rotary.config
        self.original: int = config.rope_parameters["original_max_position_embeddings"]
        self.scale = float(rotary.attention_scaling)
        make = ROPE_INIT_FUNCTIONS["longrope"]
        for name, length in (("short_F", self.original), ("long_F", self.original + 1)):
            frequencies_F, _ = make(config, None, seq_len=length)
            self.register_buffer(name, frequencies_F, persistent=False)

    @torch.no_grad()
    def forward(
        self, x: torch.Tensor, position_ids: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Cosines and sines (B, T, 2F) in the dtype of ``x``, for ``position_ids`` (B, T)."""
        short_F, long_F = (cast(torch.Tensor, one).float() for one in (self.short_F, self.long_F))
        is_long_BT1 = (lengths_of(position_ids) > self.original)[..., None]
        frequencies_BTF = torch.where(is_long_BT1, long_F, short_F)
        angles_BTF = position_ids[..., None].float() * frequencies_BTF
        angles = torch.cat((angles_BTF, angles_BTF), dim=-1)
        cosines, sines = angles.cos() * self.scale, angles.sin() * self.scale
        return cosines.to(x.dtype), sines.to(x.dtype)


def lengths_of(position_ids: torch.Tensor) -> torch.Tensor:
    """For every position (B, T), how long the sequence is that it lies in, as far as it is given.

    A sequence begins where positions begin anew at 0; one that continues a cache is as long as its
    last position says. Nothing is asked of the device.
    """
    number_BT = (position_ids == 0).cumsum(dim=1)
    longest = torch.zeros(
        position_ids.shape[0], position_ids.shape[1] + 1, dtype=torch.long, device=number_BT.device
    )
    longest = longest.scatter_reduce(1, number_BT, position_ids + 1, reduce="amax")
    return longest.gather(1, number_BT)
