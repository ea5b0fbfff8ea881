"""The step module divides and weighs, and calls weights by the model's names."""

from __future__ import annotations

import pytest
import torch

from mmcore.training.step_module import TrainingStep


class Halved:
    """The same loss, with a count of its own."""

    def __init__(self, inner: object) -> None:
        self.inner = inner

    def loss(self, forward: object, batch: object) -> torch.Tensor:
        return self.inner.loss(forward, batch) / 2


def test_the_scalar_is_the_weighted_sum_of_divided_losses(toy, next_token, pack) -> None:
    toy.eval()
    batch = pack(0)
    expected = next_token.loss(toy, batch)
    step = TrainingStep(toy, [next_token, Halved(next_token)], [2.0, 3.0])
    total, sums = step(batch, [4.0, 5.0])
    assert torch.allclose(total, expected * 2 / 4 + expected / 2 * 3 / 5)
    assert torch.allclose(sums, torch.stack([expected, expected / 2]))
    assert total.requires_grad
    assert not sums.requires_grad


def test_parameters_go_by_the_names_of_the_model(toy, next_token) -> None:
    step = TrainingStep(toy, [next_token], [1.0])
    assert list(step.named_parameters()) == list(toy.named_parameters())
    assert list(step.parameters()) == list(toy.parameters())
    assert list(step.named_parameters(recurse=False)) == []


def test_every_objective_has_a_weight(toy, next_token) -> None:
    with pytest.raises(ValueError, match="1 objectives and 2 weights"):
        TrainingStep(toy, [next_token], [1.0, 2.0])
