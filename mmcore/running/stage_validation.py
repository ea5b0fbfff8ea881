"""The validation of one stage, put together: held-out rows, tasks, and the best one so far."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch

from mmcore import assemble
from mmcore.data.prepare import Preparer
from mmcore.evaluation.answering import Answerer
from mmcore.evaluation.asking import ask
from mmcore.evaluation.scores import mean_accuracy
from mmcore.interfaces import World
from mmcore.model.vlm import VisionLanguageModel
from mmcore.recipe import Recipe, Stage, task_labels
from mmcore.run_folder.validation_log import best_value
from mmcore.training.ranks import from_main, gather_objects
from mmcore.training.validation import Validation, ValidationError


def stage_validation(
    recipe: Recipe,
    stage: Stage,
    prepared: Preparer,
    model: VisionLanguageModel,
    world: World,
    folder: Path,
) -> Validation:
    """How the stage is validated; called by all ranks, after the engine was built.

    Raises:
        ValidationError: no row is held out, none of them can be used, or a task is to be asked of
            weights that are shared out over the ranks.
        EmptySource, DataFault: a source cannot be read.
    """
    table = recipe.validation
    assert table is not None
    packs = assemble.held_out_packs(recipe, stage, prepared, world)
    if not any(packs.found.values()):
        raise ValidationError(
            f"stage {stage.name!r}: none of its rows is held out with validation.share = "
            f"{table.share:g}; its sources are too small for that: raise it"
        )
    if not any(gather_objects(len(packs))):
        raise ValidationError(
            f"stage {stage.name!r}: {sum(packs.found.values())} rows are held out, and none of "
            "them can be used; mmcore data check RECIPE says what is wrong with them"
        )
    if table.tasks and any(one.numel() == 0 for one in model.parameters()):
        raise ValidationError(
            "validation.tasks cannot be asked where ranks share out the weights (zero = 3): each "
            "would answer by itself; leave validation.tasks empty, or train with engine.zero = 2"
        )
    return Validation(
        packs,
        every_steps=table.every_steps,
        keep_best=table.keep_best,
        best=from_main(lambda: best_value(folder, stage.name, f"validation/{table.keep_best}")),
        ask=_asker(recipe, stage, prepared, model, world) if table.tasks else dict,
    )


def _asker(
    recipe: Recipe,
    stage: Stage,
    prepared: Preparer,
    model: VisionLanguageModel,
    world: World,
) -> Callable[[], dict[str, float]]:
    """Asks the wished-for tasks of the model as it is; the mean score of each, and of its kinds."""
    assert recipe.validation is not None
    specs = dict(task_labels(recipe.evaluations))
    wanted = [(label, specs[label]) for label in recipe.validation.tasks]
    stages = {one.name: one for one in recipe.stages}
    tasks = [spec.build() for _, spec in wanted]
    device = torch.device(world.device)

    def scores() -> dict[str, float]:
        found: dict[str, float] = {}
        for (label, spec), task in zip(wanted, tasks, strict=True):
            asked = stages.get(spec.stage, stage)
            # Questions show pictures of their own, of which no features are kept.
            shown = assemble.preparer(recipe.model, asked, prepared.text)
            answerer = Answerer(model, shown, device, recipe.engine.precision)
            kinds = ask(answerer, task, max_new_tokens=spec.max_new_tokens, world=world)[2]
            found[label] = mean_accuracy(kinds)
            found |= {f"{label}/{one.kind}": one.accuracy for one in kinds}
        return found

    return scores
