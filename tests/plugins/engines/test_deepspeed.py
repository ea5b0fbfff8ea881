"""DeepSpeed on two processes against plain torch on one: the same global batch, the same steps."""

from __future__ import annotations

import json
import math

import pytest
import torch

ALL, EARLY, LATE = {"first": 0, "last": 6}, {"first": 0, "last": 3}, {"first": 3, "last": 6}
STAGES = (0, 1, 2, 3)


def flat(weights: dict[str, list[float]]) -> list[float]:
    text = json.dumps(list(weights.values()))
    return [float(word) for word in text.replace("[", " ").replace("]", " ").split(",")]


def assert_same_curve(one, other, rel: float = 1e-5) -> None:
    assert one["losses"] == pytest.approx(other["losses"], rel=rel)
    assert one["norms"] == pytest.approx(other["norms"], rel=rel)
    assert flat(one["weights"]) == pytest.approx(flat(other["weights"]), rel=rel, abs=rel)


@pytest.fixture(scope="module")
def torch_file(tmp_path_factory) -> str:
    return str(tmp_path_factory.mktemp("states") / "torch.pt")


@pytest.fixture(scope="module")
def zero_file(tmp_path_factory) -> str:
    return str(tmp_path_factory.mktemp("states") / "zero.pt")


@pytest.fixture(scope="module")
def alone(launch, torch_file) -> dict[str, dict[str, object]]:
    """What plain torch does on one process."""
    plans = {
        "all": ALL,
        "poisoned": {**ALL, "poisoned": 2},
        "bf16": {**ALL, "precision": "bf16"},
        "early": {**EARLY, "save": torch_file},
        "unclipped": {**EARLY, "clip_norm": "inf"},
    }
    return dict(zip(plans, launch(list(plans.values()), 1), strict=True))


@pytest.fixture(scope="module")
def together(launch, alone, torch_file, zero_file) -> dict[object, dict[str, object]]:
    """What DeepSpeed does on two processes, in one launch, for its start is slow."""
    plans: dict[object, dict[str, object]] = {}
    for zero in STAGES:
        plans["all", zero] = {"zero": zero, **ALL}
        plans["poisoned", zero] = {"zero": zero, **ALL, "poisoned": 2}
        plans["bf16", zero] = {"zero": zero, **ALL, "precision": "bf16"}
        plans["late", zero] = {"zero": zero, **LATE, "restore": torch_file}
    plans["unclipped", 2] = {"zero": 2, **EARLY, "clip_norm": "inf"}
    plans["early", 3] = {"zero": 3, **EARLY, "save": zero_file}
    plans["late of zero 3", 1] = {"zero": 1, **LATE, "restore": zero_file}
    return dict(zip(plans, launch(list(plans.values()), 2), strict=True))


@pytest.mark.parametrize("zero", STAGES)
def test_many_processes_do_what_one_does(alone, together, zero: int) -> None:
    assert_same_curve(together["all", zero], alone["all"])


@pytest.mark.parametrize("zero", STAGES)
def test_a_gradient_that_is_not_finite_changes_nothing(alone, together, zero: int) -> None:
    poisoned = together["poisoned", zero]
    assert not math.isfinite(poisoned["norms"][2])
    assert poisoned["losses"][3:] == pytest.approx(alone["poisoned"]["losses"][3:], rel=1e-5)
    assert poisoned["losses"][3:] != pytest.approx(alone["all"]["losses"][3:], rel=1e-3)


@pytest.mark.parametrize("zero", STAGES)
def test_a_state_of_torch_continues_in_any_stage(alone, together, zero: int) -> None:
    expected = {**alone["all"], "losses": alone["all"]["losses"][3:]}
    expected["norms"] = alone["all"]["norms"][3:]
    assert_same_curve(together["late", zero], expected)


def test_a_state_of_zero_3_continues_in_zero_1_and_in_torch(
    launch, alone, together, zero_file
) -> None:
    expected = {**alone["all"], "losses": alone["all"]["losses"][3:]}
    expected["norms"] = alone["all"]["norms"][3:]
    assert_same_curve(together["late of zero 3", 1], expected)
    assert_same_curve(launch([{**LATE, "restore": zero_file}], 1)[0], expected)


@pytest.mark.parametrize("zero", STAGES)
def test_bfloat16_stays_near_torch_and_buffers_stay_float32(alone, together, zero: int) -> None:
    outcome = together["bf16", zero]
    assert outcome["losses"] == pytest.approx(alone["bf16"]["losses"], rel=0.03)
    assert outcome["scale"] == alone["all"]["scale"]


@pytest.mark.parametrize("zero", STAGES)
def test_bfloat16_rounds_what_does_not_learn_and_that_alone(alone, together, zero: int) -> None:
    whole, found = alone["bf16"]["weights"], together["bf16", zero]["weights"]
    for name in ("frozen.weight", "frozen.bias"):
        own = torch.tensor(whole[name])
        assert found[name] == (own.bfloat16().float() if zero else own).tolist()
    assert whole["frozen.weight"] == together["all", zero]["weights"]["frozen.weight"]
    learned = torch.tensor(found["layer.weight"])
    assert not torch.equal(learned, learned.bfloat16().float())


@pytest.mark.parametrize("zero", STAGES)
def test_a_closed_engine_holds_no_weights(together, zero: int) -> None:
    assert together["all", zero]["held"] == 0


@pytest.mark.parametrize("zero", STAGES)
def test_only_what_learns_is_updated_and_shared_out(together, zero: int) -> None:
    """186 of the toy's 228 numbers learn; ZeRO pads every group's share by a few."""
    learning = 186 if zero == 0 else 93
    assert learning <= together["all", zero]["updated"] <= learning + 16


def test_an_infinite_clip_norm_switches_clipping_off(alone, together) -> None:
    assert_same_curve(together["unclipped", 2], alone["unclipped"])
    assert flat(alone["unclipped"]["weights"]) != flat(alone["early"]["weights"])


def test_one_process_needs_no_launcher(launch, alone) -> None:
    assert_same_curve(launch([{"zero": 2, **ALL}], 1)[0], alone["all"])


@pytest.mark.parametrize("zero", STAGES)
@pytest.mark.parametrize("plan", ["all", "bf16"])
def test_norms_of_parts_make_up_the_whole_and_are_torchs(alone, together, plan, zero: int) -> None:
    outcome, rel = together[plan, zero], 1e-5 if plan == "all" else 0.05
    for whole, parts, expected in zip(
        outcome["norms"], outcome["parts"], alone[plan]["parts"], strict=True
    ):
        assert set(parts) == {"llm", "token_sampler"}
        assert math.hypot(*parts.values()) == pytest.approx(whole, rel=1e-5)
        assert parts == pytest.approx(expected, rel=rel)


@pytest.mark.parametrize("zero", STAGES)
def test_a_forward_pass_alone_is_torchs(alone, together, zero: int) -> None:
    total, learns = together["all", zero]["evaluated"]
    assert total == pytest.approx(alone["all"]["evaluated"][0], rel=1e-5)
    assert not learns
