"""The gradient of a global batch is the same however it is split, and whatever a rank's packs lack.

Every engine is asked for the gradient that it would update with, and compared with that of one pack
in float64 on the torch engine: the largest difference in a tensor, over the tensor's largest entry.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch

Split = list[list[list[int]]]
Plan = dict[str, Any]
Gradients = dict[str, torch.Tensor]

STAGES = (0, 1, 2, 3)
PARTS = ("encoder", "token_sampler", "llm")
EVERY = list(range(8))
FLOAT64, FLOAT32 = 1e-10, 1e-5

ALONE: dict[str, Split] = {
    "one pack": [[EVERY]],
    "four packs": [[[0, 5], [1, 4], [2, 7], [3, 6]]],
    "a sample a pack": [[[one] for one in EVERY]],
    "blank packs too": [[EVERY, [], []]],
}
"""Packs of one process; what is trained on is the same in all of them."""

TOGETHER: dict[str, Split] = {
    "one pack": [[EVERY[:4]], [EVERY[4:]]],
    "four packs": [[[0], [3], [5], [6]], [[1], [4], [2], [7]]],
    "two packs": [[[0, 5], [1, 4]], [[2, 7], [3, 6]]],
}
"""Packs of two processes."""

UNEVEN: dict[str, Split] = {
    "no pictures": [[[0, 2], [4, 5, 7]], [[1, 3], [6]]],
    "no labels": [[[0, 1, 2], [3, 5, 7]], [[4], [6]]],
    "other numbers of pictures": [[[0], [1, 3]], [[2, 5], [4, 6, 7]]],
    "other numbers of labels": [[[1, 7], [0, 2]], [[3, 4], [5, 6]]],
    "blank packs": [[EVERY[:5], EVERY[5:]], [[], []]],
    "a pack fewer": [[EVERY[:4], [4, 5]], [[6, 7], []]],
}
"""What one of two processes lacks."""

ALL_AT_ONCE: Split = [[[0, 2, 5], [1, 7], [4]], [[3], [6], []]]
"""No pictures, no labels, nothing at all; other numbers of labels, of views, of chunks."""


def error(found: Gradients, wanted: Gradients) -> float:
    """The worst tensor's."""
    assert set(found) == set(wanted)
    largest = 0.0
    for name, gradient in wanted.items():
        scale = gradient.abs().max()
        assert scale > 0, f"{name} has no gradient to compare"
        largest = max(largest, float((found[name].double() - gradient).abs().max() / scale))
    return largest


class Measuring:
    """Starts the program, and reads what it wrote."""

    def __init__(self, launch: Callable[..., list[Plan]], folder: Path) -> None:
        self._launch, self._folder = launch, folder
        self._references: dict[str, Gradients] = {}

    def __call__(self, plans: dict[str, Plan], processes: int) -> dict[str, Gradients]:
        files = [str(self._folder / f"{number}.pt") for number in range(len(plans))]
        told = [{**plan, "file": file} for plan, file in zip(plans.values(), files, strict=True)]
        outcomes = self._launch(told, processes, program="gradients.py")
        assert not any(outcome["frozen_with_gradient"] for outcome in outcomes)
        return {name: torch.load(file) for name, file in zip(plans, files, strict=True)}

    def reference(self, train: Sequence[str]) -> Gradients:
        """All samples in one pack, in float64."""
        key = " ".join(train)
        if key not in self._references:
            plan = {"double": True, "ranks": [[EVERY]], "train": train}
            self._references |= self({key: plan}, 1)
        return self._references[key]

    def compare(
        self, plans: dict[str, Plan], processes: int, train: Sequence[str] = PARTS
    ) -> dict[str, float]:
        """Errors by name; all of them are told."""
        wanted = self.reference(train)
        found = self({name: {**plan, "train": train} for name, plan in plans.items()}, processes)
        errors = {name: error(one, wanted) for name, one in found.items()}
        print("\n".join(f"{value:.1e} {name}" for name, value in errors.items()))
        return errors


@pytest.fixture(scope="module")
def measuring(launch, tmp_path_factory) -> Measuring:
    return Measuring(launch, tmp_path_factory.mktemp("gradients"))


def test_the_torch_engine_in_float64_and_float32_however_packed(measuring) -> None:
    double = {f"double, {name}": {"ranks": split, "double": True} for name, split in ALONE.items()}
    single = {
        "one pack": {"ranks": ALONE["one pack"]},
        "four packs": {"ranks": ALONE["four packs"]},
        "recomputed": {"ranks": ALONE["four packs"], "recompute": True},
        "a sample fewer": {"ranks": [[EVERY[:-1]]]},
    }
    errors = measuring.compare(double | single, 1)
    assert errors.pop("a sample fewer") > 1e-2, "the comparison sees nothing"
    assert max(errors[name] for name in double) < FLOAT64, errors
    assert max(errors.values()) < FLOAT32, errors


def test_two_ranks_of_which_one_lacks_pictures_labels_and_packs_in_every_stage(measuring) -> None:
    plans = {f"zero {zero}": {"ranks": ALL_AT_ONCE, "zero": zero} for zero in STAGES}
    errors = measuring.compare(plans, 2)
    assert max(errors.values()) < FLOAT32, errors


@pytest.mark.slow
@pytest.mark.parametrize("zero", STAGES)
def test_deepspeed_on_one_process_however_packed(measuring, zero: int) -> None:
    plans = {name: {"ranks": split, "zero": zero} for name, split in ALONE.items()}
    errors = measuring.compare(plans, 1)
    assert max(errors.values()) < FLOAT32, errors


@pytest.mark.slow
@pytest.mark.parametrize("zero", STAGES)
def test_deepspeed_on_two_processes_however_packed(measuring, zero: int) -> None:
    plans = {name: {"ranks": split, "zero": zero} for name, split in TOGETHER.items()}
    plans["recomputed"] = {"ranks": TOGETHER["two packs"], "zero": zero, "recompute": True}
    plans["no overlap"] = {"ranks": TOGETHER["two packs"], "zero": zero, "overlap": False}
    errors = measuring.compare(plans, 2)
    assert max(errors.values()) < FLOAT32, errors


@pytest.mark.slow
@pytest.mark.parametrize("train", [PARTS, ("token_sampler",), ("token_sampler", "llm")], ids=len)
@pytest.mark.parametrize("zero", STAGES)
def test_uneven_ranks_stay_in_step(measuring, zero: int, train: tuple[str, ...]) -> None:
    plans = {name: {"ranks": split, "zero": zero} for name, split in UNEVEN.items()}
    errors = measuring.compare(plans, 2, train)
    assert max(errors.values()) < FLOAT32, errors


@pytest.mark.slow
@pytest.mark.parametrize(
    ("zero", "offload"), [(1, "optimizer"), (2, "optimizer"), (3, "optimizer"), (3, "all")]
)
def test_what_lies_in_the_hosts_memory_has_the_same_gradient(measuring, zero, offload) -> None:
    plans = {
        name: {"ranks": split, "zero": zero, "offload": offload} for name, split in UNEVEN.items()
    }
    errors = measuring.compare(plans, 2)
    assert max(errors.values()) < FLOAT32, errors


def relative(found: Gradients, wanted: Gradients) -> float:
    """Norm of the difference over the norm, of the whole gradient."""
    apart = sum(float((found[name].double() - one).square().sum()) for name, one in wanted.items())
    return (apart / sum(float(one.square().sum()) for one in wanted.values())) ** 0.5


@pytest.mark.slow
def test_64_packs_in_bfloat16_are_summed_in_float32_by_default(measuring) -> None:
    """Sums in bfloat16 lose what is small beside what has been summed."""
    packs = [[number] for number in range(90) if number % 8 not in (4, 6)][:64]
    half = {"data_types": {"grad_accum_dtype": "bf16"}}
    plans: dict[str, Plan] = {
        "reference": {"double": True},
        "default": {"zero": 2, "precision": "bf16"},
        "bf16 sums": {"zero": 2, "precision": "bf16", "overrides": half},
    }
    found = measuring({name: {**plan, "ranks": [packs]} for name, plan in plans.items()}, 1)
    errors = {name: relative(one, found["reference"]) for name, one in found.items()}
    print(errors)
    assert errors["default"] < 0.008
    assert errors["bf16 sums"] > 1.4 * errors["default"]
