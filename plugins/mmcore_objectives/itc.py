"""Image-text contrast over the pairs of a whole step (BLIP-2's first objective).

Letters: B pairs of a pack, M pairs of a step, C candidates of a pair, Q queries of a picture, X
width in which pictures and texts are compared.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import torch

from mmcore.interfaces import Forward, PackedBatch
from mmcore_objectives import likeness
from mmcore_objectives.pairs import PICTURE, TEXT, WORDS, contrast_of, pairs_in, seen_of

TO_PICTURE: Final = "itc/to_picture_BQX"
TO_TEXT: Final = "itc/to_text_BX"
LOSS: Final = "itc/loss_B"
RIGHT: Final = "itc/right_B"
CANDIDATES: Final = "itc/candidates_B"
"""What the comparison says of a pack: the loss's gradient with respect to its pictures and texts,
its pairs' losses, in which share of the two directions the own partner is the likeliest, and among
how many."""


class ImageTextContrast:
    """A picture is to be more like its own text than like those of other pairs, and the other way
    round (BLIP-2, arXiv:2301.12597, section 3.1).

    Every picture is compared with the texts of so many pairs of the step, its own and those that
    follow it in the order of the data, from the last on with the first; every text with the
    pictures of as many that go before. A pair with the very same text is no negative, and left out.

    Args:
        candidates: so many pairs, the own among them; all where the step has fewer.
        label_smoothing: share of the target that is spread over all candidates.
    """

    def __init__(self, candidates: int, label_smoothing: float) -> None:
        self._candidates, self._smoothing = candidates, label_smoothing

    def count(self, batch: PackedBatch) -> float:
        """How many pairs the pack has."""
        return pairs_in(batch)

    def survey(self, forward: Forward, batch: PackedBatch) -> Mapping[str, torch.Tensor]:
        return seen_of(forward, batch)

    def compare(
        self, surveyed: Sequence[Mapping[str, torch.Tensor]], mine: Sequence[int], seed: int
    ) -> Sequence[Mapping[str, torch.Tensor]]:
        if not surveyed:
            return []
        picture_MQX = torch.cat([one[PICTURE] for one in surveyed]).requires_grad_()
        text_MX = torch.cat([one[TEXT] for one in surveyed]).requires_grad_()
        words_M = torch.cat([one[WORDS] for one in surveyed])
        candidates = min(self._candidates, len(words_M))
        with torch.enable_grad():
            like_MC = likeness.of_windows(picture_MQX, text_MX, candidates)
            loss_M, right_M = self._both_ways(like_MC, likeness.same_words(words_M, candidates))
            to_picture_MQX, to_text_MX = torch.autograd.grad(loss_M.sum(), (picture_MQX, text_MX))
        whole = {
            TO_PICTURE: to_picture_MQX,
            TO_TEXT: to_text_MX,
            LOSS: loss_M.detach(),
            RIGHT: right_M,
            CANDIDATES: torch.full_like(right_M, candidates),
        }
        sizes = [len(one[WORDS]) for one in surveyed]
        parts = {name: torch.split(tensor, sizes) for name, tensor in whole.items()}
        return [{name: part[number] for name, part in parts.items()} for number in mine]

    def loss(self, forward: Forward, batch: PackedBatch) -> torch.Tensor:
        """The pairs' losses; their gradient is the whole step's with respect to this pack."""
        picture_BQX, text_BX = contrast_of(forward, batch)
        if LOSS not in batch.aux:
            nothing = (picture_BQX.float().sum() + text_BX.float().sum()) * 0.0
            forward.tell("accuracy", nothing)
            forward.tell("candidates", nothing)
            return nothing
        forward.tell("accuracy", batch.aux[RIGHT].sum())
        forward.tell("candidates", batch.aux[CANDIDATES].sum())
        along_picture = (picture_BQX.float() * batch.aux[TO_PICTURE]).sum()
        along = along_picture + (text_BX.float() * batch.aux[TO_TEXT]).sum()
        return batch.aux[LOSS].sum() + (along - along.detach())

    def _both_ways(
        self, like_MC: torch.Tensor, same_MC: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """``loss_M`` and ``right_M``: the mean of both directions."""
        texts = self._chosen(like_MC, same_MC)
        pictures = self._chosen(likeness.from_texts(like_MC), likeness.from_texts(same_MC))
        return (texts[0] + pictures[0]) / 2, (texts[1] + pictures[1]) / 2

    def _chosen(
        self, like_MC: torch.Tensor, same_MC: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Cross entropy of the own partner, column 0, and whether it is the likeliest."""
        like_MC = like_MC.masked_fill(same_MC, -torch.inf)
        logp_MC = like_MC.log_softmax(dim=1)
        among_M = (~same_MC).sum(dim=1)
        spread_M = logp_MC.masked_fill(same_MC, 0.0).sum(dim=1) / among_M
        loss_M = -(1 - self._smoothing) * logp_MC[:, 0] - self._smoothing * spread_M
        return loss_M, (like_MC.argmax(dim=1) == 0).float()
