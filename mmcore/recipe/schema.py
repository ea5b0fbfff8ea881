"""The tables of a recipe, as frozen records in the order in which a picture meets them."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Sequence
from typing import Literal

import attrs

from mmcore.interfaces import (
    EncoderSpec,
    EngineSpec,
    LLMSpec,
    Lora,
    ObjectiveSpec,
    OptimizerSpec,
    SourceSpec,
    TaskSpec,
    TilerSpec,
    TokenSamplerSpec,
    TrackerSpec,
)
from mmcore.recipe.guard_table import GuardTable
from mmcore_registry import doc, one_of

FORMAT = 1
"""The recipe format that this mmcore reads and writes."""

BUDGETS = ("tokens", "steps", "epochs")
"""How long a stage may be, in three units; a stage has exactly one."""

RECIPE_DEFAULTS: dict[str, object] = {"trackers": [{"use": "jsonl"}]}
"""What every recipe has that does not say otherwise: components have no other default, since
they come from plugins."""

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")

ge, gt, le = attrs.validators.ge, attrs.validators.gt, attrs.validators.le
min_len, optional = attrs.validators.min_len, attrs.validators.optional


def _file_name(_: object, attribute: attrs.Attribute[str], value: str) -> None:
    """Names of recipes and stages become names of folders."""
    if not _NAME.fullmatch(value):
        raise ValueError(
            f"{attribute.name} is {value!r}, wanted a letter or digit, then letters, digits, "
            "'.', '_' and '-' only: it names a folder"
        )


def _length(_: object, attribute: attrs.Attribute[float | None], value: float | None) -> None:
    if value is not None and not 0 < value < math.inf:
        raise ValueError(f"{attribute.name} is {value}, wanted a finite number above 0")


def _known_format(_: object, attribute: attrs.Attribute[int], value: int) -> None:
    if value != FORMAT:
        raise ValueError(
            f"{attribute.name} is {value}, this mmcore reads format {FORMAT} and no other"
        )


@attrs.frozen(kw_only=True)
class ModelTable:
    """The three parts of the model, and the attention kernel that they share."""

    attention: Literal["xformers", "sdpa", "auto"] = attrs.field(
        default="auto",
        validator=one_of(["xformers", "sdpa", "auto"]),
        metadata=doc("attention kernel; auto takes xformers on CUDA and sdpa elsewhere"),
    )
    encoder: EncoderSpec = attrs.field(metadata=doc("turns views of pictures into features"))
    token_sampler: TokenSamplerSpec = attrs.field(
        metadata=doc("turns the features of a view into tokens for the LLM")
    )
    llm: LLMSpec = attrs.field(metadata=doc("reads text and picture tokens, and predicts text"))


@attrs.frozen(kw_only=True)
class DataTable:
    """How the sources of every stage are read; what is read is up to the stage."""

    lanes: int = attrs.field(
        default=64,
        validator=ge(1),
        metadata=doc("independent streams that the order of samples is cut into"),
    )
    workers: int = attrs.field(
        default=0, validator=ge(0), metadata=doc("processes per rank that read and decode")
    )
    look_ahead: int = attrs.field(
        default=32,
        validator=ge(1),
        metadata=doc("samples per lane among which a pack is put together", unit="samples"),
    )
    block_rows: int = attrs.field(
        default=64,
        validator=ge(1),
        metadata=doc(
            "neighbouring rows of a shard that the same lane reads, one block after another",
            unit="rows",
        ),
    )
    read_memory: float = attrs.field(
        default=1e9,
        validator=ge(1),
        metadata=doc(
            "what the lanes of all processes together hold of rows that wait to be packed; with "
            "more, rows are read in longer runs",
            unit="bytes",
        ),
    )
    prefetch: int | None = attrs.field(
        default=None,
        validator=optional(ge(1)),
        metadata=doc(
            "packs per process that are made before they are asked for; by default those of one "
            "step",
            unit="packs",
        ),
    )
    max_rejected_share: float = attrs.field(
        default=0.05,
        validator=[ge(0), le(1)],
        metadata=doc("share of rejected rows at which the run stops"),
    )


@attrs.frozen(kw_only=True)
class TrainablePart:
    """A part that learns in a stage. In a recipe its bare name is enough."""

    part: str = attrs.field(metadata=doc("encoder, token_sampler or llm"))
    lr: float | None = attrs.field(
        default=None,
        validator=optional(gt(0)),
        metadata=doc("highest learning rate of this part, if not the optimizer's"),
    )
    lora: Lora | None = attrs.field(
        default=None,
        metadata=doc("freeze the part's weights and train adapters of low rank beside them"),
    )


@attrs.frozen(kw_only=True)
class BatchTable:
    """How much goes into one forward pass, and how many passes into one step."""

    max_tokens: int = attrs.field(
        validator=ge(1), metadata=doc("positions of a pack, picture tokens included", unit="tokens")
    )
    max_views: int = attrs.field(
        validator=ge(1), metadata=doc("views of a pack: tiles and thumbnails", unit="views")
    )
    packs_per_step: int = attrs.field(
        validator=ge(1),
        metadata=doc(
            "packs of all ranks together in one optimizer step; a multiple of data.lanes",
            unit="packs",
        ),
    )


@attrs.frozen(kw_only=True)
class EarlyStopTable:
    """Ends a stage before its length is reached, where a measure has stopped to get better."""

    measure: str = attrs.field(
        metadata=doc(
            "loss or loss/OBJECTIVE, of every step; validation/loss or "
            "validation/loss_by_source/SOURCE; or score/TASK, of a task that validation asks"
        )
    )
    patience: int = attrs.field(
        validator=ge(1),
        metadata=doc("measurements in a row without a better one that end the stage"),
    )
    min_delta: float = attrs.field(
        default=0.0,
        validator=ge(0),
        metadata=doc("how much better than the best so far a measurement must be to count"),
    )


@attrs.frozen(kw_only=True)
class Stage:
    """One stage of training: what learns, for how long, from which data."""

    name: str = attrs.field(
        validator=_file_name, metadata=doc("name of the stage, unique in the recipe")
    )
    train: tuple[TrainablePart, ...] = attrs.field(
        metadata=doc("parts that learn, by name or as { part, lr, lora }; the others are frozen")
    )
    tokens: float | None = attrs.field(
        default=None,
        validator=_length,
        metadata=doc("length of the stage: packed positions, pictures included", unit="tokens"),
    )
    steps: int | None = attrs.field(
        default=None,
        validator=optional(ge(1)),
        metadata=doc("length of the stage, instead of tokens", unit="steps"),
    )
    epochs: float | None = attrs.field(
        default=None,
        validator=_length,
        metadata=doc("length of the stage, instead of tokens", unit="epochs"),
    )
    early_stop: EarlyStopTable | None = attrs.field(
        default=None,
        metadata=doc("end the stage sooner where a measure has stopped to get better"),
    )
    tiler: TilerSpec = attrs.field(metadata=doc("cuts pictures into views"))
    fit: Literal["shrink", "reject"] = attrs.field(
        default="shrink",
        validator=one_of(["shrink", "reject"]),
        metadata=doc("whether the grids of a sample that does not fit a pack get smaller"),
    )
    objectives: tuple[ObjectiveSpec, ...] = attrs.field(
        validator=min_len(1), metadata=doc("what is learned; the losses are added")
    )
    batch: BatchTable = attrs.field(metadata=doc("sizes of packs and steps"))
    optimizer: OptimizerSpec = attrs.field(
        metadata=doc("update rule, learning rate and its schedule over this stage")
    )
    data: tuple[SourceSpec, ...] = attrs.field(
        validator=min_len(1), metadata=doc("sources of the mixture, each with its share")
    )

    def __attrs_post_init__(self) -> None:
        given = [name for name in BUDGETS if getattr(self, name) is not None]
        if len(given) != 1:
            raise ValueError(
                f"stage {self.name!r} has {' and '.join(given) or 'no length'}, wanted exactly "
                f"one of {', '.join(BUDGETS)}"
            )


@attrs.frozen(kw_only=True)
class CheckpointTable:
    """When the run is saved, and how much of it is kept."""

    every_steps: int = attrs.field(
        default=500, validator=ge(1), metadata=doc("steps between two checkpoints", unit="steps")
    )
    keep_last: int = attrs.field(
        default=2,
        validator=ge(1),
        metadata=doc("newest checkpoints that are kept, beside those of finished stages"),
    )
    keep_every: int | None = attrs.field(
        default=None,
        validator=optional(ge(1)),
        metadata=doc("keep those of every so many steps for good, beside the newest", unit="steps"),
    )
    keep_stages: bool = attrs.field(
        default=True, metadata=doc("keep the last checkpoint of every finished stage")
    )
    background: bool = attrs.field(
        default=True,
        metadata=doc(
            "write while training goes on; until it is written, what a process writes is in its "
            "memory: of every parameter that learns 12 bytes, of a frozen one what it takes up, "
            "shared out over the processes"
        ),
    )


@attrs.frozen(kw_only=True)
class ValidationTable:
    """Rows that are never trained on, and what is asked of the model about them in a stage."""

    share: float = attrs.field(
        default=0.001,
        validator=[gt(0), le(0.5)],
        metadata=doc("share of the rows of every source that is held out, by their keys"),
    )
    rows: int = attrs.field(
        default=256,
        validator=ge(1),
        metadata=doc("held-out rows of every source that are looked at, at most", unit="rows"),
    )
    every_steps: int = attrs.field(
        default=500,
        validator=ge(1),
        metadata=doc("steps of a stage between two validations; its end has one too", unit="steps"),
    )
    tasks: tuple[str, ...] = attrs.field(
        default=(), metadata=doc("evaluations that are asked each time, by name")
    )
    keep_best: str = attrs.field(
        default="loss",
        metadata=doc(
            "what the best checkpoint of a stage is kept by: loss, or one of the tasks; empty "
            "keeps none"
        ),
    )

    def __attrs_post_init__(self) -> None:
        if self.keep_best not in ("", "loss", *self.tasks):
            wanted = ", ".join(["loss", *self.tasks])
            raise ValueError(f"keep_best is {self.keep_best!r}, wanted one of {wanted}, or nothing")


@attrs.frozen(kw_only=True)
class MeasuresTable:
    """What the speed of a run is held against."""

    peak_flops: float | None = attrs.field(
        default=None,
        validator=_length,
        metadata=doc(
            "most FLOP/s of one device at the engine's precision; by default that of the GPU found",
            unit="FLOP/s",
        ),
    )


@attrs.frozen(kw_only=True)
class Recipe:
    """A whole run: the model, the stages that train it, and how it is watched and kept."""

    format: int = attrs.field(
        default=FORMAT, validator=_known_format, metadata=doc("version of the recipe format")
    )
    name: str = attrs.field(
        validator=_file_name, metadata=doc("name of the run, and of its folder under runs/")
    )
    seed: int = attrs.field(
        default=0,
        validator=ge(0),
        metadata=doc("seed of initial weights and sample order"),
    )
    model: ModelTable = attrs.field(metadata=doc("the parts of the model"))
    data: DataTable = attrs.field(factory=DataTable, metadata=doc("how sources are read"))
    stages: tuple[Stage, ...] = attrs.field(
        validator=min_len(1), metadata=doc("stages of training, one after another")
    )
    evaluations: tuple[TaskSpec, ...] = attrs.field(
        default=(), metadata=doc("questions asked before the first stage and after every one")
    )
    engine: EngineSpec = attrs.field(metadata=doc("turns gradients into steps"))
    trackers: tuple[TrackerSpec, ...] = attrs.field(
        metadata=doc('who listens to the run; not written, it is [{ use = "jsonl" }]')
    )
    checkpoints: CheckpointTable = attrs.field(
        factory=CheckpointTable, metadata=doc("when the run is saved")
    )
    guards: GuardTable = attrs.field(
        factory=GuardTable, metadata=doc("what watches over the run while it trains")
    )
    validation: ValidationTable | None = attrs.field(
        default=None, metadata=doc("rows that are held out; not written, there are none")
    )
    measures: MeasuresTable = attrs.field(
        factory=MeasuresTable, metadata=doc("what the speed of a run is held against")
    )


def task_labels(specs: Sequence[TaskSpec]) -> list[tuple[str, TaskSpec]]:
    """The tasks under labels that are unique and stand for files: ``NAME``, ``NAME-2``, ..."""
    seen: Counter[str] = Counter()
    labelled = []
    for spec in specs:
        seen[spec.name] += 1
        count = seen[spec.name]
        labelled.append((spec.name if count == 1 else f"{spec.name}-{count}", spec))
    return labelled


def labels(stage: Stage) -> list[tuple[str, SourceSpec]]:
    """The stage's sources under the labels that sample keys, reports and errors call them by.

    A label is the source's name; the second of a name is ``name#2``, and so on, in the order of
    the recipe.
    """
    seen: Counter[str] = Counter()
    labelled = []
    for source in stage.data:
        seen[source.name] += 1
        count = seen[source.name]
        labelled.append((source.name if count == 1 else f"{source.name}#{count}", source))
    return labelled


def feature_folders(stage: Stage) -> list[str]:
    """The folders of features that the stage's sources name, each once; empty where its pictures
    are decoded and encoded."""
    return list(dict.fromkeys(one.features for one in stage.data if one.features is not None))
