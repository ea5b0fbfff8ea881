"""The samplers against reference numbers of the official resampler, and their promises."""

from __future__ import annotations

import json
from pathlib import Path

import attrs
import pytest
import torch
from safetensors.torch import load_file

from mmcore.interfaces import PatchGrid
from mmcore_samplers.spec import MLPSpec, PerceiverSpec

GOLDEN = Path(__file__).parents[2] / "golden" / "perceiver" / "p1_depth2"


@pytest.fixture(scope="module")
def golden() -> dict[str, torch.Tensor]:
    return load_file(GOLDEN.with_suffix(".safetensors"))


@pytest.fixture
def perceiver(golden: dict[str, torch.Tensor]) -> torch.nn.Module:
    sizes = json.loads(GOLDEN.with_suffix(".json").read_text())["ctor"]
    spec = PerceiverSpec(
        queries=sizes["num_latents"],
        depth=sizes["depth"],
        heads=sizes["heads"],
        head_dim=sizes["dim_head"],
    )
    module = spec.build(dim_in=sizes["dim"], dim_out=sizes["dim_inner"], attention="sdpa")
    prefix = "state."
    state = {n.removeprefix(prefix): x for n, x in golden.items() if n.startswith(prefix)}
    module.load_state_dict(state, strict=True)
    return module


@pytest.mark.parametrize("case", ["nomask", "mask"])
def test_perceiver_is_the_official_one_forward_and_backward(case, golden, perceiver):
    x_NPD = golden["x"].flatten(1, 3).requires_grad_()
    mask_NP = golden["mask"].bool()
    visible_NP = mask_NP if case == "mask" else torch.ones_like(mask_NP)
    out_NQE = perceiver(x_NPD, visible_NP)
    torch.testing.assert_close(out_NQE, golden[f"out.{case}"][:, 0], atol=2e-6, rtol=0)
    out_NQE.backward(golden["cotangent"][:, 0])
    wanted = {f"grad.{case}.{name}": x.grad for name, x in perceiver.named_parameters()}
    wanted[f"grad_x.{case}"] = x_NPD.grad.view(golden["x"].shape)
    for name, gradient in wanted.items():
        scale = golden[name].abs().max().item()
        torch.testing.assert_close(gradient, golden[name], atol=1e-5 * scale, rtol=0, msg=name)


def test_hidden_patches_change_nothing_and_a_hidden_view_is_finite(perceiver):
    mask_NP = torch.arange(16) < torch.tensor([[5], [0]])
    x_NPD = torch.randn(2, 16, 48)
    other = torch.where(mask_NP[..., None], x_NPD, torch.randn(2, 16, 48))
    out = perceiver(x_NPD, mask_NP)
    assert torch.isfinite(out).all()
    torch.testing.assert_close(out, perceiver(other, mask_NP), atol=1e-6, rtol=0)
    out.sum().backward()
    assert all(torch.isfinite(x.grad).all() for x in perceiver.parameters())


def test_order_of_the_patches_does_not_matter(perceiver):
    x_NPD, mask_NP = torch.randn(1, 16, 48), torch.rand(1, 16) < 0.7
    order = torch.randperm(16)
    torch.testing.assert_close(
        perceiver(x_NPD, mask_NP),
        perceiver(x_NPD[:, order], mask_NP[:, order]),
        atol=2e-6,
        rtol=1e-5,
    )


@pytest.mark.parametrize(("width", "parameters"), [(3072, 109_901_568), (5120, 112_262_912)])
def test_size_of_the_published_perceiver(width, parameters):
    with torch.device("meta"):
        module = PerceiverSpec().build(dim_in=1152, dim_out=width, attention="sdpa")
    assert sum(one.numel() for one in module.parameters()) == parameters


def test_latents_start_with_their_deviation():
    spec = PerceiverSpec(queries=64, depth=1, latent_std=0.02)
    module = spec.build(dim_in=512, dim_out=16, attention="sdpa")
    assert module.latents.std().item() == pytest.approx(0.02, rel=0.05)


@pytest.mark.parametrize("spec", [PerceiverSpec().tiny(), MLPSpec().tiny()])
def test_a_view_becomes_as_many_tokens_as_promised(spec):
    module = spec.build(dim_in=32, dim_out=64, attention="sdpa")
    tokens = module(torch.randn(3, 16, 32), torch.zeros(3, 16, dtype=torch.bool))
    assert tokens.shape == (3, spec.tokens_per_view(PatchGrid(4, 4)), 64)
    assert torch.isfinite(tokens).all()


def test_mlp_is_two_layers_on_every_patch():
    module = MLPSpec().build(dim_in=8, dim_out=12, attention="sdpa")
    first, _, second = module.layers
    x_NPD = torch.randn(2, 5, 8)
    hidden = torch.nn.functional.gelu(x_NPD[1, 3] @ first.weight.T + first.bias)
    token = hidden @ second.weight.T + second.bias
    got = module(x_NPD, torch.ones(2, 5, dtype=torch.bool))[1, 3]
    torch.testing.assert_close(got, token, atol=1e-6, rtol=1e-5)


def test_settings_out_of_range_are_refused():
    with pytest.raises(ValueError, match="queries"):
        PerceiverSpec(queries=0)


def test_recomputed_layers_give_the_same_gradients_and_keep_less():
    features_NPD, mask_NP = torch.randn(3, 16, 48), torch.rand(3, 16) < 0.7
    gradients, kept = [], []
    for recompute in (False, True):
        torch.manual_seed(0)
        spec = attrs.evolve(PerceiverSpec().tiny(), recompute=recompute)
        sampler = spec.build(dim_in=48, dim_out=64, attention="sdpa")
        saved = []

        def keep(tensor, saved=saved):
            saved.append(tensor.numel())
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
            tokens_NQE = sampler(features_NPD, mask_NP)
        tokens_NQE.square().sum().backward()
        gradients.append([one.grad for one in sampler.parameters()])
        kept.append(sum(saved))
    torch.testing.assert_close(*gradients, rtol=0, atol=0)
    assert kept[1] < kept[0] / 2
