"""DeepSpeed on two processes against plain torch on one: the same global batch, the same steps."""

from __future__ import annotations

import json
import math

import pytest

STEPS = {"first": 0, "last": 6}


def flat(weights: dict[str, list[float]]) -> list[float]:
    text = json.dumps(list(weights.values()))
    return [float(word) for word in text.replace("[", " ").replace("]", " ").split(",")]


def test_every_zero_stage_gives_what_one_process_gives(launch) -> None:
    stages = (0, 1, 2, 3)
    poisoned = {**STEPS, "poisoned": 2}
    reference, skipped = launch([dict(STEPS), poisoned], 1)
    plans = [{"zero": zero, **STEPS} for zero in stages]
    plans += [{"zero": zero, **poisoned} for zero in stages]
    outcomes = launch(plans, 2)
    for zero, plain, guarded in zip(stages, outcomes[:4], outcomes[4:], strict=True):
        assert plain["losses"] == pytest.approx(reference["losses"], rel=1e-5), zero
        assert plain["norms"] == pytest.approx(reference["norms"], rel=1e-5), zero
        assert flat(plain["weights"]) == pytest.approx(
            flat(reference["weights"]), rel=1e-5, abs=1e-6
        ), zero
        assert not math.isfinite(guarded["norms"][2]), zero
        assert guarded["losses"][3:] == pytest.approx(skipped["losses"][3:], rel=1e-5), zero
        assert flat(guarded["weights"]) == pytest.approx(
            flat(skipped["weights"]), rel=1e-5, abs=1e-6
        ), zero


