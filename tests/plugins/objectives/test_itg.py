"""Image-grounded generation: a smoothed sum over the tokens that are there, and their number."""

from __future__ import annotations

import pytest
import torch
from torch.nn.functional import cross_entropy

from mmcore_objectives.pair_specs import ItgSpec

TEXTS = ([5, 1, 2], [5, 3])


def answer(scores_BWV: torch.Tensor, ids_BW: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """What a sampler provides; with rubbish where nothing is to be looked at."""
    logp_BWV = scores_BWV.log_softmax(2)
    nll_BW = -logp_BWV.gather(2, ids_BW[:, :, None])[:, :, 0]
    return nll_BW, -logp_BWV.mean(2)


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_it_is_the_smoothed_cross_entropy_of_all_tokens_but_the_first(
    pack, table, smoothing
) -> None:
    batch = pack(TEXTS)
    scores = torch.randn(2, 3, 9, generator=torch.Generator().manual_seed(1))
    objective = ItgSpec(label_smoothing=smoothing).build()
    model = table(answer(scores, batch.aux["pair_ids_BW"]))
    kept, targets = scores[[0, 0, 1], [1, 2, 1]], torch.tensor([1, 2, 3])
    wanted = cross_entropy(kept, targets, label_smoothing=smoothing, reduction="sum")
    assert objective.loss(model, batch).item() == pytest.approx(wanted.item(), rel=1e-6)
    assert objective.count(batch) == 3
    assert model.told["nll"] == pytest.approx(
        cross_entropy(kept, targets, reduction="sum").item(), rel=1e-6
    )


def test_a_pack_without_pairs_weighs_nothing(pack, table) -> None:
    batch = pack([])
    nll, spread = torch.ones(1, 2, requires_grad=True), torch.ones(1, 2, requires_grad=True)
    objective = ItgSpec().build()
    loss = objective.loss(table((nll, spread)), batch)
    loss.backward()
    assert (objective.count(batch), loss.item(), nll.grad.sum().item()) == (0, 0, 0)
