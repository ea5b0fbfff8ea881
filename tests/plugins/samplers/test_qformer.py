"""What the Q-Former does with hidden patches and hidden words, and who sees whom."""

from __future__ import annotations

import pytest
import torch

from mmcore.interfaces import TOKENS
from mmcore.testing import check_token_sampler
from mmcore_samplers.qformer_spec import QFormerSpec

Q = 8


def test_it_keeps_a_token_samplers_promises():
    check_token_sampler(QFormerSpec())
    check_token_sampler(QFormerSpec(text_tower=False))


def test_without_a_text_tower_it_reads_nothing():
    spec = QFormerSpec(text_tower=False)
    assert spec.provides == frozenset()
    assert spec.pair_text() is None
    module = spec.tiny().build(dim_in=4, dim_out=6, attention="sdpa")
    names = [name for name, _ in module.named_parameters()]
    assert spec.unused(names, frozenset({TOKENS})) == frozenset()
    none = torch.zeros(1, dtype=torch.long)
    with pytest.raises(ValueError, match=r"'match' is wanted .* provides tokens alone"):
        module.provide("match", torch.zeros(1, 2, 4), torch.ones(1, 2) > 0, none, none, none)
