"""The examples of a workload as packs of a stage: cut, tokenised and bounded as in training.

Letters: C/H/W channels, height, width of a picture.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import attrs
import numpy as np
from PIL import Image

from mmcore.assemble import pair_texts
from mmcore.benchmarks.workload import PICTURE, Example, Workload, made_up_examples
from mmcore.data.collate import collate
from mmcore.data.pair_texts import PairTexts, paired
from mmcore.data.tokenized import PlannedPicture, TokenizedSample
from mmcore.interfaces import ImageRef, PackedBatch, SampleKey, TilerSpec, Tiles, ViewFormat
from mmcore.recipe import Recipe, Stage


@attrs.frozen
class Packer:
    """What turns examples into packs.

    Attributes:
        tiler: cuts pictures.
        view: that the encoder wants.
        tokens_per_view: that the token sampler makes.
        image_id: stands where a picture's tokens go.
        max_tokens, max_views: bounds of a pack; None: a step is one pack, however large.
        pair_texts: how the texts of pictures are read, where the stage's packs carry them; an
            example with one picture in one view then has as long a text as there can be.
    """

    tiler: TilerSpec
    view: ViewFormat
    tokens_per_view: int
    image_id: int
    max_tokens: int | None = None
    max_views: int | None = None
    pair_texts: PairTexts | None = None

    def packs(self, examples: Iterable[Example]) -> list[PackedBatch]:
        """The examples in order, a new pack wherever the last one is full.

        Raises:
            ValueError: an example alone is larger than a pack.
        """
        return [self._collated(group) for group in self._groups(map(self._planned, examples))]

    def fill(self, examples: Iterator[Example]) -> list[Example]:
        """Examples until the next one does not fit a pack; what cannot fit any is left out."""
        taken: list[Example] = []
        tokens = views = 0
        while True:
            sample = self._planned(example := next(examples))
            if not self._fits(sample.tokens, sample.views):
                continue
            tokens, views = tokens + sample.tokens, views + sample.views
            if not self._fits(tokens, views):
                return taken
            taken.append(example)

    def _groups(self, samples: Iterable[TokenizedSample]) -> Iterator[list[TokenizedSample]]:
        group: list[TokenizedSample] = []
        for sample in samples:
            if not self._fits(sample.tokens, sample.views):
                raise ValueError(
                    f"{sample.key} has {sample.tokens} tokens and {sample.views} views, a pack of "
                    f"this stage holds {self.max_tokens} and {self.max_views}; raise "
                    "batch.max_tokens and batch.max_views"
                )
            if not self._fits(
                sum(one.tokens for one in [*group, sample]),
                sum(one.views for one in [*group, sample]),
            ):
                yield group
                group = []
            group.append(sample)
        if group:
            yield group

    def _fits(self, tokens: int, views: int) -> bool:
        return (self.max_tokens is None or tokens <= self.max_tokens) and (
            self.max_views is None or views <= self.max_views
        )

    def _planned(self, example: Example) -> TokenizedSample:
        ids: list[int] = []
        learned: list[bool] = []
        pictures = []
        plans = iter([self.tiler.plan(*size, self.view) for size in example.sizes])
        for number, one in enumerate(example.ids):
            if one == PICTURE:
                plan = next(plans)
                pictures.append(PlannedPicture(ImageRef(), plan, start=len(ids)))
                ids += [self.image_id] * (plan.groups * self.tokens_per_view)
                learned += [False] * (plan.groups * self.tokens_per_view)
            else:
                ids.append(one)
                learned.append(number >= example.prompt)
        sample = TokenizedSample(
            key=SampleKey("workload", "", hash(example.ids) & 0xFFFF),
            input_ids_T=np.array(ids, dtype=np.int64),
            learned_T=np.array(learned, dtype=np.bool_),
            pictures=tuple(pictures),
            ends=None,
            document=False,
        )
        return paired(sample, self.pair_texts.longest if self.pair_texts else ())

    def _collated(self, samples: Sequence[TokenizedSample]) -> PackedBatch:
        return collate(
            samples,
            [[self._cut(n, one) for n, one in enumerate(sample.pictures)] for sample in samples],
            view=self.view,
            tokens_per_view=self.tokens_per_view,
            lane=0,
            pair_texts=self.pair_texts,
        )

    def _cut(self, number: int, picture: PlannedPicture) -> Tiles:
        plan = picture.plan
        return self.tiler.cut(drawn(plan.width, plan.height, number), plan, self.view)


def drawn(width: int, height: int, number: int) -> Image.Image:
    """A picture that needs no file: slopes in every channel under a board of 8 x 8 squares.

    The formula is that of the reference numbers, so that the same workload has the same pixels.
    """
    x_W, y_H1, c_C = np.arange(width), np.arange(height)[:, None], np.arange(3)
    board_HW = 64 * ((x_W // 8 + y_H1 // 8) % 2)
    slopes_HWC = x_W[None, :, None] * (3 + c_C) + y_H1[..., None] * (5 + 2 * c_C)
    values_HWC = slopes_HWC + board_HW[..., None] + 31 * c_C + 17 * number
    return Image.fromarray((values_HWC % 256).astype(np.uint8))


def packer(recipe: Recipe, stage: Stage, *, bounded: bool) -> Packer:
    """A stage's packer, with or without its bounds.

    Raises:
        WeightsError: a tokenizer's files are missing.
    """
    view = recipe.model.encoder.view
    return Packer(
        tiler=stage.tiler,
        view=view,
        tokens_per_view=recipe.model.token_sampler.tokens_per_view(view.grid),
        image_id=recipe.model.llm.text().image_id,
        max_tokens=stage.batch.max_tokens if bounded else None,
        max_views=stage.batch.max_views if bounded else None,
        pair_texts=pair_texts(recipe.model, stage),
    )


def made_up_workload(recipe: Recipe, stage: Stage, *, steps: int, packs: int) -> Workload:
    """Steps of ``packs`` full packs each, at the stage's true sizes, and one more to warm up."""
    packing = packer(recipe, stage, bounded=True)
    examples = made_up_examples(
        recipe.seed,
        largest_id=packing.image_id - 1,
        side=packing.view.size,
        longest=max(16, stage.batch.max_tokens // 2),
    )
    made = [
        tuple(one for _ in range(packs) for one in packing.fill(examples)) for _ in range(steps + 1)
    ]
    return Workload("made up", tuple(made), warmup=1)
