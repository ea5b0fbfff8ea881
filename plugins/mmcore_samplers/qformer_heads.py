"""What a Q-Former's text tower has besides its layers: words in and out, and a temperature.

Letters: F width of the layers, R words in a row, V vocabulary.
"""

from __future__ import annotations

import torch
from torch import nn
from torch.nn.functional import cross_entropy, gelu, linear

TEMPERATURE = 0.07
"""What BLIP-2's starts from."""


class WordEmbeddings(nn.Embedding):
    """The words' embeddings, and a layer that says which word something is like: one table, and so
    one module, which whoever gathers weights as modules are entered gathers for both."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Ids become their embeddings; what has the width F becomes a score for every word."""
        return linear(x, self.weight) if x.is_floating_point() else super().forward(x)


class CaptionHead(nn.Module):
    """BERT's head for words: a layer, and the words' own embeddings behind it.

    Args:
        width: F.
        vocabulary: V.
        norm_eps: of the norm between the two.
    """

    def __init__(self, width: int, vocabulary: int, norm_eps: float) -> None:
        super().__init__()
        self.dense = nn.Linear(width, width)
        self.norm = nn.LayerNorm(width, eps=norm_eps)
        self.bias = nn.Parameter(torch.zeros(vocabulary))

    def forward(
        self, told_RF: torch.Tensor, words: WordEmbeddings, targets_R: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """``nll_R``, negative log likelihood of the targets, and ``spread_R``, its mean over all
        words, were each of them the target; float32."""
        scores_RV = words(self.norm(gelu(self.dense(told_RF)))).float() + self.bias
        nll_R = cross_entropy(scores_RV, targets_R, reduction="none")
        return nll_R, scores_RV.logsumexp(dim=1) - scores_RV.mean(dim=1)


class Temperature(nn.Module):
    """A learned number that likeness is divided by."""

    def __init__(self) -> None:
        super().__init__()
        self.value = nn.Parameter(torch.full((1,), TEMPERATURE))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x / self.value.to(x.dtype)
