"""The output layer: logits for generation, chunked log likelihoods for training.

Letters: L labelled positions, E LLM width, V vocabulary.
"""

from __future__ import annotations

import torch
from torch import nn
from torch.nn.functional import cross_entropy, linear
from torch.utils.checkpoint import checkpoint


class Head(nn.Linear):
    """A linear layer that, given targets, answers with their negative log likelihoods.

    The chunks are made inside one call, so that whoever gathers the weight around a module's call
    (ZeRO stage 3) gathers it once. Each chunk's logits live in float32 while they are used, and are
    made again in the backward pass: memory is ``rows * V``, not ``L * V``.

    Args:
        width: E.
        vocabulary: V.
        rows: positions per chunk.
        bias: whether logits have a bias; Phi-3's have none, xGen-MM's released ones have.
        cap: where given, logits are bent into ``±cap`` by ``cap * tanh(logits / cap)`` (Gemma 2).
    """

    def __init__(
        self,
        width: int,
        vocabulary: int,
        *,
        rows: int,
        bias: bool = False,
        cap: float | None = None,
    ) -> None:
        super().__init__(width, vocabulary, bias=bias)
        self.rows, self.cap = rows, cap

    def forward(self, h_LE: torch.Tensor, targets_L: torch.Tensor | None = None) -> torch.Tensor:
        """``h_LE -> logits_LV``, or with targets ``nll_L`` (float32)."""
        if targets_L is None:
            return self._capped(super().forward(h_LE))
        return torch.cat(
            [
                checkpoint(  # no dropout inside: there is no random state to keep
                    self._nll, h, targets, use_reentrant=False, preserve_rng_state=False
                )
                for h, targets in zip(
                    torch.split(h_LE, self.rows), torch.split(targets_L, self.rows), strict=True
                )
            ]
        )

    def _nll(self, h_LE: torch.Tensor, targets_L: torch.Tensor) -> torch.Tensor:
        logits_LV = self._capped(linear(h_LE, self.weight, self.bias).float())
        return cross_entropy(logits_LV, targets_L, reduction="none")

    def _capped(self, logits_LV: torch.Tensor) -> torch.Tensor:
        return logits_LV if self.cap is None else self.cap * torch.tanh(logits_LV / self.cap)
