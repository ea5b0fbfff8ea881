"""Phi-3 as a module over packed embeddings: transformers' decoder with our attention and head."""

from __future__ import annotations

from transformers import Phi3Config, Phi3Model

from mmcore.kit.decoder import PackedDecoder


class Phi3(PackedDecoder):
    """Phi-3's decoder and output layer; see ``PackedDecoder``.

    Args:
        config: of transformers' Phi-3, with our attention as its attention implementation.
        head_rows: labelled positions whose logits are made at once.
        head_bias: whether the output layer has a bias.
        recompute: keep only every block's input for the backward pass and compute the rest again.
    """

    def __init__(
        self, config: Phi3Config, *, head_rows: int, head_bias: bool, recompute: bool
    ) -> None:
        super().__init__(
            Phi3Model(config), head_rows=head_rows, head_bias=head_bias, recompute=recompute
        )
