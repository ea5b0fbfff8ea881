"""The same model run the usual way, to compare with: padded, masked, logits of every position.

Letters: T packed tokens, B sequences of a pack, J length of the longest, E LLM width, V vocabulary,
L labelled positions.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.nn.functional import cross_entropy
from torch.nn.utils.rnn import pad_sequence
from transformers import DynamicCache

from mmcore.benchmarks.clock import Clock
from mmcore.interfaces import IGNORE, ExtendingLLM, PackedBatch
from mmcore.model.vlm import VisionLanguageModel


class TwoWayModel(VisionLanguageModel):
    """A model that runs a pack either as training does or, while ``padded`` is set, the usual way:

    every sequence is filled up to the longest, attention is told by a mask what not to see, and the
    logits of all positions are made at once. Encoder, token sampler, weights and loss are the same.

    Args:
        model: whose parts are taken over, not copied.
        clock: told when each of them has ended.
    """

    def __init__(self, model: VisionLanguageModel, clock: Clock) -> None:
        super().__init__(model.encoder, model.token_sampler, model.llm)
        self.padded = False
        self._clock = clock
        self._losses_L: torch.Tensor | None = None
        self.encoder.register_forward_hook(lambda *_: clock.mark("encode"))
        self.token_sampler.register_forward_hook(lambda *_: clock.mark("sample"))

    def hidden(self, batch: PackedBatch, features_NPD: torch.Tensor | None = None) -> torch.Tensor:
        """``h_TE``, whichever way it is made."""
        if self.padded:
            assert features_NPD is None, "one objective alone is timed"
            h_BJE, starts = self._padded_hidden(batch)
            self._clock.mark("decode")
            self._losses_L = self._padded_nll(h_BJE, batch, starts)
            h_TE = torch.cat([h[at:] for h, at in zip(h_BJE, starts, strict=True)])
        else:
            h_TE = super().hidden(batch, features_NPD)
            self._clock.mark("decode")
        return h_TE

    def nll(self, h_LE: torch.Tensor, targets_L: torch.Tensor) -> torch.Tensor:
        """``nll_L``; the usual way has made them of all positions already."""
        if self.padded:
            assert self._losses_L is not None
            nll_L, self._losses_L = self._losses_L, None
            assert nll_L.shape == targets_L.shape, "the losses of one call of `hidden`, once"
        else:
            nll_L = super().nll(h_LE, targets_L)
        self._clock.mark("head")
        return nll_L

    def _padded_hidden(self, batch: PackedBatch) -> tuple[torch.Tensor, list[int]]:
        """``h_BJE``, and where each sequence starts in its row."""
        rows = torch.split(self._spliced(batch), list(batch.lengths))
        x_BJE = pad_sequence(list(rows), batch_first=True, padding_side="left")
        starts = [x_BJE.shape[1] - length for length in batch.lengths]
        places_J = torch.arange(x_BJE.shape[1], device=x_BJE.device)
        mask_BJ = places_J >= torch.tensor(starts, device=x_BJE.device)[:, None]
        llm: Any = self.llm
        return llm.extend(x_BJE, mask_BJ, _Forgetful()), starts

    def _padded_nll(
        self, h_BJE: torch.Tensor, batch: PackedBatch, starts: list[int]
    ) -> torch.Tensor:
        before = torch.tensor(starts, device=h_BJE.device)
        lengths = torch.tensor(batch.lengths, device=h_BJE.device)
        rows_T = torch.repeat_interleave(torch.arange(len(starts), device=h_BJE.device), lengths)
        place_T = rows_T * h_BJE.shape[1] + before[rows_T] + batch.position_ids_T
        labelled_L = place_T[batch.label_index_L]
        targets_X = torch.full_like(h_BJE[..., 0].flatten(), IGNORE, dtype=torch.int64)
        targets_X[labelled_L] = batch.targets_L
        head: nn.Module = self._llm.head  # type: ignore[assignment]  # a module by its contract
        logits_XV = head(h_BJE).flatten(0, 1).float()
        losses_X = cross_entropy(logits_XV, targets_X, ignore_index=IGNORE, reduction="none")
        return losses_X[labelled_L]


class _Forgetful(DynamicCache):
    """Nothing is asked twice in training: keys and values pass through, uncopied."""

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, *_: object, **__: object
    ) -> tuple[torch.Tensor, torch.Tensor]:
        return key_states, value_states


def check_paddable(model: VisionLanguageModel) -> None:
    """
    Raises:
        ValueError: the LLM cannot run left-padded sequences.
    """
    if not isinstance(model.llm, ExtendingLLM):
        raise ValueError(
            f"{type(model.llm).__name__} has no method `extend`, by which padded sequences run; "
            "leave out --baseline padded"
        )


def padded_positions(batch: PackedBatch) -> int:
    """How many positions the usual way computes for a pack, its padding included."""
    return len(batch.lengths) * max(batch.lengths)
