"""What the folders of features that a stage names must have been made with."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

from mmcore.data.feature_header import FeatureHeader, FeaturesError, Stored, read_header
from mmcore.recipe import Recipe, Stage, feature_folders
from mmcore.recipe.write import to_plain

WITHOUT_EFFECT = ("weights", "recompute")
"""Keys of an encoder that do not change what it computes from its values: where they came from,
since the values themselves have a fingerprint, and what is computed twice to save memory."""


def expected(
    recipe: Recipe, stage: Stage, weights: str = "", stored: Stored = "fp32"
) -> FeatureHeader:
    """The header of features that the stage could be trained on.

    Args:
        recipe: the stage's.
        stage: any.
        weights: fingerprint of its encoder's values; empty where they are not known yet.
        stored: number format in which they are kept, which a stage leaves open.
    """
    encoder = recipe.model.encoder
    table = to_plain(encoder)
    assert isinstance(table, dict)
    return FeatureHeader(
        encoder={key: value for key, value in table.items() if key not in WITHOUT_EFFECT},
        weights=weights,
        tiler=to_plain(stage.tiler),
        computed=recipe.engine.precision,
        stored=stored,
        patches=encoder.view.patches,
        width=encoder.feature_width,
    )


def check_folders(recipe: Recipe, stages: Iterable[Stage], weights: str = "") -> None:
    """Whether stages can be trained on the features in their folders; it imports no torch.

    Args:
        recipe: the stages'.
        stages: any; of those that name no folder there is nothing to check.
        weights: fingerprint of their encoder's values; empty where they are not known yet.

    Raises:
        FeaturesError: a folder has none, or those of another encoder, tiler or number format; all
            folders and differences at once.
    """
    faults: dict[str, list[str]] = {}
    for stage in stages:
        for fault in _faults(recipe, stage, weights):
            faults.setdefault(fault, []).append(repr(stage.name))
    if faults:
        told = [f"stage {' and '.join(names)}: {fault}" for fault, names in faults.items()]
        raise FeaturesError("; ".join(told))


def _faults(recipe: Recipe, stage: Stage, weights: str) -> Iterator[str]:
    wanted = expected(recipe, stage, weights)
    headers = {folder: read_header(Path(folder)) for folder in feature_folders(stage)}
    kinds = {folder: header.stored for folder, header in headers.items() if header is not None}
    if len(set(kinds.values())) > 1:
        told = ", ".join(f"{folder} {kind}" for folder, kind in kinds.items())
        yield f"its folders keep features in several number formats: {told}; wanted one"
    for folder, header in headers.items():
        if header is None:
            yield f"{folder} holds no features; `mmcore data cache RECIPE` makes them"
        elif found := list(header.differences(wanted)):
            yield (
                f"the features in {folder} are of another encoder, tiler or number format: "
                f"{'; '.join(found)}. Name another folder, or delete this one, and make them with "
                "`mmcore data cache RECIPE`"
            )
