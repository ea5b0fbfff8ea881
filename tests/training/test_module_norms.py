"""Norms against what autograd and hand-written sums give."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from mmcore.training.module_norms import ModuleNorms


class Whole(nn.Module):
    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.model(x).square().sum()


def test_norms_are_those_of_all_packs() -> None:
    torch.manual_seed(0)
    first, second = nn.Linear(3, 4), nn.Linear(4, 2)
    second.bias.requires_grad_(False)
    whole = Whole(nn.Sequential(first, second))
    norms = ModuleNorms(whole, whole.model)
    packs = [torch.randn(5, 3), torch.randn(2, 3)]
    with norms.listening():
        for pack in packs:
            whole(pack).backward()
        norms.take_gradients()
    one, two = norms.norms()
    assert (one.name, two.name) == ("0", "1")
    outputs = torch.cat([first(pack).flatten() for pack in packs])
    assert one.output_rms == pytest.approx(outputs.square().mean().sqrt().item())
    assert one.output_max == pytest.approx(outputs.abs().max().item())
    final = torch.cat([second(first(pack)).flatten() for pack in packs])
    assert two.output_gradient == pytest.approx((2 * final).norm().item())
    wanted = math.sqrt(first.weight.grad.norm() ** 2 + first.bias.grad.norm() ** 2)
    assert one.parameter_gradient == pytest.approx(wanted)
    assert two.parameter_gradient == pytest.approx(second.weight.grad.norm().item())
    whole(packs[0])  # nobody listens any more
    assert norms.norms() == [one, two]


def test_the_first_module_and_pack_that_is_not_finite_is_named() -> None:
    class Root(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x.sqrt()

    whole = Whole(nn.Sequential(nn.Identity(), Root(), nn.Linear(2, 1)))
    norms = ModuleNorms(whole, whole.model)
    with norms.listening():
        whole(torch.tensor([[1.0, 4.0]]))
        whole(torch.tensor([[-1.0, 9.0]]))
    inner, root, last = norms.norms()
    assert (inner.not_finite, inner.first_pack) == (0, 0)
    assert (root.not_finite, root.first_pack, root.output_max) == (1, 2, 3.0)
    assert last.first_pack == 2
