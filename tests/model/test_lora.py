"""Adapters compute what peft's do, learn alone, merge into weights, and can be passed by."""

from __future__ import annotations

import copy

import peft
import pytest
import torch
from torch import nn

from mmcore.interfaces import PARTS, Lora
from mmcore.model.lora import LoraError, adaptable, chosen, is_adapter, pair_of, product
from mmcore.model.lora import adapt as adapt_layers
from mmcore.model.trainable import describe, parameter_groups, set_trainable

LORA = Lora(rank=4, alpha=6.0)


def adapt(part: nn.Module, lora: Lora, *, seed: int) -> list[str]:
    layers = chosen(lora, adaptable(part))
    adapt_layers(part, lora, layers, seed=seed)
    return layers


class Block(nn.Module):
    """Two layers that end alike, an output layer's cousin, and torch's attention."""

    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(6, 6)
        self.inner = nn.ModuleDict({"fc": nn.Linear(6, 6), "out": nn.Linear(6, 3, bias=False)})
        self.attention = nn.MultiheadAttention(6, 2)

    def forward(self, x_NI: torch.Tensor) -> torch.Tensor:
        x_NI = x_NI + self.attention(x_NI, x_NI, x_NI)[0]
        answer: torch.Tensor = self.inner["out"](self.inner["fc"](self.fc(x_NI)).relu())
        return answer


@pytest.fixture
def block() -> Block:
    torch.manual_seed(1)
    return Block()


def stirred(module: nn.Module) -> None:
    """Give the adapters values as training would."""
    generator = torch.Generator().manual_seed(4)
    with torch.no_grad():
        for name, one in module.named_parameters():
            if is_adapter(name):
                one.copy_(torch.randn(one.shape, generator=generator) * 0.2)


def test_values_and_gradients_are_those_of_pefts_own_model(block):
    theirs = peft.get_peft_model(
        copy.deepcopy(block),
        peft.LoraConfig(r=4, lora_alpha=6, target_modules=["inner.fc", "out"]),
    )
    adapt(block, Lora(rank=4, alpha=6.0, targets=("inner.fc", "out")), seed=0)
    stirred(block)
    own = dict(block.named_parameters())
    with torch.no_grad():
        for name, one in theirs.named_parameters():
            one.copy_(own[name.removeprefix("base_model.model.")])
    for name, one in block.named_parameters():
        one.requires_grad_(is_adapter(name))
    x_NI = torch.randn(5, 6)
    torch.testing.assert_close(block(x_NI), theirs(x_NI), rtol=0, atol=0)
    block(x_NI).square().sum().backward()
    theirs(x_NI).square().sum().backward()
    for name, one in theirs.named_parameters():
        mine = own[name.removeprefix("base_model.model.")].grad
        assert (one.grad is None) == (mine is None), name
        if mine is not None:
            torch.testing.assert_close(mine, one.grad, rtol=0, atol=0)


def test_fresh_adapters_change_nothing_and_depend_on_seed_and_name_alone(block):
    x_NI = torch.randn(5, 6)
    before = block(x_NI)
    other = copy.deepcopy(block)
    layers = adapt(block, LORA, seed=7)
    assert layers == ["fc", "inner.fc", "inner.out"]  # attention's out_proj is never called
    torch.testing.assert_close(block(x_NI), before, rtol=0, atol=0)
    torch.rand(3)
    assert adapt(other, Lora(rank=4, targets=("inner.fc",)), seed=7) == ["inner.fc"]
    name = "inner.fc.lora_A.default.weight"
    assert torch.equal(block.get_parameter(name), other.get_parameter(name))
    ours = block.get_parameter(name)
    assert not torch.equal(ours, block.get_parameter("fc.lora_A.default.weight"))
    assert 0 < ours.abs().max() <= 1 / 6**0.5


def test_a_target_is_the_end_of_a_name_at_a_dot(block):
    assert adapt(copy.deepcopy(block), Lora(targets=("fc",)), seed=0) == ["fc", "inner.fc"]
    with pytest.raises(LoraError, match=r"'inner.fx' names no layer; did you mean 'inner.fc'\?"):
        adapt(copy.deepcopy(block), Lora(targets=("fc", "inner.fx")), seed=0)
    with pytest.raises(LoraError, match="'zzz' names no layer; layers end in: fc, out"):
        adapt(block, Lora(targets=("zzz",)), seed=0)
    with pytest.raises(LoraError, match="no linear layer"):
        adapt(nn.Sequential(nn.LayerNorm(3)), LORA, seed=0)


def test_merged_weights_answer_as_adapters_do(block):
    plain = copy.deepcopy(block)
    adapt(block, LORA, seed=0)
    stirred(block)
    own = dict(block.named_parameters())
    with torch.no_grad():
        for name, one in own.items():
            if pair := pair_of(name):
                down, up = (own[each] for each in pair)
                merged = one + product(down, up, LORA)
                plain.get_parameter(name.replace(".base_layer", "")).copy_(merged)
    x_NI = torch.randn(5, 6)
    torch.testing.assert_close(plain(x_NI), block(x_NI), rtol=1e-6, atol=1e-6)
    assert not torch.allclose(plain(x_NI), Block()(x_NI), atol=1e-3)


@pytest.mark.parametrize("part", PARTS)
def test_of_a_part_every_adapter_gets_a_gradient_and_nothing_else_learns(model, cases, pack, part):
    """A layer whose weight is used without calling it would have adapters that never learn."""
    sizes = {one.part: one.parameters for one in describe(model)}
    model.adapt({part: LORA}, seed=3)
    stirred(model)
    set_trainable(model, [part])
    learning = {name for name, one in model.named_parameters() if one.requires_grad}
    assert learning
    assert all(is_adapter(name) and name.startswith(f"{part}.") for name in learning)
    batch = pack(cases)
    h_LE = model.hidden(batch)[batch.label_index_L]
    model.nll(h_LE, batch.targets_L).sum().backward()
    for name, one in model.named_parameters():
        assert (one.grad is not None and bool(one.grad.any())) == (name in learning), name
    (group,) = parameter_groups(model, [(part, 1e-3)], 0.1)
    assert set(group.names) == learning
    for size in describe(model):
        added = sum(one.numel() for one in group.parameters) if size.part == part else 0
        assert (size.trainable, size.parameters) == (added, sizes[size.part] + added)


def test_output_layers_and_unused_layers_get_none(model):
    names = adaptable(model.llm)
    assert "lm_head" not in names
    assert "model.layers.0.self_attn.qkv_proj" in names
    model.adapt({"encoder": LORA}, seed=0)
    assert not any(is_adapter(name) and "attn_pool" in name for name, _ in model.named_parameters())


def test_without_adapters_the_model_is_what_it_was(model, cases, pack):
    batch = pack(cases)
    before = model.hidden(batch)
    model.adapt({"llm": LORA, "token_sampler": LORA}, seed=3)
    stirred(model)
    set_trainable(model, ["llm"])  # the other part's adapters are there, and frozen
    required = {name: one.requires_grad for name, one in model.named_parameters()}
    adapted = model.hidden(batch)
    assert not torch.allclose(adapted, before, atol=1e-3)
    with model.without_adapters(), torch.no_grad():
        torch.testing.assert_close(model.hidden(batch), before, rtol=0, atol=0)
    assert {name: one.requires_grad for name, one in model.named_parameters()} == required
    torch.testing.assert_close(model.hidden(batch), adapted, rtol=0, atol=0)


def test_gradients_after_a_pass_without_adapters_are_the_same(model, cases, pack):
    """A reference pass stands between a preference objective's forward and its backward."""
    model.adapt({"llm": LORA}, seed=3)
    stirred(model)
    set_trainable(model, ["llm"])
    batch, gradients = pack(cases), []
    for reference in (False, True):
        model.zero_grad()
        loss = model.hidden(batch).square().sum()
        if reference:
            with model.without_adapters(), torch.no_grad():
                model.hidden(batch)
        loss.backward()
        gradients.append({n: p.grad for n, p in model.named_parameters() if p.requires_grad})
    assert gradients[0]
    for name, one in gradients[0].items():
        torch.testing.assert_close(gradients[1][name], one, rtol=0, atol=0)


def test_the_same_adapters_stay_and_others_are_refused(model):
    model.adapt({"llm": LORA}, seed=3)
    stirred(model)
    before = {name: one.clone() for name, one in model.named_parameters()}
    model.adapt({"llm": LORA}, seed=4)
    assert all(torch.equal(before[name], one) for name, one in model.named_parameters())
    with pytest.raises(LoraError, match="llm has adapters already"):
        model.adapt({"llm": Lora(rank=2)}, seed=4)
    with pytest.raises(LoraError, match="lora of token_sampler: 'to_qq' names no layer"):
        model.adapt({"token_sampler": Lora(targets=("to_qq",))}, seed=4)


def test_a_model_on_meta_gets_adapters_there(block):
    with torch.device("meta"):
        empty = Block()
    adapt(empty, LORA, seed=0)
    assert all(one.is_meta for one in empty.parameters())
    shape = empty.get_parameter("fc.lora_B.default.weight").shape
    assert shape == (6, 4)
