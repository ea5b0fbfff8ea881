"""The output layer: logits for generation, chunked log likelihoods and divergences for training.

Letters: L labelled positions, E LLM width, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from torch import nn
from torch.nn.functional import cross_entropy, kl_div, linear
from torch.utils.checkpoint import checkpoint

from mmcore.interfaces import Teacher


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

    def forward(
        self,
        h_LE: torch.Tensor,
        targets_L: torch.Tensor | None = None,
        *,
        teacher: Teacher | None = None,
    ) -> torch.Tensor:
        """``h_LE -> logits_LV``, with targets ``nll_L``, or with a teacher ``kl_L`` (float32)."""
        if teacher is not None:
            assert targets_L is None, "either targets or a teacher"
            return self._chunked(partial(self._divergence, teacher), h_LE, teacher.h_LE)
        if targets_L is None:
            return self._capped(super().forward(h_LE))
        return self._chunked(self._nll, h_LE, targets_L)

    def _chunked(
        self,
        asked: Callable[[torch.Tensor, torch.Tensor], torch.Tensor],
        h_LE: torch.Tensor,
        other_L: torch.Tensor,
    ) -> torch.Tensor:
        chunks = zip(torch.split(h_LE, self.rows), torch.split(other_L, self.rows), strict=True)
        return torch.cat(
            [
                checkpoint(  # no dropout inside: there is no random state to keep
                    asked, h, other, use_reentrant=False, preserve_rng_state=False
                )
                for h, other in chunks
            ]
        )

    def _nll(self, h_LE: torch.Tensor, targets_L: torch.Tensor) -> torch.Tensor:
        return cross_entropy(self._logits(h_LE), targets_L, reduction="none")

    def _logits(self, h_LE: torch.Tensor) -> torch.Tensor:
        return self._capped(linear(h_LE, self.weight, self.bias).float())

    def _divergence(
        self, teacher: Teacher, h_LE: torch.Tensor, taught_LE: torch.Tensor
    ) -> torch.Tensor:
        own_LV = self._logits(h_LE) / teacher.temperature
        with torch.no_grad():
            taught_LV = (teacher.logits or self._logits)(taught_LE).float() / teacher.temperature
        # Two layers of one vocabulary may be filled up with rows of no token to different sizes.
        rows = min(own_LV.shape[-1], taught_LV.shape[-1])
        own_LV, taught_LV = (one[:, :rows].log_softmax(-1) for one in (own_LV, taught_LV))
        return kl_div(own_LV, taught_LV, reduction="none", log_target=True).sum(-1)

    def _capped(self, logits_LV: torch.Tensor) -> torch.Tensor:
        return logits_LV if self.cap is None else self.cap * torch.tanh(logits_LV / self.cap)
