"""The MLP on pooled cells of patches, against loops over cells and torch's own pooling."""

from __future__ import annotations

import attrs
import pytest
import torch
from torch.nn.functional import avg_pool2d, max_pool2d

from mmcore.interfaces import PatchGrid
from mmcore.testing import check_token_sampler
from mmcore_samplers.cells import into_cells
from mmcore_samplers.mlp import MLP
from mmcore_samplers.spec import MLPSpec


def pooled(features_NPD, mask_NP, grid, side, pooling):
    """What the layers are given, one cell after another; rows and columns may run out."""
    rows_of_cells, cols_of_cells = -(-grid.rows // side), -(-grid.cols // side)
    views = []
    for features_PD, mask_P in zip(features_NPD, mask_NP, strict=True):
        cells = []
        for row in range(rows_of_cells):
            for col in range(cols_of_cells):
                members = [
                    features_PD[y * grid.cols + x]
                    for y in range(row * side, min(row * side + side, grid.rows))
                    for x in range(col * side, min(col * side + side, grid.cols))
                    if mask_P[y * grid.cols + x]
                ]
                if not members:
                    cells.append(torch.zeros(features_PD.shape[1]))
                elif pooling == "average":
                    cells.append(sum(members) / len(members))
                else:
                    cells.append(torch.stack(members).max(0).values)
        views.append(torch.stack(cells))
    return torch.stack(views)


@pytest.mark.parametrize("pooling", ["average", "max"])
@pytest.mark.parametrize(
    ("grid", "side"), [(PatchGrid(4, 6), 2), (PatchGrid(5, 3), 2), (PatchGrid(7, 8), 3)], ids=str
)
def test_every_cell_is_pooled_over_what_it_shows(grid, side, pooling):
    spec = MLPSpec(pool=side, pooling=pooling, edges="pad")
    module = spec.build(dim_in=8, dim_out=12, grid=grid, attention="sdpa")
    features_NPD = torch.randn(3, grid.patches, 8)
    mask_NP = torch.rand(3, grid.patches) < 0.5
    mask_NP[2] = False
    tokens_NQE = module(features_NPD, mask_NP)
    wanted_NQD = pooled(features_NPD, mask_NP, grid, side, pooling)
    assert tokens_NQE.shape[1] == wanted_NQD.shape[1] == spec.tokens_per_view(grid)
    torch.testing.assert_close(tokens_NQE, module.layers(wanted_NQD), atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize(
    ("pooling", "reference"), [("average", avg_pool2d), ("max", max_pool2d)], ids=["avg", "max"]
)
def test_views_without_borders_are_pooled_as_torch_does(pooling, reference):
    grid = PatchGrid(6, 4)
    module = MLP(8, 12, rows=6, cols=4, pool=2, pooling=pooling)
    features_NPD = torch.randn(2, grid.patches, 8)
    image_NDYX = features_NPD.transpose(1, 2).reshape(2, 8, 6, 4)
    wanted_NQD = reference(image_NDYX, 2).flatten(2).transpose(1, 2)
    tokens_NQE = module(features_NPD, torch.ones(2, 24, dtype=torch.bool))
    torch.testing.assert_close(tokens_NQE, module.layers(wanted_NQD))


@pytest.mark.parametrize("pooling", ["average", "max"])
def test_hidden_patches_change_nothing_and_get_no_gradient(pooling):
    module = MLP(8, 12, rows=4, cols=4, pool=2, pooling=pooling)
    mask_NP = torch.rand(2, 16) < 0.5
    features_NPD = torch.randn(2, 16, 8).masked_fill(~mask_NP[..., None], torch.nan)
    features_NPD.requires_grad_()
    tokens_NQE = module(features_NPD, mask_NP)
    assert tokens_NQE.isfinite().all()
    tokens_NQE.square().sum().backward()
    silent_NP = (features_NPD.grad == 0).all(2)
    assert silent_NP[~mask_NP].all()
    if pooling == "average":
        assert not silent_NP[mask_NP].any()


def test_a_cell_keeps_the_reading_order():
    numbers_NPC = torch.arange(12.0).reshape(1, 12, 1)
    cells_NQSC, seen_NQS = into_cells(
        numbers_NPC, torch.ones(1, 12, dtype=torch.bool), rows=3, cols=4, side=2
    )
    assert cells_NQSC[0, :, :, 0].tolist() == [
        [0, 1, 4, 5],
        [2, 3, 6, 7],
        [8, 9, 0, 0],
        [10, 11, 0, 0],
    ]
    assert seen_NQS[0, 2:].tolist() == [[True, True, False, False]] * 2


def test_pooling_keeps_the_number_format_and_needs_no_answer_from_the_device():
    module = MLP(8, 12, rows=5, cols=5, pool=2).bfloat16()
    features_NPD, mask_NP = torch.randn(2, 25, 8).bfloat16(), torch.rand(2, 25) < 0.5
    eager_NQE = module(features_NPD, mask_NP)
    assert eager_NQE.dtype == torch.bfloat16
    traced = torch.compile(module, backend="eager", fullgraph=True)  # no break, so no question
    torch.testing.assert_close(traced(features_NPD, mask_NP), eager_NQE)
    meta = module.to("meta")(features_NPD.to("meta"), mask_NP.to("meta"))
    assert meta.shape == eager_NQE.shape


def test_a_side_that_does_not_divide_the_grid_is_refused_with_what_would_do():
    with pytest.raises(
        ValueError, match="pool is 2, wanted a divisor of both rows and columns"
    ) as e:
        MLPSpec(pool=2).tokens_per_view(PatchGrid(27, 27))
    assert '(1, 3, 9, 27), or edges = "pad", which makes 14 x 14 cells' in str(e.value)
    assert MLPSpec(pool=3).tokens_per_view(PatchGrid(27, 27)) == 81
    assert MLPSpec(pool=2, edges="pad").tokens_per_view(PatchGrid(27, 27)) == 196
    assert MLPSpec().tokens_per_view(PatchGrid(27, 27)) == 729


@pytest.mark.parametrize("changes", [{"pool": 2}, {"pool": 3, "pooling": "max"}], ids=str)
def test_keeps_the_contract(changes):
    check_token_sampler(attrs.evolve(MLPSpec(), **changes))
