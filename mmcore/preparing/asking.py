"""What a model that does not learn makes of pairs: how likely answers are, and answers of its own.

Letters: E LLM width, L labelled positions, S sequences of a pack.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Generic, TypeVar

import attrs
import torch

from mmcore.data.collate import collate
from mmcore.data.prepare import Preparer
from mmcore.data.tokenized import TokenizedSample
from mmcore.interfaces import PackedBatch, Rejection, Tiles
from mmcore.model.vlm import VisionLanguageModel
from mmcore.preparing.noise import noised

Tag = TypeVar("Tag")


@attrs.frozen(eq=False)
class Asked(Generic[Tag]):
    """A sample, and whatever its asker knows it by."""

    sample: TokenizedSample
    tag: Tag


@attrs.frozen
class Said:
    """An answer, and whether it came to the longest length without an end."""

    text: str
    cut: bool


@attrs.frozen(eq=False)
class Reference:
    """A model with everything that it needs to be asked about the pairs of a stage.

    Attributes:
        model: on ``device``.
        preparer: the stage's own.
        device: of the model.
        precision: number format of the matrix products.
        context: tokens that its LLM reads at most, its own answer among them.
    """

    model: VisionLanguageModel
    preparer: Preparer
    device: torch.device
    precision: str
    context: int

    @torch.no_grad()
    def log_probabilities(
        self, pairs: Sequence[Asked[Tag]]
    ) -> Iterator[tuple[Tag, tuple[float, float] | Rejection]]:
        """Of both answers of every pair, in order: the sum over the answer's tokens; or why its
        pictures cannot be seen."""
        for pack in self._packs(pairs):
            readable = []
            for one in pack:
                tiles = self._tiles(one.sample)
                readable.append((one, tiles))
            known = iter(self._summed([(o.sample, t) for o, t in readable if isinstance(t, tuple)]))
            for one, tiles in readable:
                yield one.tag, next(known) if isinstance(tiles, tuple) else tiles

    def answers(
        self, prompts: Sequence[Asked[Tag]], *, step: int, seeds: Sequence[int], longest: int
    ) -> Iterator[tuple[Tag, Said | Rejection]]:
        """What the model says, greedily, where every view is under noise.

        Args:
            prompts: questions.
            step: of the noise.
            seeds: of every question's noise.
            longest: tokens of an answer, at most.
        """
        waiting = iter(seeds)
        for pack in self._packs(prompts):
            mine = [next(waiting) for _ in pack]
            seen = [self._tiles(one.sample) for one in pack]
            shown = [
                (one.sample, tiles, seed)
                for one, tiles, seed in zip(pack, seen, mine, strict=True)
                if isinstance(tiles, tuple)
            ]
            said = iter(self._said(shown, step, longest) if shown else [])
            for one, tiles in zip(pack, seen, strict=True):
                yield one.tag, next(said) if isinstance(tiles, tuple) else tiles

    def _tiles(self, sample: TokenizedSample) -> tuple[Tiles, ...] | Rejection:
        try:
            return self.preparer.realise(sample)
        except Rejection as rejection:
            return rejection

    def _summed(
        self, pairs: Sequence[tuple[TokenizedSample, tuple[Tiles, ...]]]
    ) -> list[tuple[float, float]]:
        if not pairs:
            return []
        batch = self._collated(pairs).to(self.device)
        with self._cast():
            h_TE = self.model.hidden(batch)
            nll_L = self.model.nll(h_TE[batch.label_index_L], batch.targets_L).double()
        total_S = nll_L.new_zeros(len(batch.segments)).index_add(0, batch.label_segment_L, -nll_L)
        sums = total_S.tolist()
        return [(sums[preferred], sums[dispreferred]) for preferred, dispreferred in batch.pairs]

    def _said(
        self,
        prompts: Sequence[tuple[TokenizedSample, tuple[Tiles, ...], int]],
        step: int,
        longest: int,
    ) -> list[Said]:
        clean = self._collated([(sample, tiles) for sample, tiles, _ in prompts])
        pixels = clean.pixels_NCHW
        if clean.views:
            of_each = torch.split(pixels, [sample.views for sample, _, _ in prompts])
            seeds = [seed for _, _, seed in prompts]
            under = [noised(one, step, seed) for one, seed in zip(of_each, seeds, strict=True)]
            pixels = torch.cat(under)
        batch = attrs.evolve(clean, pixels_NCHW=pixels).to(self.device)
        text = self.preparer.text
        with self._cast():
            answers = self.model.generate(batch, max_new_tokens=longest, stop_ids=text.stop_ids)
        return [Said(text.decode(ids).strip(), len(ids) == longest) for ids in answers]

    def _cast(self) -> torch.autocast:
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.precision == "bf16")

    def _collated(self, shown: Sequence[tuple[TokenizedSample, tuple[Tiles, ...]]]) -> PackedBatch:
        return collate(
            [sample for sample, _ in shown],
            [tiles for _, tiles in shown],
            view=self.preparer.view,
            tokens_per_view=self.preparer.tokens_per_view,
            lane=-1,
        )

    def _packs(self, asked: Sequence[Asked[Tag]]) -> Iterator[list[Asked[Tag]]]:
        """In order, as many at once as a pack holds: the same packs whenever it is asked."""
        waiting: list[Asked[Tag]] = []
        for one in asked:
            tokens = sum(other.sample.tokens for other in (*waiting, one))
            views = sum(other.sample.views for other in (*waiting, one))
            full = tokens > self.preparer.max_tokens or views > self.preparer.max_views
            if waiting and full:
                yield waiting
                waiting = []
            waiting.append(one)
        if waiting:
            yield waiting
