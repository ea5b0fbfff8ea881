"""Samples as the model gets them, gathered for a page: views, prompts in tokens, packs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import attrs

from mmcore.data.faults import DataFault, EmptySource
from mmcore.data.lanes import RejectedRow
from mmcore.data.reader import SourceReader
from mmcore.data.tokenized import TokenizedSample
from mmcore.inspection.check import Step, opened
from mmcore.inspection.mixture import MixtureFindings, Pack, mix, wanted_shares
from mmcore.inspection.pictures import ShownPicture, show
from mmcore.inspection.rows import LookedRow, look_at_rows
from mmcore.inspection.stages import Look, StageData
from mmcore.inspection.words import PicturePlace, Run, prompt
from mmcore.interfaces import SourceSpec, Tiles

ROWS_A_SAMPLE = 8
"""Rows that are read for every sample that is shown, to find some that were changed."""

PACKS = 6
MIXED = 200
"""Packs that are shown, and samples in the packs whose fill is told."""

TITLES = ("preferred answer", "dispreferred answer")
"""Of the sequences of a preference pair; only the first is learned, the other compared with it."""

REJECTED = 20
"""Rejected rows of a source that are listed."""


Sampled = tuple[TokenizedSample, Sequence[Tiles]]


@attrs.frozen
class ShownSequence:
    """What one forward pass reads of a sample.

    Attributes:
        title: which of two it is; empty where there is one.
        items: its text and the places of its pictures, in order.
        picture_tokens, learned, other: how its tokens divide; of a dispreferred answer those are
            called learned that are compared.
    """

    title: str
    items: tuple[Run | PicturePlace, ...]
    picture_tokens: int
    learned: int
    other: int

    @property
    def tokens(self) -> int:
        return self.picture_tokens + self.learned + self.other


@attrs.frozen
class ShownSample:
    """A sample, or a piece of a long document.

    Attributes:
        key: where it comes from.
        group: kind of content, as its source says.
        kind: ``document`` or ``conversation``.
        changes: what was done to make it fit: ``shrunk``, ``split``, ``truncated``.
        tokens, views, learned: in all.
        pictures: in reading order.
        sequences: one; of a preference pair two.
    """

    key: str
    group: str
    kind: str
    changes: tuple[str, ...]
    tokens: int
    views: int
    learned: int
    pictures: tuple[ShownPicture, ...]
    sequences: tuple[ShownSequence, ...]


@attrs.frozen
class ShownSource:
    """A source of a stage.

    Attributes:
        label, name, path, share: as in the recipe; the share is one of 1, and the path empty
            where rows were made up for this look.
        colour: number of its colour, the same wherever it occurs.
        read: rows that were read to find the samples.
        rejected: the first of those that cannot be used.
        faults: what must not be.
    """

    label: str
    name: str
    path: str
    share: float
    colour: int
    read: int
    samples: tuple[ShownSample, ...]
    rejected: tuple[RejectedRow, ...]
    faults: tuple[str, ...]


@attrs.frozen
class ShownSegment:
    """A sample's part of a pack."""

    key: str
    source: str
    colour: int
    tokens: int
    views: int


@attrs.frozen
class ShownStage:
    """A stage.

    Attributes:
        name, tiler: as in the recipe.
        max_tokens, max_views, tokens_per_view: what a pack holds, and a view takes of it.
        sources: in the recipe's order.
        mixture: its packs in numbers; None where there are none.
        packs: the first of them.
        faults: why there are none.
    """

    name: str
    tiler: str
    max_tokens: int
    max_views: int
    tokens_per_view: int
    sources: tuple[ShownSource, ...]
    mixture: MixtureFindings | None
    packs: tuple[tuple[ShownSegment, ...], ...]
    faults: tuple[str, ...]


def work(look: Look, samples: int) -> int:
    """Rows and samples that a preview goes through at most."""
    return sum(ROWS_A_SAMPLE * samples * len(one.sources) + MIXED for one in look.stages)


def preview(look: Look, samples: int, on_step: Step = lambda what, count: None) -> list[ShownStage]:
    """``samples`` of every source, and some packs; what is wrong is shown, not raised."""
    names = dict.fromkeys(label for data in look.stages for label, _ in data.sources)
    colours = {label: number for number, label in enumerate(names)}
    return [_stage(look, data, samples, colours, on_step) for data in look.stages]


def _stage(
    look: Look, data: StageData, samples: int, colours: dict[str, int], on_step: Step
) -> ShownStage:
    shares = wanted_shares(data.sources)
    sources = [
        _source(data, label, spec, samples, shares[label], colours[label], on_step)
        for label, spec in data.sources
    ]
    if look.made_up:
        sources = [attrs.evolve(source, path="") for source in sources]
    giving = {one.label for one in sources if one.samples}
    sound = [(label, spec) for label, spec in data.sources if label in giving]
    mixture, packs, faults = None, [], []
    try:
        if sound:
            what = f"{data.stage.name}: packs"
            mixed = mix(data, look.recipe.data, sound, MIXED, lambda count: on_step(what, count))
            mixture, packs = mixed.findings(), [_pack(one, colours) for one in mixed.packs[:PACKS]]
    except (DataFault, EmptySource) as fault:
        faults.append(str(fault))
    preparer = data.preparer
    return ShownStage(
        name=data.stage.name,
        tiler=data.stage.tiler.name,
        max_tokens=preparer.max_tokens,
        max_views=preparer.max_views,
        tokens_per_view=preparer.tokens_per_view,
        sources=tuple(sources),
        mixture=mixture,
        packs=tuple(packs),
        faults=tuple(faults),
    )


def _pack(pack: Pack, colours: dict[str, int]) -> tuple[ShownSegment, ...]:
    return tuple(
        ShownSegment(str(one.key), one.key.source, colours[one.key.source], one.tokens, one.views)
        for one in pack
    )


def _source(
    data: StageData,
    label: str,
    spec: SourceSpec,
    samples: int,
    share: float,
    colour: int,
    on_step: Step,
) -> ShownSource:
    reader, what = SourceReader(label, spec), f"{data.stage.name}: {label}"
    on_step(what, 0)
    shards, faults = opened(reader)
    chosen, rejected, read = _Chosen(samples), [], 0
    for row in look_at_rows(reader, data.preparer, ROWS_A_SAMPLE * samples) if shards else ():
        faults += row.faults
        chosen.add(row)
        if row.key is not None:
            read += 1
            on_step(what, 1)
        if row.rejection is not None and row.key is not None:
            rejected.append(RejectedRow(row.key, row.rejection.reason, row.rejection.detail))
    on_step(what, ROWS_A_SAMPLE * samples - read)
    return ShownSource(
        label=label,
        name=spec.name,
        path=spec.path,
        share=share,
        colour=colour,
        read=read,
        samples=tuple(shown_sample(data, *one) for one in chosen),
        rejected=tuple(rejected[:REJECTED]),
        faults=tuple(faults),
    )


class _Chosen:
    """Samples of a source from far apart, up to half of them such as were changed to fit; no more
    than twice as many are kept at a time, for views are large."""

    def __init__(self, samples: int) -> None:
        self._most, self._rows = samples, 0
        self._changed: list[Sampled] = []
        self._apart: list[Sampled] = []
        self._others: list[Sampled] = []

    def add(self, row: LookedRow) -> None:
        for one in row.samples:
            if changes(one[0]) and len(self._changed) < self._most // 2:
                self._changed.append(one)
            elif len(self._apart) * ROWS_A_SAMPLE <= self._rows and len(self._apart) < self._most:
                self._apart.append(one)
            elif len(self._others) < self._most:
                self._others.append(one)
        self._rows += 1

    def __iter__(self) -> Iterator[Sampled]:
        plain = [*self._apart, *self._others]
        yield from plain[: self._most - len(self._changed)]
        yield from self._changed


def changes(sample: TokenizedSample) -> tuple[str, ...]:
    """What was done to a sample to make it fit a pack."""
    done = {
        "shrunk": sample.shrunk,
        f"split in {sample.pieces}": sample.pieces > 1,
        "truncated": sample.truncated,
    }
    return tuple(name for name, was in done.items() if was)


def shown_sample(data: StageData, sample: TokenizedSample, tiles: Sequence[Tiles]) -> ShownSample:
    """A sample with its views."""
    preparer = data.preparer
    pictures = tuple(
        show(picture, one, preparer.view, preparer.tokens_per_view)
        for picture, one in zip(sample.pictures, tiles, strict=True)
    )
    sequences = sample.sequences
    titles = TITLES if len(sequences) > 1 else ("",)
    return ShownSample(
        key=str(sample.key),
        group=sample.group,
        kind="document" if sample.document else "conversation",
        changes=changes(sample),
        tokens=sample.tokens,
        views=sample.views,
        learned=sample.labels,
        pictures=pictures,
        sequences=tuple(
            _sequence(data, one, title, pictures)
            for one, title in zip(sequences, titles, strict=True)
        ),
    )


def _sequence(
    data: StageData, sample: TokenizedSample, title: str, pictures: Sequence[ShownPicture]
) -> ShownSequence:
    items = prompt(
        data.preparer.text,
        sample.input_ids_T,
        sample.learned_T,
        sample.pictures,
        data.preparer.tokens_per_view,
    )
    of_pictures = sum(picture.tokens for picture in pictures)
    return ShownSequence(
        title=title,
        items=tuple(items),
        picture_tokens=of_pictures,
        learned=sample.labels,
        other=sample.tokens - of_pictures - sample.labels,
    )
