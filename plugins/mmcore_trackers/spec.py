"""The trackers as recipe tables: a file of JSON lines, TensorBoard, and Weights & Biases."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from typing import ClassVar, Literal

import attrs

from mmcore.interfaces import RunInfo, Tracker, TrackerSpec
from mmcore_registry import Problem, doc, one_of


@attrs.frozen(kw_only=True)
class JsonLinesSpec(TrackerSpec):
    """One JSON object per step, validation, evaluation or incident in the run's ``metrics.jsonl``.

    Numbers are written in full precision. A resumed run drops what was written for the steps
    that it makes again.
    """

    name: ClassVar[str] = "jsonl"

    def build(self, run: RunInfo) -> Tracker:
        """The tracker; its file is opened when the run starts."""
        from mmcore_trackers.json_lines import JsonLinesTracker

        return JsonLinesTracker(run.folder)


@attrs.frozen(kw_only=True)
class TensorBoardSpec(TrackerSpec):
    """Curves for TensorBoard in the folder ``tensorboard`` of the run."""

    name: ClassVar[str] = "tensorboard"

    every_steps: int = attrs.field(
        default=1,
        validator=attrs.validators.ge(1),
        metadata=doc("how often a point is written", unit="steps"),
    )

    def build(self, run: RunInfo) -> Tracker:
        """The tracker; its event file is opened when the run starts."""
        from mmcore_trackers.tensorboard import TensorBoardTracker

        return TensorBoardTracker(run.folder, self.every_steps)


@attrs.frozen(kw_only=True)
class WandbSpec(TrackerSpec):
    """Curves at Weights & Biases, or, offline, in the folder ``wandb`` of the run.

    The account's key is read from ``WANDB_API_KEY`` or what ``wandb login`` stored, never from a
    recipe. A run that goes on is the same run there.
    """

    name: ClassVar[str] = "wandb"

    project: str = attrs.field(default="mmcore", metadata=doc("project that the run belongs to"))
    entity: str = attrs.field(
        default="", metadata=doc("user or team; empty means the account's own default")
    )
    group: str = attrs.field(default="", metadata=doc("runs of one name are shown together"))
    mode: Literal["online", "offline"] = attrs.field(
        default="online",
        validator=one_of(["online", "offline"]),
        metadata=doc("offline sends nothing; `wandb sync` does later. WANDB_MODE wins"),
    )
    every_steps: int = attrs.field(
        default=1,
        validator=attrs.validators.ge(1),
        metadata=doc("how often a point is written", unit="steps"),
    )

    def problems(self) -> Iterator[Problem]:
        if importlib.util.find_spec("wandb") is None:
            yield Problem(
                "use",
                "the package wandb is not installed",
                "pip install 'mmcore[wandb]', or leave this tracker out",
                machine=True,
            )

    def build(self, run: RunInfo) -> Tracker:
        """The tracker; it says hello to the service when the run starts."""
        from mmcore_trackers.weights_and_biases import WandbTracker

        return WandbTracker(self, run.folder)
