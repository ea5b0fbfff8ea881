"""Direct preference optimisation: preferred answers become likelier, against a reference.

Letters: S samples of the pack, B preference pairs.
"""

from __future__ import annotations

import torch
from torch.nn.functional import logsigmoid

from mmcore.interfaces import Forward, PackedBatch, Segment
from mmcore_objectives.answers import log_likelihoods, pairs_of
from mmcore_objectives.frozen_spec import DATA


class MissingReferenceError(ValueError):
    """A pair does not carry the log-probabilities that it was to carry."""


class Dpo:
    """The loss of Rafailov et al. (arXiv:2305.18290), summed over pairs.

    Args:
        beta: how dear it is to leave the reference.
        label_smoothing: chance that a pair's answers are the wrong way round (cDPO).
        reference: "data", or the name of a model that does not learn.
    """

    def __init__(self, *, beta: float, label_smoothing: float, reference: str) -> None:
        self._beta, self._smoothing, self._reference = beta, label_smoothing, reference

    def count(self, batch: PackedBatch) -> float:
        """How many pairs there are.

        Raises:
            MissingReferenceError: one of them carries no reference, and all are to carry one.
        """
        if self._reference == DATA:
            for numbers in batch.pairs:
                for number in numbers:
                    _carried(batch.segments[number])
        return float(len(batch.pairs))

    def loss(self, forward: Forward, batch: PackedBatch) -> torch.Tensor:
        """Their summed losses; zero, but of the same graph, where there are none.

        Returns:
            a float32 scalar.
        """
        known_S = self._of_reference(forward, batch)
        gained_S = log_likelihoods(forward, batch) - known_S.to(batch.targets_L.device)
        preferred_B, dispreferred_B = gained_S[pairs_of(batch, gained_S.device)].unbind(1)
        margin_B = self._beta * (preferred_B - dispreferred_B)
        forward.tell("reward-preferred", self._beta * preferred_B.sum())
        forward.tell("reward-dispreferred", self._beta * dispreferred_B.sum())
        forward.tell("margin", margin_B.sum())
        forward.tell("accuracy", (margin_B > 0).sum())
        kept_B = (1.0 - self._smoothing) * logsigmoid(margin_B)
        swapped_B = self._smoothing * logsigmoid(-margin_B)
        return -(kept_B + swapped_B).sum().float()

    def _of_reference(self, forward: Forward, batch: PackedBatch) -> torch.Tensor:
        """``total_S`` of the reference; of samples that are no pair, it may be anything."""
        if self._reference == DATA:
            known = [one.reference or 0.0 for one in batch.segments] or [0.0]
            return torch.tensor(known, dtype=torch.float64)
        # First, so that nothing of the graph waits while the reference is asked.
        with forward.frozen(self._reference) as frozen:
            return log_likelihoods(frozen, batch)


def _carried(segment: Segment) -> None:
    if segment.reference is None:
        raise MissingReferenceError(
            f"{segment.key}: the pair carries no log-probabilities of a reference, and the "
            f'objective reads them (reference = "{DATA}"); `mmcore data prepare-dpo` computes them'
        )
