"""What the first samples of a stage look like, and whether anything about them is wrong.

Letters: T tokens of a sample.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from statistics import median

import attrs
import numpy as np

from mmcore.data.lane_state import LaneSettings
from mmcore.data.planned import plan_packs
from mmcore.data.prepare import Preparer
from mmcore.data.tokenized import TokenizedSample
from mmcore.interfaces import SourceSpec

PICTURE_TEXTS = "pairs of a picture and its text"
NO_PICTURE_TEXTS = (
    "none of {} samples shows exactly one picture, in one view, with words beside it: objectives "
    "that learn from a picture and its text have nothing to learn; leave them out of the stage, or "
    "add a source that has such samples"
)


@attrs.frozen
class Spread:
    """Least, middle and greatest of some numbers."""

    least: float
    middle: float
    most: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        return cls(min(values), median(values), max(values)) if values else cls(0, 0, 0)

    def __str__(self) -> str:
        return f"{self.least:g} / {self.middle:g} / {self.most:g}"


@attrs.frozen
class Audit:
    """Findings over the first packs of a few lanes.

    Attributes:
        samples, packs: how many were looked at; a split document counts once for every piece.
        pairs: how many of the samples are preference pairs.
        picture_texts: how many are a picture and its text; None where no objective wants such.
        tokens, views: of a sample: least, middle, most.
        token_fill, view_fill: how full the packs are, 0 to 1: least, middle, most.
        learned_share: learned tokens of all tokens.
        sources: samples of each source.
        counts: what happened to rows: ``drawn/LABEL``, ``shrunk``, ``split``, ``truncated``,
            ``rejected`` and so on.
        faults: what must not be, with the sample's key where it is a sample's.
    """

    samples: int
    packs: int
    pairs: int
    picture_texts: int | None
    tokens: Spread
    views: Spread
    token_fill: Spread
    view_fill: Spread
    learned_share: float
    sources: dict[str, int]
    counts: dict[str, float]
    faults: tuple[str, ...]

    def violations(self) -> list[str]:
        """What must not be; empty for sound data."""
        return list(self.faults)

    def lines(self) -> list[str]:
        """The findings in words, for printing."""
        sources = ", ".join(f"{label} {count}" for label, count in self.sources.items())
        events = ", ".join(f"{name} {count:g}" for name, count in sorted(self.counts.items()))
        return [
            f"{self.samples} samples in {self.packs} packs: {sources}",
            *([f"preference pairs: {self.pairs}"] if self.pairs else []),
            *([] if self.picture_texts is None else [f"{PICTURE_TEXTS}: {self.picture_texts}"]),
            f"learned tokens: {self.learned_share:.1%}",
            f"tokens of a sample (least / median / most): {self.tokens}",
            f"views of a sample (least / median / most): {self.views}",
            f"fill of a pack, tokens: {_percent(self.token_fill)}",
            f"fill of a pack, views: {_percent(self.view_fill)}",
            f"rows: {events}",
            *(f"FAULT {fault}" for fault in self.faults),
        ]

    def to_json(self) -> str:
        return json.dumps(attrs.asdict(self), sort_keys=True)


def audit(
    sources: Sequence[tuple[str, SourceSpec]], settings: LaneSettings, samples: int = 200
) -> Audit:
    """Plan the first packs of the first lanes, as training will, without decoding a picture.

    Args:
        sources: label and spec of every source.
        settings: as the loader has them.
        samples: how many samples to look at, at least.

    Raises:
        EmptySource, DataFault: as the loader would.
    """
    planned = plan_packs(sources, settings, samples)
    return summarise(planned.packs, settings.preparer, planned.counts)


def summarise(
    packs: Sequence[Sequence[TokenizedSample]], preparer: Preparer, counts: Mapping[str, int]
) -> Audit:
    """The findings over planned packs."""
    samples = [sample for pack in packs for sample in pack]
    tokens = sum(sample.tokens for sample in samples)
    picture_texts = sum(bool(one.pair) for one in samples) if preparer.pair_texts else None
    return Audit(
        samples=len(samples),
        packs=len(packs),
        pairs=sum(sample.dispreferred is not None for sample in samples),
        picture_texts=picture_texts,
        tokens=Spread.of([sample.tokens for sample in samples]),
        views=Spread.of([sample.views for sample in samples]),
        token_fill=_fill([[one.tokens for one in pack] for pack in packs], preparer.max_tokens),
        view_fill=_fill([[one.views for one in pack] for pack in packs], preparer.max_views),
        learned_share=sum(sample.labels for sample in samples) / max(tokens, 1),
        sources=dict(Counter(sample.key.source for sample in samples)),
        counts={name: float(count) for name, count in counts.items()},
        faults=(
            *([NO_PICTURE_TEXTS.format(len(samples))] if picture_texts == 0 else []),
            *(fault for sample in samples for fault in faults(sample, preparer)),
        ),
    )


def faults(sample: TokenizedSample, preparer: Preparer) -> list[str]:
    """What is wrong with a sample, counted from its ids alone; of a pair, with either sequence."""
    if sample.dispreferred is None:
        return [f"{sample.key}: {fault}" for fault in _faults(sample, preparer)]
    preferred, dispreferred = sample.sequences
    found = [f"preferred answer: {fault}" for fault in _faults(preferred, preparer)]
    found += [f"dispreferred answer: {fault}" for fault in _faults(dispreferred, preparer)]
    if _question(preferred) != _question(dispreferred):
        found.append("the answers of the pair have different questions")
    return [f"{sample.key}, {fault}" for fault in found]


def _faults(sample: TokenizedSample, preparer: Preparer) -> list[str]:
    """Of a single sequence."""
    text, ids_T = preparer.text, sample.input_ids_T
    found = []
    if not sample.labels:
        found.append("nothing to learn")
    end = text.end_id if sample.document else text.turn_end_id
    ends = int(np.count_nonzero(sample.learned_T & (ids_T == end)))
    if sample.ends is not None and ends != sample.ends:
        kind = "document ends" if sample.document else "turn ends"
        found.append(f"{ends} learned {kind} (id {end}), wanted {sample.ends}")
    places = int(np.count_nonzero(ids_T == text.image_id))
    groups = sum(picture.plan.groups for picture in sample.pictures)
    if places != groups * preparer.tokens_per_view:
        found.append(f"{places} image positions, wanted {groups} x {preparer.tokens_per_view}")
    wrong = ids_T[(ids_T < 0) | (ids_T >= text.vocabulary_size)]
    if len(wrong):
        found.append(f"id {int(wrong[0])} is outside the vocabulary of {text.vocabulary_size}")
    return found


def _question(sample: TokenizedSample) -> list[int]:
    """The ids before the first learned one."""
    learned = np.flatnonzero(sample.learned_T)
    return [int(one) for one in sample.input_ids_T[: learned[0] if len(learned) else None]]


def _fill(packs: Sequence[Sequence[int]], capacity: int) -> Spread:
    return Spread.of([sum(pack) / capacity for pack in packs])


def _percent(spread: Spread) -> str:
    return f"{spread.least:.0%} / {spread.middle:.0%} / {spread.most:.0%} (least / median / most)"
