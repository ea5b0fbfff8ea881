"""Image-text matching with hard negatives of a whole step (BLIP-2's second objective).

Letters: B pairs of a pack, M pairs of a step, S pairs of a block, R rows of a picture beside a
text, W tokens of a text.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import torch
from torch.nn.functional import cross_entropy, pad

from mmcore.interfaces import MATCH, Forward, PackedBatch
from mmcore_objectives import likeness
from mmcore_objectives.pairs import PICTURE, TEXT, WORDS, pairs_in, pairs_of, seen_of

IDS, MASK, VIEW = "itm/ids_BW", "itm/mask_BW", "itm/view_B"
"""What is surveyed besides: the texts, which travel to the pictures, and where these are."""

ROW_VIEW: Final = "itm/view_R"
ROW_IDS: Final = "itm/ids_RW"
ROW_MASK: Final = "itm/mask_RW"
ROW_MATCH: Final = "itm/match_R"
ROW_WEIGHT: Final = "itm/weight_R"
"""What the comparison says of a pack: which picture stands beside which text, whether the text is
its own, and whether the row counts."""

TERMS = 3
"""Of every pair: itself, its picture with a wrong text, its text with a wrong picture."""

UNLIKELY = 1e-4
"""Added to every probability, so that no negative is impossible."""

BLOCK = 256
"""So many draws at a time: their chances are added up in double precision."""


class ImageTextMatching:
    """Whether a text is that of a picture, for every pair and two hard negatives of it (BLIP-2,
    arXiv:2301.12597, section 3.1).

    A wrong text is drawn for every picture, and a wrong picture for every text, among all pairs of
    the step whose text is another, the more often the more alike the two are. The picture's pack
    computes both; of other packs only texts are needed. In a step all of whose texts are the same
    there is no wrong one, and nothing is taught: to say yes always would be learned.
    """

    def count(self, batch: PackedBatch) -> float:
        """Three terms for every pair of the pack."""
        return TERMS * pairs_in(batch)

    def survey(self, forward: Forward, batch: PackedBatch) -> Mapping[str, torch.Tensor]:
        pairs = pairs_of(batch)
        seen = seen_of(forward, batch)
        return {**seen, IDS: pairs.ids_BW, MASK: pairs.mask_BW, VIEW: pairs.view_B}

    def compare(
        self, surveyed: Sequence[Mapping[str, torch.Tensor]], mine: Sequence[int], seed: int
    ) -> Sequence[Mapping[str, torch.Tensor]]:
        if not surveyed:
            return []
        texts_M, pictures_M = _negatives(surveyed, seed)
        ids_MW, mask_MW = (_stacked([one[name] for one in surveyed]) for name in (IDS, MASK))
        sizes = [len(one[WORDS]) for one in surveyed]
        answers = []
        for number in mine:
            start, rows = sum(sizes[:number]), sizes[number]
            place_R, text_R = _rows(start, rows, texts_M, pictures_M)
            device = ids_MW.device
            match_R = (place_R == text_R).long()
            taught = float(texts_M is not None)
            answers.append(
                {
                    ROW_VIEW: surveyed[number][VIEW][(place_R - start).to(device)],
                    ROW_IDS: ids_MW[text_R.to(device)],
                    ROW_MASK: mask_MW[text_R.to(device)],
                    ROW_MATCH: match_R.to(device),
                    ROW_WEIGHT: torch.full(match_R.shape, taught, device=device),
                }
            )
        return answers

    def loss(self, forward: Forward, batch: PackedBatch) -> torch.Tensor:
        """The rows' summed cross entropy."""
        view_R, ids_RW, mask_RW, match_R, weight_R = _told(batch)
        (logits_R2,) = forward.provided(MATCH, batch, view_R, ids_RW, mask_RW)
        loss_R = cross_entropy(logits_R2.float(), match_R, reduction="none")
        right_R = (logits_R2.argmax(dim=1) == match_R).float()
        forward.tell("accuracy", (right_R * weight_R).sum())
        return (loss_R * weight_R).sum()


def _told(batch: PackedBatch) -> tuple[torch.Tensor, ...]:
    """The rows that the comparison wants, or, of a pack that it says nothing of, as many as it
    would on average, without weight."""
    if ROW_VIEW in batch.aux:
        names = ROW_VIEW, ROW_IDS, ROW_MASK, ROW_MATCH, ROW_WEIGHT
        return tuple(batch.aux[name] for name in names)
    pairs = pairs_of(batch)
    view_R = pairs.view_B.repeat(TERMS)
    ids_RW, mask_RW = pairs.ids_BW.repeat(TERMS, 1), pairs.mask_BW.repeat(TERMS, 1)
    return view_R, ids_RW, mask_RW, torch.ones_like(view_R), 0.0 * pairs.weight_B.repeat(TERMS)


def _negatives(
    surveyed: Sequence[Mapping[str, torch.Tensor]], seed: int
) -> tuple[torch.Tensor, torch.Tensor] | tuple[None, None]:
    """Which text is drawn for every picture, and which picture for every text, on the CPU: the draw
    depends neither on the device nor on how many there are. None where all texts are the same."""
    picture_MQX, text_MX, words_M = (
        torch.cat([one[name] for one in surveyed]) for name in (PICTURE, TEXT, WORDS)
    )
    like_MM = likeness.of_all(picture_MQX, text_MX).cpu()
    words_M = words_M.cpu()
    if (words_M == words_M[0]).all():
        return None, None
    draw = torch.Generator().manual_seed(seed)
    texts_M = _drawn(like_MM, words_M, draw)
    return texts_M, _drawn(like_MM.T, words_M, draw)


def _drawn(like_MM: torch.Tensor, words_M: torch.Tensor, draw: torch.Generator) -> torch.Tensor:
    """One column of every row, in proportion to the likeness' softmax, and never one of the same
    words. Where a likeness is no number, the loss will be none either; that is told after the step,
    and until then all others are as likely."""
    drawn = []
    blocks = zip(torch.split(like_MM, BLOCK), torch.split(words_M, BLOCK), strict=True)
    for like_SM, words_S in blocks:
        chance_SM = like_SM.softmax(dim=1).nan_to_num(nan=0.0).add_(UNLIKELY)
        chance_SM.masked_fill_(words_S[:, None] == words_M, 0.0)
        up_to_SM = chance_SM.cumsum(dim=1, dtype=torch.float64)
        point_S1 = torch.rand(len(words_S), 1, dtype=torch.float64, generator=draw)
        # Where nothing may be drawn the sum does not grow, and so is not the first beyond a point.
        point_S1 *= up_to_SM[:, -1:]
        drawn.append(torch.searchsorted(up_to_SM, point_S1, right=True)[:, 0])
    return torch.cat(drawn)


def _rows(
    start: int, rows: int, texts_M: torch.Tensor | None, pictures_M: torch.Tensor | None
) -> tuple[torch.Tensor, torch.Tensor]:
    """Pictures of the pack that begins at ``start``, and the texts beside them: the own, the drawn,
    and those that drew one of its pictures."""
    own_B = torch.arange(start, start + rows)
    if texts_M is None or pictures_M is None:
        return own_B, own_B
    here = (pictures_M >= start) & (pictures_M < start + rows)
    drew = here.nonzero()[:, 0]
    return torch.cat([own_B, own_B, pictures_M[drew]]), torch.cat([own_B, texts_M[own_B], drew])


def _stacked(parts: Sequence[torch.Tensor]) -> torch.Tensor:
    """Rows of all packs, filled up to the longest text."""
    longest = max(part.shape[1] for part in parts)
    return torch.cat([pad(part, (0, longest - part.shape[1])) for part in parts])
