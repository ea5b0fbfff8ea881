"""The perceiver with instructions, against a plain computation and against itself without."""

from __future__ import annotations

import attrs
import pytest
import torch
from safetensors.torch import save_file

from mmcore.testing import check_token_sampler
from mmcore_samplers.spec import PerceiverSpec

TINY = attrs.evolve(PerceiverSpec(instruction=True).tiny(), instruction_tokens=6)


def built(spec=TINY):
    torch.manual_seed(0)
    return spec.build(dim_in=24, dim_out=40, attention="sdpa")


def by_hand(sampler, features_PD, patch_mask_P, asked_IE, mask_I):
    """One view without padding or masks: only what is there takes part, one query at a time."""
    media_PD, words_ID = features_PD[patch_mask_P], sampler.text_projection(asked_IE[mask_I])
    x_SD = torch.cat([sampler.latents, words_ID])
    for gather, think in sampler.layers:
        keys_JD = torch.cat([gather.norm_media(media_PD), gather.norm_latents(x_SD)])
        k_JX, v_JX = gather.to_kv(keys_JD).chunk(2, dim=-1)
        rows = []
        for query_D in gather.norm_latents(x_SD):
            heads = []
            for q_M, k_JM, v_JM in zip(
                gather.to_q(query_D).chunk(gather.heads),
                k_JX.chunk(gather.heads, -1),
                v_JX.chunk(gather.heads, -1),
                strict=True,
            ):
                weight_J = (k_JM @ q_M / len(q_M) ** 0.5).softmax(0)
                heads.append(weight_J @ v_JM)
            rows.append(gather.to_out(torch.cat(heads)))
        x_SD = x_SD + torch.stack(rows)
        x_SD = x_SD + think(x_SD)
    return sampler.projection(sampler.norm(x_SD[: len(sampler.latents)]))


def test_words_go_through_all_layers_with_the_queries():
    sampler = built()
    features_NPD, patch_mask_NP = torch.randn(3, 9, 24), torch.rand(3, 9) < 0.7
    asked_NIE, mask_NI = torch.randn(3, 6, 40), torch.arange(6) < torch.tensor([[6], [1], [0]])
    tokens_NQE = sampler(features_NPD, patch_mask_NP, asked_NIE, mask_NI)
    views = zip(features_NPD, patch_mask_NP, asked_NIE, mask_NI, strict=True)
    wanted_NQE = torch.stack([by_hand(sampler, *view) for view in views])
    torch.testing.assert_close(tokens_NQE, wanted_NQE, atol=1e-5, rtol=1e-4)


def test_without_instructions_it_is_the_plain_perceiver():
    sampler, plain = built(), built(attrs.evolve(TINY, instruction=False))
    missing = plain.load_state_dict(sampler.state_dict(), strict=False)
    assert missing.unexpected_keys == ["text_projection.weight"]
    features_NPD, patch_mask_NP = torch.randn(3, 9, 24), torch.rand(3, 9) < 0.7
    wanted_NQE = plain(features_NPD, patch_mask_NP)
    torch.testing.assert_close(sampler(features_NPD, patch_mask_NP), wanted_NQE)
    nothing = torch.randn(3, 4, 40), torch.zeros(3, 4, dtype=torch.bool)
    torch.testing.assert_close(sampler(features_NPD, patch_mask_NP, *nothing), wanted_NQE)


@pytest.mark.parametrize("recompute", [False, True])
def test_every_parameter_takes_part_whether_there_are_instructions_or_not(recompute):
    asked = torch.randn(2, 3, 40), torch.ones(2, 3, dtype=torch.bool)
    for given in ((), asked):
        sampler = built(attrs.evolve(TINY, recompute=recompute))
        sampler(torch.randn(2, 9, 24), torch.ones(2, 9) > 0, *given).square().sum().backward()
        assert all(one.grad is not None for one in sampler.parameters())
        assert bool(sampler.text_projection.weight.grad.any()) == bool(given)


def test_runs_compiled_without_a_question_to_the_device():
    sampler = built()
    arguments = (
        torch.randn(2, 9, 24),
        torch.rand(2, 9) < 0.7,
        torch.randn(2, 3, 40),
        torch.rand(2, 3) < 0.7,
    )
    traced = torch.compile(sampler, backend="eager", fullgraph=True)
    torch.testing.assert_close(traced(*arguments), sampler(*arguments))


def test_released_weights_lack_the_new_projection_and_nothing_else(tmp_path):
    plain = built(attrs.evolve(TINY, instruction=False))
    tensors = {f"vlm.vision_tokenizer.{name}": one for name, one in plain.state_dict().items()}
    save_file(tensors, tmp_path / "model.safetensors")
    sampler = built()
    before = sampler.text_projection.weight.clone()
    spec = attrs.evolve(TINY, weights=str(tmp_path))
    report = spec.load(sampler)
    assert report.new == ("text_projection.weight",)
    assert set(report.loaded) == set(plain.state_dict())
    assert torch.equal(sampler.text_projection.weight, before)
    assert torch.equal(sampler.projection.weight, plain.projection.weight)

    other = torch.randn_like(before)
    save_file(
        {**tensors, "vlm.vision_tokenizer.text_projection.weight": other},
        tmp_path / "model.safetensors",
    )
    assert not spec.load(sampler).new
    assert torch.equal(sampler.text_projection.weight, other)


def test_how_much_it_reads():
    assert PerceiverSpec().max_instruction == 0
    assert PerceiverSpec(instruction=True).max_instruction == 128
    assert PerceiverSpec(instruction=True).tiny().max_instruction == 128


def test_keeps_the_contract():
    check_token_sampler(PerceiverSpec(instruction=True, instruction_tokens=32))
