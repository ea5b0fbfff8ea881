"""The C-Abstractor against timm's stages and torch's pooling, and what borders do to it."""

from __future__ import annotations

import pytest
import torch
from safetensors.torch import save_file
from timm.layers.norm import LayerNorm2d
from timm.models.regnet import RegStage
from torch import nn
from torch.nn.functional import adaptive_avg_pool2d

from mmcore.interfaces import PatchGrid
from mmcore.testing import check_token_sampler
from mmcore_samplers.c_abstractor import CAbstractor, pool
from mmcore_samplers.c_abstractor_spec import CAbstractorSpec


def built(rows=5, cols=7, *, token_rows=2, token_cols=3, depth=2):
    module = CAbstractor(
        8,
        12,
        rows=rows,
        cols=cols,
        token_rows=token_rows,
        token_cols=token_cols,
        width=16,
        depth=depth,
    )
    for name, parameter in module.named_parameters():  # biases too, which start as zeros
        nn.init.normal_(parameter, mean=float("bn.weight" in name), std=0.3)
    return module


def stage(blocks, width_in):
    """timm's stage, as Honeybee makes it, with the weights of ours."""
    theirs = RegStage(
        len(blocks), width_in, 16, stride=1, dilation=1, act_layer=nn.SiLU, norm_layer=LayerNorm2d
    )
    state = blocks.state_dict()
    names = {name: name.split(".", 1) for name in state}
    theirs.load_state_dict({f"b{int(n) + 1}.{rest}": state[k] for k, (n, rest) in names.items()})
    return theirs


def test_is_honeybees_where_the_whole_view_shows_the_picture():
    module = built()
    features_NPD = torch.randn(3, 35, 8, requires_grad=True)
    tokens_NQE = module(features_NPD, torch.ones(3, 35, dtype=torch.bool))
    x_NCYX = (features_NPD + module.pos_embed).transpose(1, 2).reshape(3, 8, 5, 7)
    x_NCRU = adaptive_avg_pool2d(stage(module.before, 8)(x_NCYX), (2, 3))
    x_NQC = stage(module.after, 16)(x_NCRU).flatten(2).transpose(1, 2)
    first, _, second = module.readout
    wanted_NQE = second(nn.functional.silu(first(x_NQC)))
    torch.testing.assert_close(tokens_NQE, wanted_NQE, atol=1e-5, rtol=1e-4)
    cotangent = torch.randn_like(wanted_NQE)
    [got] = torch.autograd.grad(tokens_NQE, features_NPD, cotangent)
    [wanted] = torch.autograd.grad(wanted_NQE, features_NPD, cotangent)
    torch.testing.assert_close(got, wanted, atol=1e-5, rtol=1e-3)


@pytest.mark.parametrize(("rows", "cols"), [(2, 3), (5, 7), (1, 1), (4, 5)])
def test_windows_are_those_of_adaptive_pooling(rows, cols):
    x_NCYX = torch.randn(2, 4, 5, 7)
    mean_NCRU, visible_N1RU = pool(x_NCYX, torch.ones(2, 1, 5, 7, dtype=torch.bool), rows, cols)
    torch.testing.assert_close(mean_NCRU, adaptive_avg_pool2d(x_NCYX, (rows, cols)))
    assert visible_N1RU.all()


def test_a_mean_is_taken_over_what_a_window_shows():
    x_NCYX, visible_N1YX = torch.randn(2, 4, 6, 4), torch.rand(2, 1, 6, 4) < 0.4
    visible_N1YX[0, 0, :2, :2] = False
    mean_NCRU, visible_N1RU = pool(x_NCYX, visible_N1YX, 3, 2)
    for view in range(2):
        for row in range(3):
            for col in range(2):
                window = slice(2 * row, 2 * row + 2), slice(2 * col, 2 * col + 2)
                seen = visible_N1YX[view, 0][window]
                shown = x_NCYX[view][:, *window][:, seen]
                wanted = shown.mean(1) if seen.any() else torch.zeros(4)
                torch.testing.assert_close(mean_NCRU[view, :, row, col], wanted)
                assert visible_N1RU[view, 0, row, col] == seen.any()
    assert not visible_N1RU[0, 0, 0, 0]


def test_blocks_see_a_bordered_view_as_if_it_were_only_the_picture():
    module = built(depth=3)
    whole_NCYX = torch.randn(1, 8, 5, 7)
    visible_N1YX = torch.zeros(1, 1, 5, 7, dtype=torch.bool)
    visible_N1YX[..., 1:4, 2:6] = True
    x_NCYX, alone_NCYX = whole_NCYX, whole_NCYX[..., 1:4, 2:6]
    everything = torch.ones(1, 1, 3, 4, dtype=torch.bool)
    for block in module.before:
        x_NCYX, alone_NCYX = block(x_NCYX, visible_N1YX), block(alone_NCYX, everything)
    torch.testing.assert_close(x_NCYX[..., 1:4, 2:6], alone_NCYX, atol=1e-5, rtol=1e-4)


def test_hidden_patches_change_nothing_and_get_no_gradient():
    module, mask_NP = built(), torch.rand(3, 35) < 0.5
    mask_NP[1, 10:], mask_NP[2] = False, False
    features_NPD = torch.randn(3, 35, 8)
    other = features_NPD.masked_fill(~mask_NP[..., None], torch.nan).requires_grad_()
    tokens_NQE = module(other, mask_NP)
    assert tokens_NQE.isfinite().all()
    torch.testing.assert_close(tokens_NQE, module(features_NPD, mask_NP), rtol=0, atol=0)
    tokens_NQE.square().sum().backward()
    assert (other.grad[~mask_NP] == 0).all()
    assert (other.grad[mask_NP].abs().sum(1) > 0).all()
    silent = [
        n for n, p in module.named_parameters() if not p.grad.isfinite().all() or not p.grad.any()
    ]
    assert not silent, silent


def test_a_token_knows_its_neighbours_and_where_it_is():
    module = built(4, 4, token_rows=4, token_cols=4, depth=1)
    features_NPD, mask_NP = torch.randn(1, 16, 8), torch.ones(1, 16, dtype=torch.bool)
    changed = features_NPD.clone()
    changed[0, 5] += 1.0
    moved = (module(changed, mask_NP) - module(features_NPD, mask_NP))[0].abs().sum(1)
    assert (moved[[0, 1, 2, 4, 5, 6, 8, 9, 10]] > 1e-3).all()
    same = features_NPD[:, :1].expand(1, 16, 8)
    tokens_QE = module(same, mask_NP)[0]
    assert (tokens_QE[5] - tokens_QE[6]).abs().max() > 1e-3


def test_runs_compiled_in_bfloat16_and_on_meta():
    module = built().bfloat16()
    features_NPD, mask_NP = torch.randn(2, 35, 8).bfloat16(), torch.rand(2, 35) < 0.5
    traced = torch.compile(module, backend="eager", fullgraph=True)
    tokens_NQE = traced(features_NPD, mask_NP)
    assert tokens_NQE.dtype == torch.bfloat16
    torch.testing.assert_close(tokens_NQE, module(features_NPD, mask_NP))
    meta = module.to("meta")(features_NPD.to("meta"), mask_NP.to("meta"))
    assert meta.shape == (2, 6, 12)


def test_tokens_of_a_view():
    assert CAbstractorSpec().tokens_per_view(PatchGrid(27, 27)) == 144
    assert CAbstractorSpec(token_rows=8, token_cols=16).tokens_per_view(PatchGrid(14, 27)) == 128
    with pytest.raises(ValueError, match="is 8 x 16, wanted at most the grid of 27 x 14 patches"):
        CAbstractorSpec(token_rows=8, token_cols=16).tokens_per_view(PatchGrid(27, 14))


def test_weights_come_back(tmp_path):
    stored, grid = built(), PatchGrid(5, 7)
    save_file(stored.state_dict(), tmp_path / "model.safetensors")
    sizes = {"token_rows": 2, "token_cols": 3, "width": 16, "depth": 2}
    spec = CAbstractorSpec(weights=str(tmp_path), **sizes)
    module = spec.build(dim_in=8, dim_out=12, grid=grid, attention="sdpa")
    report = spec.load(module)
    assert set(report.loaded) == set(stored.state_dict())
    features_NPD, mask_NP = torch.randn(1, 35, 8), torch.rand(1, 35) < 0.7
    torch.testing.assert_close(module(features_NPD, mask_NP), stored(features_NPD, mask_NP))


def test_keeps_the_contract():
    check_token_sampler(CAbstractorSpec())
    check_token_sampler(CAbstractorSpec(token_rows=3, token_cols=8))
