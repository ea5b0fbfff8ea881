"""The engines' tables: DeepSpeed's configuration, and what is said of an unfit machine."""

from __future__ import annotations

import importlib.util
import subprocess
import sys

import pytest

from mmcore_engines.deepspeed_config import deepspeed_config
from mmcore_engines.spec import OWNED, DeepSpeedSpec, TorchSpec
from mmcore_optim.spec import AdamWSpec


def test_the_step_ends_where_step_is_called() -> None:
    table = deepspeed_config(zero=2, precision="fp32", clip_norm=1.5, overrides={})
    assert table["managed_gradient_accumulation"] is False
    assert table["gradient_clipping"] == 1.5
    assert table["zero_optimization"] == {"stage": 2, "overlap_comm": True}
    assert "bf16" not in table


def test_bfloat16_sums_gradients_in_float32() -> None:
    table = deepspeed_config(zero=3, precision="bf16", clip_norm=float("inf"), overrides={})
    assert table["bf16"] == {"enabled": True}
    assert table["data_types"] == {"grad_accum_dtype": "fp32"}
    assert table["communication_data_type"] == "fp32"
    assert table["gradient_clipping"] == 0.0


def test_overrides_go_into_the_tables_and_leave_the_rest() -> None:
    changes = {"zero_optimization": {"reduce_bucket_size": 5}, "wall_clock_breakdown": True}
    plain = deepspeed_config(zero=3, precision="bf16", clip_norm=1.0, overrides={})
    table = deepspeed_config(zero=3, precision="bf16", clip_norm=1.0, overrides=changes)
    assert table["zero_optimization"] == {"stage": 3, "overlap_comm": True, "reduce_bucket_size": 5}
    assert table["wall_clock_breakdown"] is True
    assert "reduce_bucket_size" not in plain["zero_optimization"]


@pytest.mark.parametrize("key", OWNED)
def test_what_other_keys_decide_cannot_be_overridden(key: str) -> None:
    overrides: object = 1
    for word in reversed(key.split(".")):
        overrides = {word: overrides}
    with pytest.raises(ValueError, match=f"{key}.*decided by {OWNED[key]}"):
        DeepSpeedSpec(overrides=overrides)


@pytest.mark.parametrize(
    ("zero", "offload", "host"),
    [
        (0, "none", set()),
        (1, "optimizer", {"offload_optimizer"}),
        (2, "optimizer", {"offload_optimizer"}),
        (3, "all", {"offload_optimizer", "offload_param"}),
    ],
)
def test_what_is_offloaded_goes_to_the_host(zero: int, offload: str, host: set[str]) -> None:
    spec = DeepSpeedSpec(zero=zero, offload=offload, overlap=False)
    table = spec.configuration(AdamWSpec(lr=1.0))["zero_optimization"]
    assert {key for key in table if key.startswith("offload")} == host
    assert all(table[key]["device"] == "cpu" for key in host)
    assert table["overlap_comm"] is False
    assert not [problem for problem in spec.problems() if problem.key == "offload"]


@pytest.mark.parametrize(("zero", "offload", "least"), [(0, "optimizer", 1), (2, "all", 3)])
def test_offload_beyond_what_zero_shares_out_is_a_problem(zero, offload, least) -> None:
    spec = DeepSpeedSpec(zero=zero, offload=offload)
    [problem] = [one for one in spec.problems() if one.key == "offload"]
    assert f"engine.zero = {least} or more, and it is {zero}" in problem.message


def test_an_unknown_zero_stage_is_refused() -> None:
    with pytest.raises(ValueError, match="zero"):
        DeepSpeedSpec(zero=4)


def test_only_deepspeed_takes_many_processes() -> None:
    assert DeepSpeedSpec().multi_process
    assert not TorchSpec().multi_process


def test_a_fit_machine_has_no_problems(monkeypatch, tmp_path) -> None:
    compiler = tmp_path / "compiler"
    compiler.touch(mode=0o755)
    monkeypatch.setenv("CXX", str(compiler))
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: object())
    assert list(DeepSpeedSpec().problems()) == []


def test_an_unfit_machine_is_told_with_a_way_out(monkeypatch) -> None:
    monkeypatch.setenv("CXX", "no-such-compiler")
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    problems = list(DeepSpeedSpec().problems())
    assert [problem.key for problem in problems] == ["use"] * 3
    for problem, word in zip(problems, ("deepspeed", "no-such-compiler", "ninja"), strict=True):
        assert word in problem.message
        assert "--set engine.use=torch" in problem.hint


def test_specs_import_neither_torch_nor_deepspeed() -> None:
    code = (
        "import mmcore_engines.plugin, mmcore_optim.plugin, mmcore_trackers.plugin, sys;"
        "assert not {'torch', 'deepspeed', 'tensorboard'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
