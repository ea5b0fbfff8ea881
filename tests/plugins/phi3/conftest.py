"""A tiny Phi-3 whose window is shorter than its sequences, and layouts for it."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import attrs
import pytest
import torch

from mmcore.interfaces import PackedLayout
from mmcore_phi3.spec import Phi3Spec


@pytest.fixture
def spec() -> Phi3Spec:
    return attrs.evolve(Phi3Spec().tiny(), window=6)


@pytest.fixture
def phi3(spec: Phi3Spec) -> torch.nn.Module:
    torch.manual_seed(0)
    module = spec.build(attention="sdpa")
    for parameter in module.parameters():  # large enough that a wrong mask would show
        torch.nn.init.normal_(parameter, std=0.2)
    return module


@pytest.fixture
def layout_of() -> Callable[..., PackedLayout]:
    def make(*lengths: int) -> PackedLayout:
        return PackedLayout(
            position_ids_T=torch.cat([torch.arange(n) for n in lengths]),
            cu_seqlens=torch.tensor([0, *itertools.accumulate(lengths)], dtype=torch.int32),
            lengths=lengths,
        )

    return make
