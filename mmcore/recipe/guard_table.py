"""The table `[guards]`: when a run is stopped, set back, or said to be in trouble."""

from __future__ import annotations

from typing import Literal

import attrs

from mmcore_registry import doc, one_of

ge = attrs.validators.ge


@attrs.frozen(kw_only=True)
class GuardTable:
    """What watches over a run while it trains."""

    stall_seconds: float = attrs.field(
        default=600.0,
        validator=ge(0),
        metadata=doc(
            "without progress within a step for so long, all processes write their stacks and "
            "end; a stage's first step has three times as long; 0 never",
            unit="seconds",
        ),
    )
    largest_pack: Literal["auto", "always", "never"] = attrs.field(
        default="auto",
        validator=one_of(["auto", "always", "never"]),
        metadata=doc(
            "whether the largest pack that batch allows goes through before a stage's first step, "
            "and teaches nothing; auto does it on CUDA, where memory ends suddenly"
        ),
    )
    max_skipped_in_a_row: int = attrs.field(
        default=5,
        validator=ge(1),
        metadata=doc("steps in a row without a finite gradient that stop the run", unit="steps"),
    )
    spike: float = attrs.field(
        default=10.0,
        validator=ge(0),
        metadata=doc(
            "a loss so many deviations above the median of the last 64 is told by source; 0 never",
            unit="deviations",
        ),
    )
    rollbacks: int = attrs.field(
        default=0,
        validator=ge(0),
        metadata=doc(
            "how often in a run a spike sets it back to the last checkpoint, to go on without "
            "the data of the spike"
        ),
    )
    rollback_margin: int = attrs.field(
        default=1,
        validator=ge(0),
        metadata=doc("steps before a spike whose data is left out as well", unit="steps"),
    )
