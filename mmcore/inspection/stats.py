"""Distributions over the first samples of a stage: lengths, views, pictures, what is learned."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import attrs

from mmcore.inspection.check import Step
from mmcore.inspection.mixture import Mixture, ShareFindings, mix
from mmcore.inspection.stages import Look, StageData

QUANTITIES = ("tokens", "views", "pictures", "learned")
"""What is measured of every sample; ``learned`` is a share of its tokens, 0 to 1."""


@attrs.frozen
class Measured:
    """Values of some samples, one for each in every list.

    Attributes:
        label: of the source they come from.
        tokens, views, pictures, learned: see ``QUANTITIES``.
        shrunk, split, truncated: samples to which that happened; pieces of a document each count.
    """

    label: str
    tokens: tuple[int, ...]
    views: tuple[int, ...]
    pictures: tuple[int, ...]
    learned: tuple[float, ...]
    shrunk: int
    split: int
    truncated: int

    @property
    def samples(self) -> int:
        return len(self.tokens)

    def values(self, quantity: str) -> Sequence[float]:
        """The values of one of ``QUANTITIES``."""
        found: Sequence[float] = getattr(self, quantity)
        return found


@attrs.frozen
class StageStats:
    """A stage's samples in numbers.

    Attributes:
        name: of the stage.
        max_tokens, max_views: what a pack holds.
        sources: by source, in the recipe's order; one may have no sample among so few.
        shares: of every source, wanted and drawn.
        token_fills, view_fills: how full each pack is, 0 to 1.
        rejected: rows that were left out on the way.
    """

    name: str
    max_tokens: int
    max_views: int
    sources: tuple[Measured, ...]
    shares: tuple[ShareFindings, ...]
    token_fills: tuple[float, ...]
    view_fills: tuple[float, ...]
    rejected: int

    @property
    def samples(self) -> int:
        return sum(one.samples for one in self.sources)

    def most(self, quantity: str) -> float:
        """The largest value of one of ``QUANTITIES`` over all sources."""
        return max((max(one.values(quantity), default=0) for one in self.sources), default=0)

    def to_json(self) -> dict[str, Any]:
        """Everything as plain values, distributions in tenths."""
        return {
            "name": self.name,
            "samples": self.samples,
            "rejected": self.rejected,
            "packs": len(self.token_fills),
            "token_fill": deciles(self.token_fills),
            "view_fill": deciles(self.view_fills),
            "sources": [
                {
                    **attrs.asdict(share),
                    "samples": one.samples,
                    "shrunk": one.shrunk,
                    "split": one.split,
                    "truncated": one.truncated,
                    **{name: deciles(one.values(name)) for name in QUANTITIES},
                }
                for one, share in zip(self.sources, self.shares, strict=True)
            ],
        }


def work(look: Look, samples: int) -> int:
    """Samples that the statistics go through."""
    return samples * len(look.stages)


def stats(look: Look, samples: int, on_step: Step = lambda what, count: None) -> list[StageStats]:
    """The packs that hold the first ``samples`` of every stage, as training draws them; pictures
    are not decoded.

    Raises:
        EmptySource, DataFault: as in training.
    """
    return [_stage(look, data, samples, on_step) for data in look.stages]


def deciles(values: Sequence[float]) -> list[float]:
    """Eleven values: least, the tenths between, most; none of nothing."""
    ordered = sorted(values)
    last = len(ordered) - 1
    return [ordered[round(last * tenth / 10)] for tenth in range(11)] if ordered else []


def histogram(values: Sequence[float], most: float, bins: int) -> list[int]:
    """How many values fall into each of so many equal parts of 0 to ``most``."""
    counts = [0] * bins
    for value in values:
        counts[min(bins - 1, int(bins * value / most)) if most else 0] += 1
    return counts


def _stage(look: Look, data: StageData, samples: int, on_step: Step) -> StageStats:
    for _, spec in data.sources:
        if spec.synthetic is not None:
            on_step(f"{data.stage.name}: making up rows", 0)
            spec.synthesize(spec.folder, spec.synthetic)
    what = f"{data.stage.name}: packs"
    mixed = mix(data, look.recipe.data, data.sources, samples, lambda count: on_step(what, count))
    return StageStats(
        name=data.stage.name,
        max_tokens=mixed.max_tokens,
        max_views=mixed.max_views,
        sources=tuple(_measured(label, mixed) for label, _ in data.sources),
        shares=tuple(mixed.shares),
        token_fills=tuple(mixed.token_fills),
        view_fills=tuple(mixed.view_fills),
        rejected=len(mixed.rejected),
    )


def _measured(label: str, mixed: Mixture) -> Measured:
    mine = [one for one in mixed.samples if one.key.source == label]
    return Measured(
        label=label,
        tokens=tuple(one.tokens for one in mine),
        views=tuple(one.views for one in mine),
        pictures=tuple(len(one.pictures) for one in mine),
        learned=tuple(one.labels / one.tokens for one in mine),
        shrunk=sum(one.shrunk for one in mine),
        split=sum(one.pieces > 1 for one in mine),
        truncated=sum(one.truncated for one in mine),
    )
