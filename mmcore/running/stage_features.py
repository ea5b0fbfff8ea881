"""Whether the features that stages are to be trained on are those of their encoder."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from mmcore.caching.expected import check_folders
from mmcore.caching.fingerprint import encoder_fingerprint
from mmcore.data.prepare import Preparer
from mmcore.model.initial import Initial
from mmcore.recipe import Recipe, Stage, feature_folders
from mmcore.running.starting import Span
from mmcore.training.progress import Progress


def check_tables(recipe: Recipe, wanted: Span, done: Progress | None) -> None:
    """Before anything runs: whether every folder is there and of this encoder's table, tiler and
    number format, of all stages that are to be trained.

    Args:
        recipe: of the run.
        wanted: the stages that are to be trained.
        done: how far the run folder has come.

    Raises:
        FeaturesError: one is not.
    """
    check_folders(recipe, _ahead(recipe, wanted, done))


def check_values(recipe: Recipe, stages: Iterable[Stage], initial: Initial) -> None:
    """Whether the features are of the very weights that these stages have.

    Args:
        recipe: of the run.
        stages: all with the same encoder.
        initial: the model that they begin with.

    Raises:
        FeaturesError: they are of other ones.
    """
    naming = [stage for stage in stages if feature_folders(stage)]
    if naming:
        check_folders(recipe, naming, encoder_fingerprint(initial))


def with_this_encoder(stages: Sequence[Stage]) -> Iterator[Stage]:
    """The stages up to the first that trains the encoder; that one reads no features."""
    for stage in stages:
        if any(part.part == "encoder" for part in stage.train):
            return
        yield stage


def told(prepared: Preparer) -> list[str]:
    """What a stage says of its features as it starts; nothing where it encodes its pictures.

    Raises:
        FeaturesError: a file of them is damaged.
    """
    return [] if prepared.features is None else [prepared.features.summary()]


def _ahead(recipe: Recipe, wanted: Span, done: Progress | None) -> Sequence[Stage]:
    if done is None or wanted.begins_anew(done):
        first = wanted.first or 0
    else:
        first = done.stage_index + (1 if done.finished else 0)
    return recipe.stages[first : wanted.last + 1]
