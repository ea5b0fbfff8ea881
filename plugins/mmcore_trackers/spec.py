"""The trackers as recipe tables: a file of JSON lines, and TensorBoard."""

from __future__ import annotations

from typing import ClassVar

import attrs

from mmcore.interfaces import RunInfo, Tracker, TrackerSpec
from mmcore_registry import doc


@attrs.frozen(kw_only=True)
class JsonLinesSpec(TrackerSpec):
    """One JSON object per step and per evaluation in ``metrics.jsonl`` of the run.

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
