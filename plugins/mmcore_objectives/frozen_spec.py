"""The recipe tables of objectives that hold the model against one that does not learn."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

import attrs

from mmcore.interfaces import ADAPTERS, UNTRAINED, Objective, ObjectiveSpec
from mmcore_registry import Problem, doc

DATA = "data"
"""Names, as the reference, what the rows themselves say."""

gt, ge, lt = attrs.validators.gt, attrs.validators.ge, attrs.validators.lt


def _finite(_: object, attribute: attrs.Attribute[float], value: float) -> None:
    if not math.isfinite(value):
        raise ValueError(f"{attribute.name} is {value}, wanted a finite number")


def _named(_: object, attribute: attrs.Attribute[str], value: str) -> None:
    if not value:
        raise ValueError(f'{attribute.name} is empty, wanted "{ADAPTERS}" or a folder of a model')


@attrs.frozen(kw_only=True)
class _Frozen(ObjectiveSpec):
    def problems(self) -> Iterator[Problem]:
        name = self.frozen_model
        if name not in ("", ADAPTERS, UNTRAINED) and not Path(name).is_dir():
            message = f"is {name!r}, and there is no such folder here"
            hint = f'"{ADAPTERS}", or a run folder, a checkpoint or a model folder'
            yield Problem(self.frozen_key, message, hint, machine=True)


@attrs.frozen(kw_only=True)
class DpoSpec(_Frozen):
    """Make preferred answers likelier than dispreferred ones, against a reference (DPO)."""

    name: ClassVar[str] = "dpo"
    reads_pairs: ClassVar[bool] = True
    frozen_key: ClassVar[str] = "reference"

    beta: float = attrs.field(
        default=0.1,
        validator=[gt(0), _finite],
        metadata=doc("how dear it is to leave the reference: the larger, the nearer it stays"),
    )
    label_smoothing: float = attrs.field(
        default=0.0,
        validator=[ge(0), lt(0.5)],
        metadata=doc("chance that the answers of a pair are the wrong way round (cDPO)"),
    )
    reference: str = attrs.field(
        default=ADAPTERS,
        validator=_named,
        metadata=doc(
            "what answers are held against: adapters (the model with its adapters off, where the "
            "stage trains nothing else), data (what `mmcore data prepare-dpo` computed), or a "
            "run folder, a checkpoint or a model folder, which is loaded beside the model"
        ),
    )

    @property
    def frozen_model(self) -> str:
        return "" if self.reads_references else self.reference

    @property
    def reads_references(self) -> bool:
        return self.reference == DATA

    def build(self) -> Objective:
        from mmcore_objectives.dpo import Dpo

        return Dpo(beta=self.beta, label_smoothing=self.label_smoothing, reference=self.reference)


@attrs.frozen(kw_only=True)
class KlDistillSpec(_Frozen):
    """Predict what a teacher predicts: another model, or this one without its adapters."""

    name: ClassVar[str] = "kl-distill"
    frozen_key: ClassVar[str] = "teacher"

    teacher: str = attrs.field(
        validator=_named,
        metadata=doc(
            "who teaches: adapters (the model with its adapters off, where the stage trains "
            "nothing else), or a run folder, a checkpoint or a model folder, which is loaded "
            "beside the model and reads the same tokens and views"
        ),
    )
    temperature: float = attrs.field(
        default=1.0,
        validator=[gt(0), _finite],
        metadata=doc(
            "what the logits of both are divided by; the loss is multiplied by its square"
        ),
    )

    def build(self) -> Objective:
        from mmcore_objectives.kl_distill import KlDistill

        return KlDistill(teacher=self.teacher, temperature=self.temperature)
