"""What the Q-Former does with hidden patches and hidden words, and who sees whom."""

from __future__ import annotations

import attrs
import pytest
import torch

from mmcore.interfaces import TOKENS
from mmcore.testing import check_token_sampler
from mmcore_samplers.qformer_spec import QFormerSpec


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


@torch.no_grad()
def test_hidden_patches_are_not_seen_unless_all_are():
    torch.manual_seed(0)
    module = QFormerSpec().tiny().build(dim_in=4, dim_out=6, attention="sdpa")
    features_NPD, other_NPD = torch.randn(2, 3, 9, 4)
    mask_NP = torch.ones(3, 9, dtype=torch.bool)
    mask_NP[1, 5:] = False
    mask_NP[2] = False
    tokens_NQE = module(features_NPD, mask_NP)
    changed_NPD = torch.where(mask_NP[..., None], features_NPD, other_NPD)
    torch.testing.assert_close(module(changed_NPD, mask_NP)[:2], tokens_NQE[:2])
    short_1QE = module(features_NPD[1:2, :5], mask_NP[1:2, :5])
    torch.testing.assert_close(short_1QE[0], tokens_NQE[1], rtol=1e-4, atol=1e-5)
    assert tokens_NQE.isfinite().all()
    torch.testing.assert_close(tokens_NQE[2:], module(features_NPD[2:], mask_NP[:1]))


def test_every_so_many_layers_look_at_the_patches():
    spec = attrs.evolve(QFormerSpec(text_tower=False).tiny(), layers=5, cross_attention_frequency=3)
    module = spec.build(dim_in=4, dim_out=6, attention="sdpa")
    looking = {int(name.split(".")[3]) for name, _ in module.named_parameters() if "cross" in name}
    assert looking == {0, 3}


def test_its_parameters_are_those_of_blip_2():
    with torch.device("meta"):
        module = QFormerSpec(text_tower=False).build(dim_in=1408, dim_out=2560, attention="sdpa")
    count = sum(one.numel() for one in module.parameters())
    # 12 layers of self-attention and feed-forward, 6 of cross-attention from 1408, 32 queries, two
    # norms of 768 in every layer and one more in those that look; the projection to OPT-2.7b.
    own, inner = 4 * (768 * 768 + 768) + 2 * 768, 2 * 768 * 3072 + 3072 + 768 + 2 * 768
    cross = 2 * (768 * 768 + 768) + 2 * (1408 * 768 + 768) + 2 * 768
    assert count == 12 * (own + inner) + 6 * cross + 32 * 768 + 2 * 768 + 768 * 2560 + 2560


def test_what_serves_what():
    spec = QFormerSpec().tiny()
    module = spec.build(dim_in=4, dim_out=6, attention="sdpa")
    names = [name for name, _ in module.named_parameters()]

    def tops(*needs):
        return {n.partition(".")[0] for n in spec.unused(names, frozenset(needs))}

    heads = {"vision_projection", "text_projection", "temperature", "itm_head", "caption"}
    assert tops("tokens") == heads | {"embeddings", "qformer"}
    assert tops("tokens", "match") == heads - {"itm_head"}
    assert tops("contrast", "caption") == {"itm_head", "language_projection"}
    assert tops("tokens", "contrast", "match", "caption") == set()


def test_a_width_that_heads_do_not_share():
    [problem] = QFormerSpec(width=100, heads=12).problems()
    assert (problem.key, problem.message) == ("heads", "is 12, wanted a divisor of width = 100")
