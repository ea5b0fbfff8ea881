"""From a checked recipe to things that run: the one file that sees every kind of component."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from types import MappingProxyType

import attrs
import torch
from torch import nn

from mmcore.data.audit import Audit, audit
from mmcore.data.feature_store import FeatureStore
from mmcore.data.held_out import HeldOut
from mmcore.data.held_out_packs import HeldOutPacks
from mmcore.data.lane_state import LaneSettings, LaneState
from mmcore.data.loader import PackLoader
from mmcore.data.pair_texts import PairTexts
from mmcore.data.prepare import Preparer
from mmcore.interfaces import (
    TOKENS,
    Attention,
    ComparingObjective,
    Engine,
    FillingEngine,
    LoadReport,
    Lora,
    Objective,
    ParameterState,
    TextFormat,
    World,
)
from mmcore.kit.attention import choose_attention
from mmcore.kit.seeds import seed_of
from mmcore.kit.unfilled import build_unfilled
from mmcore.model.initial import Initial
from mmcore.model.trainable import Decays, PartSize, describe, parameter_groups, set_trainable
from mmcore.model.vlm import VisionLanguageModel
from mmcore.recipe import DataTable, ModelTable, Recipe, Stage, feature_folders, labels
from mmcore.training.checkpoint import load
from mmcore.training.checkpoint_tensors import weights_for
from mmcore.training.step_module import TrainingStep


def build_model(
    recipe: Recipe, device: torch.device
) -> tuple[VisionLanguageModel, dict[str, LoadReport | None]]:
    """The model with its initial weights: pretrained where the recipe names some, else random.

    Returns:
        the model, and for each part what its weights were filled with (None: random).

    Raises:
        WeightsError: weights are missing or do not fit.
        ValueError: the attention kernel cannot run on this device.
    """
    initial = initial_model(recipe.model, recipe.seed, device)
    return initial.filled(device), initial.reports


def model_of_checkpoint(
    recipe: Recipe, path: Path, device: torch.device, stage: Stage | None = None
) -> VisionLanguageModel:
    """The model as a checkpoint has it.

    Adapters in the checkpoint are merged into the weights, unless ``stage`` trains the same
    adapters: then they are the model's, to go on with.

    Raises:
        CheckpointError, WeightsError: the checkpoint is damaged, or of another model.
    """
    return initial_of_checkpoint(recipe, path, device, stage).filled(device)


def initial_model(
    table: ModelTable, seed: int, device: torch.device, *, loaded: bool = True
) -> Initial:
    """The model, and where its values come from; none are made yet, whatever its size.

    What a parameter starts from depends on the seed and its name, and neither on other parameters
    nor on the machine's processes.

    Args:
        table: the parts.
        seed: of the run.
        device: where it will compute.
        loaded: whether it starts from the weights that the recipe names; else all are random.

    Raises:
        WeightsError: weights are missing or do not fit.
        ValueError: the attention kernel cannot run on this device.
    """
    attention = choose_attention(table.attention, str(device))
    parts = {}
    for name, build in _builders(table, attention).items():
        load = getattr(table, name).load if loaded else lambda _: None
        parts[name] = build_unfilled(
            build, load, name=name, seeding=lambda named: seed_of(seed, named)
        )
    return Initial(parts)


def initial_of_checkpoint(
    recipe: Recipe, path: Path, device: torch.device, stage: Stage | None = None
) -> Initial:
    """``model_of_checkpoint`` before its values are read.

    Raises:
        CheckpointError: the checkpoint is damaged, or of another model.
    """
    stored = load(path)
    wanted = {} if stage is None else loras_of(stage)
    kept = {part: one for part, one in stored.manifest.loras.items() if wanted.get(part) == one}
    initial = initial_model(recipe.model, recipe.seed, device, loaded=False)
    initial.adapt(kept, recipe.seed)
    merge = stored.manifest.loras.keys() - kept.keys()
    return initial.instead(weights_for(stored, initial.model, merge=merge))


def loras_of(stage: Stage) -> dict[str, Lora]:
    """The adapters that a stage trains, by part."""
    return {part.part: part.lora for part in stage.train if part.lora is not None}


def empty_model(table: ModelTable, seed: int, device: torch.device) -> VisionLanguageModel:
    """The model with initial values; on the meta device, its names and shapes alone.

    Raises:
        ValueError: the attention kernel cannot run on this device.
    """
    if device.type != "meta":
        return initial_model(table, seed, device, loaded=False).filled(device)
    builders = _builders(table, choose_attention(table.attention, str(device)))
    with device:
        return VisionLanguageModel(**{name: build() for name, build in builders.items()})


def _builders(table: ModelTable, attention: Attention) -> dict[str, Callable[[], nn.Module]]:
    """What builds each part, on the default device."""
    return {
        "encoder": partial(table.encoder.build, attention=attention),
        "token_sampler": partial(
            table.token_sampler.build,
            dim_in=table.encoder.feature_width,
            dim_out=table.llm.embedding_width,
            grid=table.encoder.view.grid,
            attention=attention,
        ),
        "llm": partial(table.llm.build, attention=attention),
    }


def preparer(model: ModelTable, stage: Stage, text: TextFormat) -> Preparer:
    """How this stage turns samples into ids and views.

    Raises:
        WeightsError: a tokenizer is missing or cannot be used.
    """
    view = model.encoder.view
    return Preparer(
        text=text,
        tiler=stage.tiler,
        view=view,
        tokens_per_view=model.token_sampler.tokens_per_view(view.grid),
        max_tokens=stage.batch.max_tokens,
        max_views=stage.batch.max_views,
        fit=stage.fit,
        instruction_tokens=model.token_sampler.max_instruction,
        pair_texts=pair_texts(model, stage),
    )


def pair_texts(model: ModelTable, stage: Stage) -> PairTexts | None:
    """How the texts of pictures are read, if an objective of the stage needs them.

    Raises:
        WeightsError: the tokenizer is missing or cannot be used.
    """
    tokenize = model.token_sampler.pair_text() if needs_of(stage) else None
    if tokenize is None:
        return None
    return PairTexts(tokenize, model.token_sampler.max_pair_text)


def training_preparer(model: ModelTable, stage: Stage, text: TextFormat) -> Preparer:
    """The same for training packs, whose pictures may be features that were made beforehand."""
    prepared = preparer(model, stage, text)
    folders = feature_folders(stage)
    return attrs.evolve(prepared, features=FeatureStore(folders) if folders else None)


def pack_loader(
    recipe: Recipe,
    stage: Stage,
    prepared: Preparer,
    world: World,
    state: Mapping[int, LaneState] | None = None,
) -> PackLoader:
    """This rank's share of the stage's data, from its beginning or from a saved state."""
    return PackLoader(
        sources=labels(stage),
        preparer=prepared,
        seed=data_seed(recipe, stage),
        lanes=recipe.data.lanes,
        packs_per_step=stage.batch.packs_per_step,
        look_ahead=recipe.data.look_ahead,
        block_rows=recipe.data.block_rows,
        read_memory=int(recipe.data.read_memory),
        rank=world.rank,
        ranks=world.size,
        workers=recipe.data.workers,
        prefetch=recipe.data.prefetch,
        state=state,
        held_out=held_out(recipe),
    )


def stage_audit(recipe: Recipe, stage: Stage, prepared: Preparer) -> Audit:
    """What the first samples of the stage look like, as ``pack_loader`` will give them."""
    seed = data_seed(recipe, stage)
    return audit(labels(stage), lane_settings(recipe.data, prepared, seed, held_out(recipe)))


def lane_settings(
    table: DataTable,
    prepared: Preparer,
    seed: int,
    held: HeldOut = HeldOut(),  # noqa: B008
) -> LaneSettings:
    """What the lanes of a stage have in common."""
    return LaneSettings(
        prepared,
        seed,
        table.lanes,
        table.look_ahead,
        table.block_rows,
        int(table.read_memory),
        held,
    )


def held_out(recipe: Recipe) -> HeldOut:
    """The rows that no stage trains on."""
    return HeldOut(recipe.validation.share if recipe.validation else 0.0)


def held_out_packs(recipe: Recipe, stage: Stage, prepared: Preparer, world: World) -> HeldOutPacks:
    """This rank's share of the rows that the stage is validated on."""
    assert recipe.validation is not None
    return HeldOutPacks(
        labels(stage),
        prepared,
        held_out(recipe),
        rows=recipe.validation.rows,
        rank=world.rank,
        ranks=world.size,
    )


def data_seed(recipe: Recipe, stage: Stage) -> int:
    """Of the order in which the stage's data is read."""
    return seed_of(recipe.seed, "data", stage.name)


@attrs.frozen(eq=False)
class Learning:
    """What a stage needs to take steps.

    Attributes:
        engine: around the model.
        module: the pack's forward that it wraps.
        objectives: in the recipe's order.
        parts: what learns and what is frozen, counted before an engine shares anything out.
    """

    engine: Engine
    module: TrainingStep
    objectives: Sequence[Objective]
    parts: Sequence[PartSize]


def learning(
    recipe: Recipe,
    stage: Stage,
    model: VisionLanguageModel,
    world: World,
    frozen: Mapping[str, nn.Module] = MappingProxyType({}),
) -> Learning:
    """Freeze what does not learn, and put engine, optimizer and objectives around the model.

    Args:
        frozen: the models that objectives of the stage name, on their device.
    """
    rates = [(part.part, part.lr or stage.optimizer.lr) for part in stage.train]
    objectives = built_objectives(stage)
    module = training_step(recipe.model, stage, model, objectives, recipe.seed, frozen)
    parts = describe(model)
    engine = recipe.engine.build(
        module=module,
        groups=parameter_groups(model, rates, stage.optimizer.weight_decay, _decays(recipe.model)),
        optimizer=stage.optimizer,
        world=world,
    )
    return Learning(engine, module, objectives, parts)


def _decays(table: ModelTable) -> dict[str, Decays]:
    """What the components say of their own parameters."""
    specs = {"encoder": table.encoder, "token_sampler": table.token_sampler, "llm": table.llm}
    return {part: spec.decays for part, spec in specs.items()}


def started(
    recipe: Recipe,
    stage: Stage,
    initial: Initial,
    world: World,
    states: Iterable[ParameterState] | None = None,
    frozen: Mapping[str, nn.Module] = MappingProxyType({}),
) -> Learning:
    """``learning`` from a model without storage, with the values that it is to have.

    An engine that fills its module itself gives every parameter its storage, or this rank's share
    of it, and takes the values one by one; any other is given the whole model on its device.

    Args:
        states: what the stage goes on from, if it has begun; else it begins with initial values.
        frozen: the models that objectives of the stage name, on their device.
    """
    device = torch.device(world.device)
    initial.adapt(loras_of(stage), _adapters_seed(recipe.seed, stage))
    if recipe.engine.fills:
        initial.place_others(device)
    else:
        initial.filled(device)
    values = initial.values()
    started = learning(recipe, stage, initial.model, world, frozen)
    if states is not None:
        started.engine.restore(states)
    elif recipe.engine.fills:
        assert isinstance(started.engine, FillingEngine), recipe.engine.name
        started.engine.fill(values)
    return started


def _adapters_seed(seed: int, stage: Stage) -> int:
    """Of the first values of the adapters that begin with the stage."""
    return seed_of(seed, "lora", stage.name)


def training_step(
    table: ModelTable,
    stage: Stage,
    model: VisionLanguageModel,
    objectives: Sequence[Objective],
    seed: int = 0,
    frozen: Mapping[str, nn.Module] = MappingProxyType({}),
) -> TrainingStep:
    """Freeze what does not learn in this stage, and put in the adapters that do and are not there
    yet; what remains is a pack's forward.

    Args:
        table: what the model was made from.
        stage: what learns.
        model: with what earlier stages left.
        objectives: in the recipe's order.
        seed: of the run, for the values of fresh adapters.
        frozen: the models that the objectives name.

    Raises:
        LoraError: a part cannot have the adapters that the stage trains.
    """
    model.adapt(loras_of(stage), _adapters_seed(seed, stage))
    let_learn(table, stage, model)
    # Objectives that ask the token sampler for more share what the encoder said of a pack.
    one_look = bool(needs_of(stage))
    weights = [spec.weight for spec in stage.objectives]
    return TrainingStep(model, objectives, weights, frozen, one_look=one_look)


def built_objectives(stage: Stage) -> list[Objective]:
    """The stage's objectives, in the recipe's order.

    Raises:
        TypeError: one is not of the scope that its spec says.
    """
    built = [spec.build() for spec in stage.objectives]
    for spec, objective in zip(stage.objectives, built, strict=True):
        if (spec.scope == "step") != isinstance(objective, ComparingObjective):
            does = "has" if spec.scope == "pack" else "lacks"
            raise TypeError(
                f"objective {spec.name!r} says scope = {spec.scope!r}, and "
                f"{type(objective).__name__} {does} the methods survey and compare"
            )
    return built


def let_learn(table: ModelTable, stage: Stage, model: VisionLanguageModel) -> None:
    """Freeze what does not learn in this stage: other parts, and what none of its objectives uses
    of the token sampler."""
    part = "token_sampler"
    names = [name for name, _ in model.get_submodule(part).named_parameters()]
    tokens = {TOKENS} if any("llm" in spec.reaches for spec in stage.objectives) else set[str]()
    learns = {need for spec in stage.objectives for need in spec.needs - spec.only_looks}
    unused = table.token_sampler.unused(names, frozenset(learns | tokens))
    set_trainable(model, [one.part for one in stage.train], {f"{part}.{name}" for name in unused})


def needs_of(stage: Stage) -> frozenset[str]:
    """What the stage's objectives need of the token sampler beyond tokens."""
    return frozenset[str]().union(*(spec.needs for spec in stage.objectives))
