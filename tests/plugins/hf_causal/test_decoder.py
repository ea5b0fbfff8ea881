"""Every tested family against transformers' own forward, from the files that it saves itself."""

from __future__ import annotations

import itertools

import pytest
import torch
from torch.nn.functional import cross_entropy

from mmcore.interfaces import PackedLayout
from mmcore.testing import check_llm
from mmcore_hf_causal.families import FAMILIES
from mmcore_hf_causal.spec import HfCausalSpec

LENGTHS = (4, 13, 1, 9)
TOKENS = torch.randint(0, 320, (sum(LENGTHS),), generator=torch.Generator().manual_seed(3))


def layout_of(*lengths: int) -> PackedLayout:
    return PackedLayout(
        position_ids_T=torch.cat([torch.arange(n) for n in lengths]),
        cu_seqlens=torch.tensor([0, *itertools.accumulate(lengths)], dtype=torch.int32),
        lengths=lengths,
    )


@pytest.fixture
def ours(theirs):
    _, folder = theirs
    spec = HfCausalSpec(weights=folder, head_rows=3)
    module = spec.build(attention="sdpa").eval()
    spec.load(module)
    return module


@pytest.mark.parametrize("family", FAMILIES)
def test_contract(family):
    check_llm(HfCausalSpec(family=family))


def test_packed_logits_are_those_of_transformers_one_by_one(theirs, ours):
    model, _ = theirs
    with torch.no_grad():
        logits_TV = ours.head(ours(ours.embed(TOKENS), layout_of(*LENGTHS)))
        for got, ids in zip(logits_TV.split(LENGTHS), TOKENS.split(LENGTHS), strict=True):
            want = model(input_ids=ids[None], use_cache=False).logits[0]
            torch.testing.assert_close(got, want, atol=2e-5, rtol=1e-5)


def test_loss_and_gradients_are_those_of_transformers(theirs, ours):
    model, _ = theirs
    ids = TOKENS[4:12]
    h_TE = ours(ours.embed(ids), layout_of(8))
    ours.head(h_TE[:-1], ids[1:]).sum().backward()
    logits = model(input_ids=ids[None], use_cache=False).logits[0, :-1]
    cross_entropy(logits, ids[1:], reduction="sum").backward()
    for name, parameter in model.named_parameters():
        got, scale = ours.get_parameter(name).grad, parameter.grad.abs().max().item()
        torch.testing.assert_close(got, parameter.grad, atol=2e-5 * scale, rtol=1e-4, msg=name)


def test_recomputed_blocks_give_the_same_gradients(theirs):
    _, folder = theirs
    gradients, kept = [], []
    for recompute in (False, True):
        spec = HfCausalSpec(weights=folder, head_rows=3, recompute=recompute)
        module = spec.build(attention="sdpa").train()
        spec.load(module)
        saved = []

        def keep(tensor, saved=saved):
            saved.append(tensor.numel())
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
            h_TE = module(module.embed(TOKENS), layout_of(*LENGTHS))
        module.head(h_TE[:-1], TOKENS[1:]).sum().backward()
        gradients.append([one.grad for one in module.parameters()])
        kept.append(sum(saved))
    torch.testing.assert_close(*gradients, rtol=0, atol=0)
    assert kept[1] < kept[0] / 2


def test_greedy_generation_with_a_cache_is_the_slow_one_without(theirs, ours):
    """Two prompts at once, one padded on the left, beyond windows and LongRoPE's first context."""
    model, _ = theirs
    x_BTE = torch.full((2, 7, ours.model.config.hidden_size), 371.0)
    mask_BT = torch.zeros(2, 7, dtype=torch.bool)
    prompts = TOKENS[:4], TOKENS[4:11]
    for row, ids in enumerate(prompts):
        x_BTE[row, 7 - len(ids) :], mask_BT[row, 7 - len(ids) :] = ours.embed(ids).detach(), True
    answers = ours.generate(x_BTE, mask_BT, max_new_tokens=9, stop_ids=())
    for ids, answer in zip(prompts, answers, strict=True):
        known = ids.tolist()
        for _ in range(9):
            with torch.no_grad():
                logits = model(input_ids=torch.tensor([known]), use_cache=False).logits
            known.append(int(logits[0, -1].argmax()))
        assert list(answer) == known[len(ids) :]


def test_a_tied_output_layer_is_one_parameter(theirs, ours):
    model, _ = theirs
    names = {name for name, _ in ours.named_parameters()}
    assert names == {name for name, _ in model.named_parameters()}
    assert ("lm_head.weight" not in names) is bool(model.config.tie_word_embeddings)


def test_the_tiny_form_keeps_the_quirks(theirs):
    model, folder = theirs
    spec = HfCausalSpec(weights=folder)
    assert list(spec.problems()) == [p for p in spec.problems() if p.machine]  # no tokenizer here
    for small in (spec.tiny(), spec.thin()):
        assert list(small.problems()) == []
        config = small.build(attention="sdpa").model.config
        theirs_kinds = set(getattr(model.config, "layer_types", None) or ())
        assert set(getattr(config, "layer_types", None) or ()) == theirs_kinds
        for key in ("attn_logit_softcapping", "final_logit_softcapping", "sliding_window"):
            assert getattr(config, key, None) == getattr(model.config, key, None), key
        assert config.rope_parameters.keys() == model.config.rope_parameters.keys()
        assert small.tied == bool(model.config.tie_word_embeddings)
        assert small.load(small.build(attention="sdpa")) is None
    assert spec.thin().width == model.config.hidden_size


def test_gemma_scales_words_and_not_what_is_spliced_over_them():
    spec = HfCausalSpec(family="gemma2")
    module = spec.build(attention="sdpa")
    x_TE = module.embed(TOKENS[:5])
    rows = module.model.embed_tokens.weight[TOKENS[:5]]
    torch.testing.assert_close(x_TE, rows * spec.width**0.5)
    seen = []
    module.model.layers[0].register_forward_pre_hook(lambda _, args: seen.append(args[0]))
    picture = torch.randn(5, spec.width)
    module(picture, layout_of(5))
    assert torch.equal(seen[0][0], picture), "given embeddings reach the first block unscaled"


def test_more_vocabulary_than_the_weights_have_appends_mean_rows(theirs):
    model, folder = theirs
    spec = HfCausalSpec(weights=folder, vocabulary=384)
    module = spec.build(attention="sdpa")
    spec.load(module)
    rows = model.get_input_embeddings().weight
    assert torch.equal(module.model.embed_tokens.weight[:320], rows)
    mean = rows.mean(0).expand(64, -1)
    torch.testing.assert_close(module.model.embed_tokens.weight[320:], mean)
    assert module.head(torch.zeros(1, spec.width)).shape == (1, 384)
