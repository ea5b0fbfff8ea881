"""Phi-3 as a module over packed embeddings: transformers' decoder with our attention and head.

Letters: T packed tokens, E LLM width, B prompts.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

import torch
from torch import nn
from transformers import Cache, Phi3Config, Phi3Model

from mmcore.interfaces import PackedLayout
from mmcore_phi3.generation import continue_prompts, extend
from mmcore_phi3.head import Head


class Phi3(nn.Module):
    """The decoder (``model``) and its output layer (``lm_head``), named as transformers names them.

    Args:
        config: of transformers' Phi-3, with our attention as its attention implementation.
        head_rows: labelled positions whose logits are made at once.
        head_bias: whether the output layer has a bias.
        recompute: keep only every block's input for the backward pass and compute the rest again.
    """

    def __init__(
        self, config: Phi3Config, *, head_rows: int, head_bias: bool, recompute: bool
    ) -> None:
        super().__init__()
        self.model = Phi3Model(config)
        self.lm_head = Head(config.hidden_size, config.vocab_size, rows=head_rows, bias=head_bias)
        nn.init.normal_(self.lm_head.weight, std=config.initializer_range)
        if head_bias:
            nn.init.zeros_(self.lm_head.bias)
        if recompute:
            self.model.activation_checkpointing_enable({"use_reentrant": False})

    @property
    def head(self) -> Head:
        return self.lm_head

    def embed(self, input_ids_T: torch.Tensor) -> torch.Tensor:
        """``input_ids_T -> x_TE``."""
        x_TE: torch.Tensor = self.model.embed_tokens(input_ids_T)
        return x_TE

    def forward(self, x_TE: torch.Tensor, layout: PackedLayout) -> torch.Tensor:
        """``x_TE, layout -> h_TE``, after the final norm."""
        output = self.model(
            inputs_embeds=x_TE[None],
            position_ids=layout.position_ids_T[None],
            use_cache=False,
            layout=layout,
        )
        h_TE: torch.Tensor = output.last_hidden_state[0]
        return h_TE

    def extend(self, x_BIE: torch.Tensor, mask_BJ: torch.Tensor, cache: Cache) -> torch.Tensor:
        """See ``mmcore.interfaces.ExtendingLLM``."""
        return extend(self.model, x_BIE, mask_BJ.bool(), cache)

    def generate(
        self,
        x_BTE: torch.Tensor,
        mask_BT: torch.Tensor,
        *,
        max_new_tokens: int,
        stop_ids: Collection[int],
        temperature: float = 0.0,
        top_p: float = 1.0,
    ) -> list[Sequence[int]]:
        """Continue B left-padded prompts; new ids only, stop id left out. 0 means greedy."""
        return continue_prompts(
            self.model,
            self.lm_head,
            x_BTE,
            mask_BT,
            max_new_tokens=max_new_tokens,
            stop_ids=stop_ids,
            temperature=temperature,
            top_p=top_p,
        )
