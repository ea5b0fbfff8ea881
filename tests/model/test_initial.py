"""A model before its values: what fills it again is read one parameter at a time."""

from __future__ import annotations

from functools import partial

import pytest
import torch
from torch import nn

from mmcore.interfaces import Lora
from mmcore.kit.unfilled import build_unfilled
from mmcore.model.initial import Initial

CPU = torch.device("cpu")


class Part(nn.Module):
    def __init__(self, width: int, looks: bool = False) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(width, 300))
        self.still = nn.Parameter(torch.ones(3), requires_grad=False)
        self.register_buffer("table", torch.arange(4.0), persistent=False)
        if looks:
            self.weight.detach().numpy()


def initial(looks: bool = False) -> Initial:
    def part(width: int, name: str, looks: bool = False):
        return build_unfilled(
            lambda: Part(width, looks), lambda _: None, name=name, seeding=lambda _: width
        )

    return Initial(
        {
            "encoder": part(300, "encoder", looks),
            "token_sampler": part(3, "token_sampler"),
            "llm": part(5, "llm"),
        }
    )


def test_values_have_the_names_of_the_model_and_its_order():
    one = initial()
    values = dict(one.values())
    assert list(values) == [name for name, _ in one.model.named_parameters()]
    torch.manual_seed(5)
    assert torch.equal(values["llm.weight"](), torch.randn(5, 300))
    assert one.model.frozen_for_good == {
        f"{part}.still" for part in ("encoder", "token_sampler", "llm")
    }


def test_filled_the_model_is_whole():
    filled = initial().filled(CPU)
    assert not any(one.is_meta for one in (*filled.parameters(), *filled.buffers()))
    torch.manual_seed(3)
    assert torch.equal(filled.token_sampler.weight, torch.randn(3, 300))
    assert filled.llm.table.tolist() == [0, 1, 2, 3]
    assert not filled.llm.still.requires_grad


@pytest.mark.filterwarnings("ignore:encoder is built whole")
@pytest.mark.parametrize("looks", [False, True])
def test_filled_again_it_has_the_other_values(looks):
    one = initial(looks)
    shapes = {name: parameter.shape for name, parameter in one.model.named_parameters()}
    one.instead(
        {
            name: partial(torch.full, shape, float(number))
            for number, (name, shape) in enumerate(shapes.items(), 1)
        }
    )
    assert one.model.llm.still.is_meta
    filled = one.filled(CPU)
    for number, name in enumerate(shapes, 1):
        assert (filled.get_parameter(name) == number).all(), name


def test_fresh_adapters_have_values_of_their_own():
    adapted, plain = adapting(), adapting()
    lora = {"llm": Lora(rank=2)}
    adapted.adapt(lora, 7)
    names = [name for name, _ in adapted.values() if "lora" in name]
    assert names == ["llm.inner.lora_A.default.weight", "llm.inner.lora_B.default.weight"]
    assert adapted.model.get_parameter(names[0]).is_meta
    filled, whole = adapted.filled(CPU), plain.filled(CPU)
    whole.adapt(lora, 7)
    for name, parameter in whole.named_parameters():
        assert torch.equal(filled.get_parameter(name), parameter), name
    assert filled.get_parameter(names[0]).abs().sum() > 0


class Linear(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Linear(4, 3)


def adapting() -> Initial:
    return Initial(
        {
            name: build_unfilled(Linear, lambda _: None, name=name, seeding=lambda _: 1)
            for name in ("encoder", "token_sampler", "llm")
        }
    )


def test_one_that_was_put_in_later_keeps_what_it_has():
    one = initial()
    one.model.llm.added = nn.Parameter(torch.full((2,), 4.0))
    values = dict(one.values())
    assert "llm.added" not in values
    assert one.filled(CPU).llm.added.tolist() == [4, 4]


def test_a_parameter_that_nothing_gives_a_value_is_named():
    one = initial()
    values = dict(one.values())
    del values["llm.still"], values["encoder.weight"]
    one.instead(values)
    with pytest.raises(AssertionError, match=r"a value: encoder\.weight, llm\.still$"):
        one.filled(CPU)
