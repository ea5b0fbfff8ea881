"""Distillation: the model's predictions are drawn towards those of one that does not learn.

Letters: T packed tokens, E LLM width, L labelled positions.
"""

from __future__ import annotations

import torch

from mmcore.interfaces import Forward, PackedBatch, Teacher


class KlDistill:
    """``KL(teacher || student)`` over the vocabulary at the learned positions, times the
    temperature's square, so that its gradient is as large at any (Hinton, arXiv:1503.02531).

    Args:
        teacher: name of the model that does not learn.
        temperature: by which both models' logits are divided.
    """

    def __init__(self, *, teacher: str, temperature: float) -> None:
        self._teacher, self._temperature = teacher, temperature

    def count(self, batch: PackedBatch) -> float:
        """How many positions are learned."""
        return float(batch.labels)

    def loss(self, forward: Forward, batch: PackedBatch) -> torch.Tensor:
        """Their summed divergences; zero, but of the same graph, where there are none.

        Returns:
            a float32 scalar.
        """
        with forward.frozen(self._teacher) as frozen:
            taught_LE = frozen.hidden(batch)[batch.label_index_L]
        h_LE = forward.hidden(batch)[batch.label_index_L]
        teacher = Teacher(taught_LE, temperature=self._temperature)
        kl_L = forward.divergence(h_LE, teacher, self._teacher)
        return (kl_L * batch.label_weight_L).sum() * self._temperature**2
