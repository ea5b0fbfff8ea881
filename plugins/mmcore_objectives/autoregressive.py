"""Next-token prediction over the labelled positions of a pack.

Letters: T packed tokens, E LLM width, L labelled positions.
"""

from __future__ import annotations

import torch

from mmcore.interfaces import Forward, PackedBatch


class Autoregressive:
    """The negative log likelihood of the learned tokens (BLIP-3, arXiv:2408.08872, section 3)."""

    def count(self, batch: PackedBatch) -> float:
        """How many tokens are learned."""
        return float(batch.labels)

    def loss(self, forward: Forward, batch: PackedBatch) -> torch.Tensor:
        """Their summed negative log likelihood; zero, but of the same graph, where there are none.

        Returns:
            a float32 scalar.
        """
        h_TE = forward.hidden(batch)
        nll_L = forward.nll(h_TE[batch.label_index_L], batch.targets_L)
        return (nll_L * batch.label_weight_L).sum()
