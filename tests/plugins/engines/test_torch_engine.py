"""The torch engine against a loop written out by hand."""

from __future__ import annotations

import math

import attrs
import pytest
import torch
from torch import nn

from mmcore.interfaces import ParameterGroup, World
from mmcore_engines.spec import TorchSpec
from mmcore_optim.spec import AdamWSpec


@attrs.frozen
class Rows:
    """Stands for a pack: the engine moves it and hands it on."""

    x: torch.Tensor

    def to(self, device: torch.device) -> Rows:
        return Rows(self.x.to(device))


class Squares(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.frozen = nn.Linear(4, 4).requires_grad_(False)
        self.layer = nn.Linear(4, 3)

    def forward(self, batch: Rows, divisors: list[float]) -> tuple[torch.Tensor, torch.Tensor]:
        loss = self.layer(self.frozen(batch.x)).square().sum().float()
        return loss / divisors[0], loss.detach().reshape(1)


def build(optimizer: AdamWSpec, precision: str = "fp32"):
    module = Squares()
    groups = [
        ParameterGroup("llm", ("layer.weight",), (module.layer.weight,), 0.1, 0.2),
        ParameterGroup("llm", ("layer.bias",), (module.layer.bias,), 0.05, 0.0),
    ]
    spec = TorchSpec(precision=precision)
    return module, spec.build(module=module, groups=groups, optimizer=optimizer, world=World())


def rows(seed: int) -> Rows:
    return Rows(torch.randn(5, 4, generator=torch.Generator().manual_seed(seed)))


def adamw_by_hand(parameter, gradient, state, lr, decay, beta1=0.9, beta2=0.999, eps=1e-8):
    """The rule as published: decoupled decay, then the bias-corrected update."""
    state["t"] += 1
    state["m"] = beta1 * state["m"] + (1 - beta1) * gradient
    state["v"] = beta2 * state["v"] + (1 - beta2) * gradient**2
    mean = state["m"] / (1 - beta1 ** state["t"])
    square = state["v"] / (1 - beta2 ** state["t"])
    return parameter * (1 - lr * decay) - lr * mean / (square.sqrt() + eps)


def test_steps_are_adamw_on_the_clipped_sum_of_the_packs() -> None:
    module, engine = build(AdamWSpec(lr=0.1, clip_norm=0.7))
    reference = Squares()
    settings = {"layer.weight": (0.1, 0.2), "layer.bias": (0.05, 0.0)}
    states = {name: {"t": 0, "m": 0.0, "v": 0.0} for name in settings}
    for step in range(4):
        norm = None
        packs = [rows(2 * step), rows(2 * step + 1)]
        for pack in packs:
            engine.backward(pack, [10.0])
        multiplier = 1.0 / (step + 1)
        norm = engine.step(multiplier)
        reference.zero_grad()
        sum(reference(pack, [10.0])[0] for pack in packs).backward()
        named = {name: one for name, one in reference.named_parameters() if one.requires_grad}
        expected = math.sqrt(sum(float(one.grad.square().sum()) for one in named.values()))
        assert float(norm) == pytest.approx(expected, rel=1e-6)
        for name, one in named.items():
            gradient = one.grad * min(1.0, 0.7 / expected)
            lr, decay = settings[name]
            one.data = adamw_by_hand(one.data, gradient, states[name], lr * multiplier, decay)
    for name, one in reference.named_parameters():
        torch.testing.assert_close(dict(module.named_parameters())[name], one, atol=2e-6, rtol=1e-5)


def test_every_gradient_is_measured_once(monkeypatch) -> None:
    """What is measured of the parts makes up the whole."""
    module, engine = build(AdamWSpec(lr=0.1))
    engine.backward(rows(0), [1.0])
    gradients = [one.grad.clone() for one in module.parameters() if one.grad is not None]
    measured, measure = [], torch.nn.utils.get_total_norm

    def measuring(tensors, *args, **kwargs):
        measured.extend(one.numel() for one in tensors)
        return measure(tensors, *args, **kwargs)

    monkeypatch.setattr(torch.nn.utils, "get_total_norm", measuring)
    norm = engine.step(1.0)
    assert measured == [12, 3, 1]  # weight, bias, the norm of the one part
    assert float(norm) == pytest.approx(float(measure(gradients)), rel=1e-6)
    assert float(engine.part_norms()["llm"]) == float(norm)


@attrs.frozen(kw_only=True)
class PlainSpec(AdamWSpec):
    """AdamW of the kind that knows nothing of ``found_inf``."""

    def build(self, groups):
        tables = [{"params": list(one.parameters), "lr": one.lr} for one in groups]
        return torch.optim.AdamW(tables, foreach=False, fused=False)


@pytest.mark.parametrize("optimizer", [AdamWSpec(lr=0.1), PlainSpec(lr=0.1)])
@pytest.mark.parametrize("poison", [math.nan, math.inf])
def test_a_gradient_that_is_not_finite_changes_nothing(optimizer, poison) -> None:
    module, engine = build(optimizer)
    engine.backward(rows(0), [1.0])
    engine.step(1.0)
    before = list(engine.parameter_states())
    engine.backward(rows(1), [1.0])
    engine.backward(Rows(torch.full((1, 4), poison)), [1.0])
    assert not math.isfinite(float(engine.step(1.0)))
    for one, other in zip(before, engine.parameter_states(), strict=True):
        assert torch.equal(one.weight, other.weight)
        assert all(torch.equal(one.moments[key], other.moments[key]) for key in one.moments)
        assert one.steps == other.steps
    assert all(parameter.grad is None for parameter in module.parameters())
    engine.backward(rows(2), [1.0])
    assert math.isfinite(float(engine.step(1.0)))
    assert {state.steps for state in engine.parameter_states()} == {0, 2}


def test_a_first_step_may_be_the_bad_one() -> None:
    _, engine = build(AdamWSpec(lr=0.1))
    engine.backward(Rows(torch.full((1, 4), math.nan)), [1.0])
    engine.step(1.0)
    assert {state.steps for state in engine.parameter_states()} == {0}
    assert all((one == 0).all() for s in engine.parameter_states() for one in s.moments.values())


def test_states_are_copies_and_carry_on_exactly() -> None:
    _, engine = build(AdamWSpec(lr=0.1))
    engine.backward(rows(0), [1.0])
    engine.step(1.0)
    states = list(engine.parameter_states())
    module, other = build(AdamWSpec(lr=0.1))
    other.restore(states)
    for one in (engine, other):
        one.backward(rows(1), [1.0])
        one.step(0.5)
    for one, two in zip(engine.parameter_states(), other.parameter_states(), strict=True):
        assert torch.equal(one.weight, two.weight)
        assert all(torch.equal(one.moments[key], two.moments[key]) for key in one.moments)
    assert not torch.equal(states[2].weight, next(module.layer.parameters()))
    assert [(one.name, sorted(one.moments), one.steps) for one in states[1:3]] == [
        ("frozen.bias", [], 0),
        ("layer.weight", ["exp_avg", "exp_avg_sq"], 1),
    ]


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (lambda states: states[:-1], "lacks 1 parameters of the model: layer.bias"),
        (lambda states: [*states, attrs.evolve(states[0], name="more")], "'more', which the model"),
        (
            lambda states: [attrs.evolve(states[0], weight=torch.zeros(2)), *states[1:]],
            r"'frozen.weight' has shape \(2,\) in the checkpoint, \(4, 4\) in the model",
        ),
    ],
)
def test_states_of_another_model_are_refused(change, named) -> None:
    _, engine = build(AdamWSpec(lr=0.1))
    with pytest.raises(ValueError, match=named):
        engine.restore(change(list(engine.parameter_states())))


def test_bfloat16_runs_products_in_bfloat16_and_keeps_weights_float32() -> None:
    module, engine = build(AdamWSpec(lr=0.1), "bf16")
    seen = []
    module.layer.register_forward_hook(lambda *call: seen.append(call[-1].dtype))
    engine.backward(rows(0), [1.0])
    engine.step(1.0)
    assert seen == [torch.bfloat16]
    assert {one.dtype for one in module.parameters()} == {torch.float32}


def test_more_than_one_process_is_refused() -> None:
    with pytest.raises(
        ValueError, match=r'one process, and this run has 2; set engine.use = "deep'
    ):
        TorchSpec().build(
            module=Squares(), groups=[], optimizer=AdamWSpec(lr=1.0), world=World(size=2)
        )
