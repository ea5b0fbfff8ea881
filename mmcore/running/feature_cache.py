"""The features of a stage's pictures, made before it is trained: from a recipe to folders."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path

import attrs
import torch

from mmcore import assemble
from mmcore.caching.build import Encoding, Tally, cache_source, views_of_a_row
from mmcore.caching.expected import expected
from mmcore.caching.fingerprint import encoder_fingerprint
from mmcore.caching.writer import FeatureWriter, begun
from mmcore.data.epochs import count_rows
from mmcore.data.feature_header import FeatureHeader, FeaturesError, Stored
from mmcore.data.feature_store import FeatureStore
from mmcore.data.prepare import Preparer
from mmcore.interfaces import SourceSpec
from mmcore.model.initial import Initial
from mmcore.recipe import Recipe, Stage, feature_folders, labels
from mmcore.running.making_up import make_up
from mmcore.running.starting import initial_from
from mmcore.training.ranks import this_device

PLANNED_ROWS = 64
"""Of every source, from which the size of all is estimated."""


@attrs.frozen
class Estimate:
    """What a source's features will take up, as its first rows tell.

    Attributes:
        label, rows: of the source.
        bytes: of all its views, those included that are there already.
    """

    label: str
    rows: int
    bytes: int


@attrs.frozen
class Cached:
    """What one source gave.

    Attributes:
        stage, label, folder: where it stands, and where its features lie.
        tally: what became of its rows.
        view_bytes: of the features of a view.
        entries: pictures whose features the folder now has, of all sources.
    """

    stage: str
    label: str
    folder: str
    tally: Tally
    view_bytes: int
    entries: int


@attrs.frozen(kw_only=True)
class Listeners:
    """Whom the work is told to: what is done, how large it will be, and every row."""

    activity: Callable[[str], None] = lambda text: None
    estimates: Callable[[Sequence[Estimate]], None] = lambda found: None
    rows: Callable[[int], None] = lambda count: None


def cache_features(
    recipe: Recipe,
    stages: Sequence[Stage],
    *,
    stored: Stored,
    views: int,
    weights: Path | None = None,
    crowded: bool = False,
    listeners: Listeners = Listeners(),
) -> Iterator[Cached]:
    """Make the features of the pictures of stages that are not there yet, source by source.

    Args:
        recipe: the stages'.
        stages: of those that name no folder nothing is made.
        stored: number format in which features are kept.
        views: that the encoder is given at once.
        weights: a run folder, checkpoint or model folder with the encoder's values; None: those
            that the recipe says.
        crowded: begin also where a disk seems to have too little room.
        listeners: told how the work goes.

    Raises:
        FeaturesError: no stage names a folder, the encoder's values are not known, a folder holds
            other features or is written to, or the disk has too little room.
        DataFault, EmptySource: a source cannot be read.
    """
    naming = [stage for stage in stages if feature_folders(stage)]
    if not naming:
        names = ", ".join(repr(stage.name) for stage in stages)
        raise FeaturesError(
            f"no source of stage {names} names a folder for features; write features = "
            "\"cache/NAME\" beside its use, or --set 'stages.*.data.*.features=cache/NAME'"
        )
    for stage in naming if weights is None else ():
        _check_known(recipe, stage)
    text, device = recipe.model.llm.text(), torch.device(this_device())
    listeners.activity("making the encoder")
    with ExitStack() as files:
        initial = _initial(recipe, weights, device, files)
        fingerprint = encoder_fingerprint(initial)
        encoder = initial.filled_part("encoder", device).eval()
    for stage in naming:
        header = expected(recipe, stage, fingerprint, stored)
        make_up(stage, listeners.activity)
        prepared = assemble.preparer(recipe.model, stage, text)
        with ExitStack() as locks:
            for folder in feature_folders(stage):
                locks.enter_context(begun(Path(folder), header))
            estimates = [_estimate(*one, prepared, header) for one in labels(stage)]
            listeners.estimates(estimates)
            if not crowded:
                _check_room(stage, estimates)
            yield from _stage(stage, prepared, Encoding(encoder, device, header, views), listeners)


def _stage(
    stage: Stage, prepared: Preparer, encoding: Encoding, listeners: Listeners
) -> Iterator[Cached]:
    for label, spec in labels(stage):
        assert spec.features is not None, "a checked recipe: all sources of the stage name one"
        listeners.activity(f"{stage.name}, {label}")
        with FeatureWriter(Path(spec.features), encoding.header) as writer:
            tally = cache_source(label, spec, prepared, encoding, writer, listeners.rows)
        entries = FeatureStore([spec.features]).entries
        view_bytes = encoding.header.view_bytes
        yield Cached(stage.name, label, spec.features, tally, view_bytes, entries)


def _initial(
    recipe: Recipe, weights: Path | None, device: torch.device, files: ExitStack
) -> Initial:
    if weights is None:
        return assemble.initial_model(recipe.model, recipe.seed, device)
    return initial_from(weights, recipe, device, None, files)


def _check_known(recipe: Recipe, stage: Stage) -> None:
    """An encoder that an earlier stage trains has other values than those of the recipe."""
    before = recipe.stages[: recipe.stages.index(stage)]
    for earlier in before:
        if any(part.part == "encoder" for part in earlier.train):
            raise FeaturesError(
                f"stage {earlier.name!r} trains the encoder before {stage.name!r}: train as far, "
                f"with mmcore run RECIPE --until {before[-1].name}, and name its weights with "
                f"--from runs/{recipe.name}"
            )


def _check_room(stage: Stage, estimates: Sequence[Estimate]) -> None:
    """Whether the stage's features find room, as far as its first rows tell.

    Raises:
        FeaturesError: a disk has less room than its folders would take up.
    """
    for folder in feature_folders(stage):
        sources = zip(stage.data, estimates, strict=True)
        wanted = sum(one.bytes for spec, one in sources if spec.features == folder)
        there = sum(one.stat().st_size for one in Path(folder).iterdir())
        free = shutil.disk_usage(folder).free
        if wanted - there > free:
            raise FeaturesError(
                f"stage {stage.name!r}: the features in {folder} will take up about "
                f"{wanted / 1e9:.1f} GB, {there / 1e9:.1f} GB of them are there, and its disk has "
                f"{free / 1e9:.1f} GB free; bound the sources with `limit`, name a folder on "
                "another disk, keep half the bits with --store bf16, or try with --crowded, where "
                "many rows show the same pictures"
            )


def _estimate(label: str, spec: SourceSpec, prepared: Preparer, header: FeatureHeader) -> Estimate:
    rows = count_rows(spec)
    views = rows * views_of_a_row(label, spec, prepared, PLANNED_ROWS)
    return Estimate(label, rows, round(views * header.view_bytes))
