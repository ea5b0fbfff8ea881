"""AdamW's table, and the optimizer that comes of it."""

from __future__ import annotations

import pytest
import torch

from mmcore.interfaces import ParameterGroup
from mmcore_optim.spec import AdamWSpec


def group(device: str = "cpu", lr: float = 0.1, decay: float = 0.0) -> ParameterGroup:
    parameter = torch.nn.Parameter(torch.ones(2, device=device))
    return ParameterGroup("llm", ("weight",), (parameter,), lr, decay)


def test_groups_keep_their_rates_and_decays() -> None:
    optimizer = AdamWSpec(lr=1.0, betas=(0.8, 0.95), eps=1e-6).build(
        [group(lr=0.1, decay=0.01), group(lr=0.2)]
    )
    kept = [
        (one["lr"], one["weight_decay"], one["betas"], one["eps"]) for one in optimizer.param_groups
    ]
    assert kept == [(0.1, 0.01, (0.8, 0.95), 1e-6), (0.2, 0.0, (0.8, 0.95), 1e-6)]
    assert isinstance(optimizer, torch.optim.AdamW)


def test_defaults_are_those_of_blip3() -> None:
    spec = AdamWSpec(lr=1e-4)
    assert (spec.betas, spec.eps) == ((0.9, 0.999), 1e-8)


def test_it_can_be_built_without_memory() -> None:
    assert AdamWSpec(lr=1.0).build([group("meta")]).param_groups[0]["fused"] is False
    assert AdamWSpec(lr=1.0).build([group()]).param_groups[0]["fused"] is True


@pytest.mark.parametrize("betas", [(0.9,), (0.9, 1.0), (-0.1, 0.5), (0.1, 0.2, 0.3)])
def test_impossible_betas_are_refused(betas) -> None:
    with pytest.raises(ValueError, match="betas is"):
        AdamWSpec(lr=1.0, betas=betas)


@pytest.mark.parametrize("key", ["lr", "eps"])
def test_rates_are_positive(key: str) -> None:
    with pytest.raises(ValueError, match=key):
        AdamWSpec(**{"lr": 1.0, key: 0.0})
