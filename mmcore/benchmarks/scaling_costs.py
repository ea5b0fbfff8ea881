"""What `mmcore bench RECIPE --json` measured of a stage, as the costs that scaling asks for.

Bytes are those of the plain rules of ZeRO: a rank ends an all-gather, or begins a reduction, with
all of a tensor. Weights and gradients travel in the recipe's number format.
"""

from __future__ import annotations

import json
import statistics
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import attrs

from mmcore.benchmarks.scaling import StepCosts


@attrs.frozen
class Exchange:
    """What every rank exchanges under a stage of ZeRO.

    Attributes:
        zero: the stage.
        pack_bytes, step_bytes: for each of a rank's packs, and once a step.
    """

    zero: int
    pack_bytes: int
    step_bytes: int

    @classmethod
    def of(cls, zero: int, *, learning: int, frozen: int, precision: str) -> Exchange:
        """Of a model with so many parameters that learn, and so many that do not."""
        width = 2 if precision == "bf16" else 4
        gradients, weights = width * learning, width * learning
        per_pack, per_step = {
            0: (0, 2 * gradients),  # an all-reduce is a reduction and a gathering
            1: (0, gradients + weights),
            2: (gradients, weights),
            3: (2 * (weights + width * frozen) + gradients, 0),
        }[zero]
        return cls(zero, per_pack, per_step)


def read_paces(path: Path) -> list[Mapping[str, Any]]:
    """What ``mmcore bench RECIPE --json`` printed, one table a stage.

    Raises:
        ValueError: the file is something else.
    """
    try:
        return [_checked(pace) for pace in json.loads(path.read_text(encoding="utf-8"))]
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(
            f"{str(path)!r} is not what `mmcore bench RECIPE --json` prints "
            f"({type(error).__name__}: {error})"
        ) from error


def _checked(pace: Mapping[str, Any]) -> Mapping[str, Any]:
    packed = pace["ways"]["packed"]
    numbers = [*_steps(pace), packed["spans"]["update"], pace["packs"]]
    if len(numbers) < 3 or not all(isinstance(one, int | float) for one in numbers):
        raise ValueError(f"stage {pace['stage']!r} lacks numbers")
    return pace


def step_costs(
    pace: Mapping[str, Any],
    *,
    packs: int,
    exchanged: Exchange,
    pack_seconds: float | None,
) -> StepCosts:
    """The costs of a stage's step.

    Args:
        pace: measured on one device, of this stage or of one whose packs differ as its packs do.
        packs: of a step, over all GPUs.
        exchanged: what ranks say to one another.
        pack_seconds: where given, measured packs and update are scaled to this mean of a pack: how
            packs differ is kept, how fast the device was is not.

    Raises:
        ValueError: the update took as long as a whole step, so no time is left for packs.
    """
    steps, spans = _steps(pace), pace["ways"]["packed"]["spans"]
    update = statistics.fmean(steps) * spans["update"] / sum(spans.values())
    of_step = pace["packs"] / len(steps)
    seconds = [(step - update) / of_step for step in steps]
    if min(seconds) <= 0:
        raise ValueError(
            f"a step of stage {pace['stage']!r} took {min(steps):.4f} s, and its update "
            f"{update:.4f} s; measure again on a quiet machine"
        )
    faster = 1.0 if pack_seconds is None else pack_seconds / statistics.fmean(seconds)
    return StepCosts(
        pack_seconds=[one * faster for one in seconds],
        update_seconds=update * faster,
        packs=packs,
        pack_bytes=exchanged.pack_bytes,
        step_bytes=exchanged.step_bytes,
        update_is_shared=exchanged.zero > 0,
    )


def _steps(pace: Mapping[str, Any]) -> list[float]:
    """Seconds of every step; on a CPU by processor time, which other processes move less."""
    packed = pace["ways"]["packed"]
    if pace["device"] != "cpu":
        return list(packed["seconds"])
    return [seconds / pace["threads"] for seconds in packed["cpu_seconds"]]
