"""Pixel shuffle against a loop over patches, and against transformers' InternVL."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
from safetensors.torch import save_file
from transformers.models.internvl.modeling_internvl import (
    InternVLModel,
    InternVLMultiModalProjector,
)

from mmcore.interfaces import PatchGrid, WeightsError
from mmcore.testing import check_token_sampler
from mmcore_samplers.pixel_shuffle import PixelShuffle
from mmcore_samplers.pixel_shuffle_spec import PixelShuffleSpec


def built(grid, factor=2):
    spec = PixelShuffleSpec(factor=factor, edges="pad")
    return spec.build(dim_in=8, dim_out=12, grid=grid, attention="sdpa")


@pytest.mark.parametrize(
    ("grid", "factor"), [(PatchGrid(4, 6), 2), (PatchGrid(5, 3), 2), (PatchGrid(6, 6), 3)], ids=str
)
def test_a_token_has_the_patches_of_its_cell_end_to_end(grid, factor):
    module = built(grid, factor)
    features_NPD = torch.randn(2, grid.patches, 8)
    mask_NP = torch.rand(2, grid.patches) < 0.6
    rows, cols = -(-grid.rows // factor), -(-grid.cols // factor)
    wanted = torch.zeros(2, rows * cols, factor * factor * 8)
    for view in range(2):
        for y in range(grid.rows):
            for x in range(grid.cols):
                cell = (y // factor) * cols + x // factor
                place = (y % factor) * factor + x % factor
                if mask_NP[view, y * grid.cols + x]:
                    patch_D = features_NPD[view, y * grid.cols + x]
                    wanted[view, cell, place * 8 : (place + 1) * 8] = patch_D
    tokens_NQE = module(features_NPD, mask_NP)
    torch.testing.assert_close(tokens_NQE, module.layers(wanted), atol=1e-6, rtol=1e-5)


def test_is_internvls_projector_forward_and_backward():
    config = SimpleNamespace(
        vision_config=SimpleNamespace(hidden_size=8),
        text_config=SimpleNamespace(hidden_size=12),
        downsample_ratio=0.5,
        projector_hidden_act="gelu",
    )
    theirs = InternVLMultiModalProjector(config)
    module = built(PatchGrid(4, 4))
    norm, first, _, second = module.layers
    for ours, other in (
        (norm, theirs.layer_norm),
        (first, theirs.linear_1),
        (second, theirs.linear_2),
    ):
        ours.load_state_dict(other.state_dict())
    features_NPD = torch.randn(3, 16, 8, requires_grad=True)
    tokens_NQE = module(features_NPD, torch.ones(3, 16, dtype=torch.bool))
    shuffled = InternVLModel.pixel_shuffle(None, features_NPD.reshape(3, 4, 4, 8), 0.5)
    wanted_NQE = theirs(shuffled.reshape(3, 4, 32))
    torch.testing.assert_close(tokens_NQE, wanted_NQE, atol=1e-6, rtol=1e-5)
    cotangent = torch.randn_like(wanted_NQE)
    got = torch.autograd.grad(tokens_NQE, features_NPD, cotangent)
    wanted = torch.autograd.grad(wanted_NQE, features_NPD, cotangent)
    torch.testing.assert_close(got, wanted, atol=1e-6, rtol=1e-5)


def test_hidden_patches_change_nothing():
    module, mask_NP = built(PatchGrid(5, 5)), torch.rand(2, 25) < 0.5
    mask_NP[1] = False
    features_NPD = torch.randn(2, 25, 8)
    other = features_NPD.masked_fill(~mask_NP[..., None], torch.nan).requires_grad_()
    tokens_NQE = module(other, mask_NP)
    torch.testing.assert_close(tokens_NQE, module(features_NPD, mask_NP), rtol=0, atol=0)
    tokens_NQE.square().sum().backward()
    assert ((other.grad == 0).all(2) == ~mask_NP).all()


def test_sizes_that_the_factor_does_not_divide():
    spec = PixelShuffleSpec()
    assert spec.tokens_per_view(PatchGrid(32, 32)) == 256
    assert spec.tokens_per_view(PatchGrid(4, 6)) == 6
    for grid in (PatchGrid(27, 27), PatchGrid(4, 3)):
        with pytest.raises(ValueError, match="factor is 2, wanted a divisor of both"):
            spec.tokens_per_view(grid)


def test_runs_compiled_and_in_bfloat16():
    module = built(PatchGrid(5, 5)).bfloat16()
    features_NPD, mask_NP = torch.randn(2, 25, 8).bfloat16(), torch.rand(2, 25) < 0.5
    traced = torch.compile(module, backend="eager", fullgraph=True)
    tokens_NQE = traced(features_NPD, mask_NP)
    assert tokens_NQE.dtype == torch.bfloat16
    torch.testing.assert_close(tokens_NQE, module(features_NPD, mask_NP))


def test_reads_the_projector_of_a_whole_internvl_checkpoint(tmp_path):
    stored = built(PatchGrid(4, 4))
    prefix = "mlp1."
    tensors = {name.replace("layers.", prefix): x for name, x in stored.state_dict().items()}
    save_file({**tensors, "language_model.x": torch.zeros(1)}, tmp_path / "model.safetensors")
    spec = PixelShuffleSpec(weights=str(tmp_path))
    module = PixelShuffle(8, 12, rows=4, cols=4, factor=2)
    report = spec.load(module)
    assert report.unused == ("language_model.x",)
    for name, tensor in module.state_dict().items():
        assert torch.equal(tensor, stored.state_dict()[name]), name
    with pytest.raises(WeightsError, match=r"mlp1.0.weight.*wants \[72\]"):
        spec.load(PixelShuffle(8, 12, rows=6, cols=6, factor=3))


@pytest.mark.parametrize("factor", [2, 3])
def test_keeps_the_contract(factor):
    check_token_sampler(PixelShuffleSpec(factor=factor))
