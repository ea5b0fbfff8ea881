"""A decoder of transformers as an LLM over packed embeddings, with our attention and head.

Letters: T packed tokens, E LLM width, B prompts, J tokens so far, I of them new.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

import torch
from torch import nn
from transformers import Cache

from mmcore.interfaces import PackedLayout
from mmcore.kit.generation import check_borders, continue_prompts, extend
from mmcore.kit.lm_head import Head
from mmcore.kit.longrope import PackedLongRope


class PackedDecoder(nn.Module):
    """The decoder (``model``) and its output layer (``lm_head``), named as transformers names them.

    With ``tied``, the output layer's weight *is* the embedding's: one parameter, known to
    ``named_parameters`` (so to optimizers, checkpoints and weight files) as
    ``model.embed_tokens.weight``.

    Args:
        model: transformers' decoder, with our attention as its attention implementation.
        head_rows: labelled positions whose logits are made at once.
        head_bias: whether the output layer has a bias.
        logit_cap: see ``Head``.
        tied: whether the output layer shares the embedding's weight.
        recompute: keep only every block's input for the backward pass and compute the rest again.
    """

    def __init__(
        self,
        model: Any,
        *,
        head_rows: int,
        head_bias: bool = False,
        logit_cap: float | None = None,
        tied: bool = False,
        recompute: bool = False,
    ) -> None:
        super().__init__()
        config = model.config
        self.model = model
        self.lm_head = Head(
            config.hidden_size, config.vocab_size, rows=head_rows, bias=head_bias, cap=logit_cap
        )
        if tied:
            self.lm_head.weight = model.embed_tokens.weight
        else:
            nn.init.normal_(self.lm_head.weight, std=config.initializer_range)
        if head_bias:
            nn.init.zeros_(self.lm_head.bias)
        if getattr(model.rotary_emb, "rope_type", None) == "longrope":
            model.rotary_emb = PackedLongRope(model.rotary_emb)
        if recompute:
            model.activation_checkpointing_enable({"use_reentrant": False})

    @property
    def head(self) -> Head:
        return self.lm_head

    def embed(self, input_ids_T: torch.Tensor) -> torch.Tensor:
        """``input_ids_T -> x_TE``; a family that scales its embeddings (Gemma) does so here, so
        what is written over them later is not scaled."""
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
        """See ``mmcore.interfaces.ExtendingLLM``.

        Raises:
            ValueError: a prompt outgrows the context of its rotary positions (LongRoPE).
        """
        check_borders(self.model, mask_BJ.bool(), x_BIE.shape[1])
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
