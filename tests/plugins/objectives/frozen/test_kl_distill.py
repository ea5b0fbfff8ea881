"""Distillation equals a divergence that is computed from whole logits."""

from __future__ import annotations

import pytest
import torch

from mmcore.data.collate import blank_batch
from mmcore.interfaces import Teacher
from mmcore.kit.lm_head import Head
from mmcore.training.step_module import TrainingStep
from mmcore_objectives.frozen_spec import KlDistillSpec


def logits_at_labels(model, batch) -> torch.Tensor:
    return model.llm.head(model.hidden(batch)[batch.label_index_L]).float().double()


def divergence(taught_LV, own_LV, temperature: float) -> torch.Tensor:
    taught_LV, own_LV = (one / temperature for one in (taught_LV, own_LV))
    p_LV = taught_LV.exp() / taught_LV.exp().sum(-1, keepdim=True)
    q_LV = own_LV.exp() / own_LV.exp().sum(-1, keepdim=True)
    return (p_LV * (p_LV / q_LV).log()).sum(-1) * temperature**2


@pytest.mark.parametrize("temperature", [1.0, 2.5])
@pytest.mark.parametrize("teacher", ["adapters", "elsewhere"])
def test_it_is_the_divergence_at_learned_positions(
    model, another, pack, pairs, teacher, temperature
) -> None:
    model, another = model.double(), another.double()
    objective = KlDistillSpec(teacher=teacher, temperature=temperature).build()
    step = TrainingStep(model, [objective], [1.0], {"elsewhere": another})
    batch = pack(pairs)  # of which only the preferred answers are learned
    loss, _ = step(batch, [1.0])
    loss.backward()
    found = {n: p.grad.clone() for n, p in model.named_parameters() if p.grad is not None}
    model.zero_grad()

    with torch.no_grad():
        if teacher == "adapters":
            with model.without_adapters():
                taught_LV = logits_at_labels(model, batch)
        else:
            taught_LV = logits_at_labels(another, batch)
    kl_L = divergence(taught_LV, logits_at_labels(model, batch), temperature)
    wanted = kl_L[batch.label_weight_L > 0].sum()
    wanted.backward()
    assert objective.count(batch) == sum(pair.labels for pair in pairs)
    assert wanted > 0.01
    torch.testing.assert_close(loss.double(), wanted, rtol=1e-5, atol=1e-5)
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            torch.testing.assert_close(found[name], parameter.grad, rtol=1e-4, atol=1e-5, msg=name)


def test_a_teacher_teaches_itself_nothing(model, pack, pairs, preparer) -> None:
    for name, parameter in model.named_parameters():
        if ".lora_B." in name:
            parameter.data.zero_()
    step = TrainingStep(model, [KlDistillSpec(teacher="adapters").build()], [1.0])
    assert step(pack(pairs), [1.0])[0].item() == pytest.approx(0, abs=1e-5)
    loss, _ = step(blank_batch(preparer.view, preparer.text), [1.0])
    loss.backward()
    assert loss.item() == 0
    assert all(one.grad is not None for one in model.parameters() if one.requires_grad)


@pytest.mark.parametrize("rows", [(50, 64), (64, 50)])
def test_rows_that_only_one_of_them_has_are_left_out(rows) -> None:
    torch.manual_seed(0)
    head, theirs = Head(8, rows[0], rows=3), torch.nn.Linear(8, rows[1])
    h_LE, taught_LE = torch.randn(7, 8), torch.randn(7, 8)
    kl_L = head(h_LE, teacher=Teacher(taught_LE, theirs, temperature=2.0))
    taught_LV, own_LV = theirs(taught_LE)[:, :50].double(), head(h_LE)[:, :50].double()
    torch.testing.assert_close(
        kl_L.double(), divergence(taught_LV, own_LV, 2.0) / 4, rtol=1e-5, atol=1e-6
    )


def test_no_more_logits_at_once_than_the_head_says() -> None:
    torch.manual_seed(0)
    head, theirs, seen = Head(8, 50, rows=3), torch.nn.Linear(6, 50), []

    def logits(h_LE: torch.Tensor) -> torch.Tensor:
        seen.append(len(h_LE))
        return theirs(h_LE)

    h_LE, taught_LE = torch.randn(7, 8, requires_grad=True), torch.randn(7, 6)
    kl_L = head(h_LE, teacher=Teacher(taught_LE, logits, temperature=2.0))
    assert seen == [3, 3, 1]
    wanted_L = divergence(theirs(taught_LE).detach().double(), head(h_LE).double(), 2.0) / 4
    torch.testing.assert_close(kl_L.double(), wanted_L, rtol=1e-5, atol=1e-6)
    kl_L.sum().backward()
    assert sorted(seen) == [1, 1, 3, 3, 3, 3], "they are made again when they are needed"
    assert theirs.weight.grad is None
