"""Models that do not learn, loaded beside the one that does, which must read what it reads."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import attrs
import torch

from mmcore import assemble
from mmcore.exchange import ModelFile, open_stored
from mmcore.exchange.stored import values_of
from mmcore.interfaces import ADAPTERS, UNTRAINED, Part, TextFormat, TextPart, TextRun
from mmcore.kit.seeds import seed_of
from mmcore.model.vlm import VisionLanguageModel
from mmcore.recipe import ModelTable, Recipe, Stage

PROBE: tuple[Part, ...] = (
    TextPart("What does it say? 3 × 17 – größer, 漢字, \n\tdef f(x):", "user", loss=False),
    TextPart("“It says 51.”", "assistant"),
)
"""What both models' tokenizers are asked to spell."""


class FrozenModelError(ValueError):
    """A model that an objective names cannot be held against the one that learns."""


def folders_of(stage: Stage) -> list[str]:
    """The folders of models that the stage's objectives name; each once."""
    named = dict.fromkeys(one.frozen_model for one in stage.objectives)
    return [name for name in named if name not in ("", ADAPTERS, UNTRAINED)]


def check_frozen_models(recipe: Recipe, own: Path) -> None:
    """Whether the models that objectives name read the same tokens and views as the recipe's; of
    weights, nothing is read.

    Args:
        recipe: whose objectives name them.
        own: the folder of the recipe's run, whose newest checkpoint is no model that stays.

    Raises:
        FrozenModelError: names every difference, with the stage.
    """
    faults = []
    for stage in recipe.stages:
        for folder in folders_of(stage):
            where = f"stages.{stage.name}.objectives: the model of {folder!r}"
            if Path(folder).resolve() == own.resolve():
                faults.append(f"{where} is this run itself, and changes with every checkpoint")
                continue
            try:
                with open_stored(Path(folder)) as stored:
                    found = list(differences(recipe.model, stored.file))
            except (ValueError, OSError) as error:
                found = [f"cannot be read: {error}"]
            faults += [f"{where} {one}" for one in found]
    if faults:
        raise FrozenModelError("\n".join(faults))


def frozen_models(
    recipe: Recipe, stage: Stage, device: torch.device
) -> dict[str, VisionLanguageModel]:
    """The models that the stage's objectives name, ready to be asked. Every process has them
    whole, in the number format that the weights of the model that learns have in its forward pass.

    Raises:
        FrozenModelError, WeightsError: one of them cannot be had.
    """
    models = {}
    for name in folders_of(stage):
        models[name] = load_frozen(recipe, Path(name), device)
    if any(one.frozen_model == UNTRAINED for one in stage.objectives):
        seed = seed_of(recipe.seed, UNTRAINED)
        models[UNTRAINED] = _at_rest(assemble.empty_model(recipe.model, seed, device))
    return models


def load_frozen(recipe: Recipe, folder: Path, device: torch.device) -> VisionLanguageModel:
    """The model of a folder, which reads what the recipe's own reads; it does not learn.

    Raises:
        ValueError: the folder has no model, or (``FrozenModelError``) one that reads otherwise.
    """
    with open_stored(folder) as stored:
        found = list(differences(recipe.model, stored.file))
        if found:
            raise FrozenModelError(f"the model of {str(folder)!r} {'; '.join(found)}")
        # Its file may name a kernel of another machine.
        table = attrs.evolve(stored.file.model, attention=recipe.model.attention)
        initial = assemble.initial_model(table, 0, device, loaded=False)
        if _weights_format(recipe) == "bf16":
            for parameter in initial.model.parameters():  # buffers, as rotary ones, stay exact
                parameter.data = parameter.data.to(torch.bfloat16)
        initial.instead(values_of(initial.model, stored))
        return _at_rest(initial.filled(device))


def _weights_format(recipe: Recipe) -> str:
    """Number format of the weights with which the model that learns goes forward."""
    return recipe.engine.memory(trainable=0, frozen=0, moments=0, ranks=1).weights


def _at_rest(model: VisionLanguageModel) -> VisionLanguageModel:
    model.eval().requires_grad_(False)
    return model


def differences(model: ModelTable, file: ModelFile) -> Iterator[str]:
    """In what a frozen model would not read a pack as the recipe's own does."""
    other = file.model
    if other.encoder.view != model.encoder.view:
        yield f"sees {other.encoder.view}, the recipe's {model.encoder.view}"
    tokens, wanted = _tokens_per_view(other), _tokens_per_view(model)
    if tokens != wanted:
        yield f"makes {tokens} tokens of a view, the recipe's {wanted}"
    heard, wanted = other.token_sampler.max_instruction, model.token_sampler.max_instruction
    if heard != wanted:
        yield f"hears {heard} tokens of a question, the recipe's {wanted}"
    theirs, ours = _facts(other.llm.text()), _facts(model.llm.text())
    for name, value in theirs.items():
        if value != ours[name]:
            yield f"has {name} {value}, the recipe's {ours[name]}"


def _tokens_per_view(model: ModelTable) -> int:
    return model.token_sampler.tokens_per_view(model.encoder.view.grid)


def _facts(text: TextFormat) -> dict[str, object]:
    """By what two vocabularies can be told apart."""
    spelt = [run.ids for run in text.render(PROBE) if isinstance(run, TextRun)]
    return {
        "a vocabulary of": text.vocabulary_size,
        "the image id": text.image_id,
        "the end id": text.end_id,
        "the turn's end id": text.turn_end_id,
        "for a test's words the ids": [one for ids in spelt for one in ids],
    }
