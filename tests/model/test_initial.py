"""A model before its values: each is made once, under the name of its parameter."""

from __future__ import annotations

from functools import partial

import pytest
import torch
from torch import nn

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
def test_values_from_elsewhere_are_asked_for_once_each(looks):
    asked = []

    def value(name: str, shape: torch.Size) -> torch.Tensor:
        asked.append(name)
        return torch.full(shape, float(len(asked)))

    one = initial(looks)
    shapes = {name: parameter.shape for name, parameter in one.model.named_parameters()}
    one.instead({name: partial(value, name, shape) for name, shape in shapes.items()})
    assert asked == []
    filled = one.filled(CPU)
    assert asked == list(shapes)
    for number, name in enumerate(shapes, 1):
        assert (filled.get_parameter(name) == number).all(), name


def test_one_that_was_put_in_later_keeps_what_it_has():
    one = initial()
    one.model.llm.added = nn.Parameter(torch.full((2,), 4.0))
    values = dict(one.values())
    assert "llm.added" not in values
    assert one.filled(CPU).llm.added.tolist() == [4, 4]
