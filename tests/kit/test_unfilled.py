"""A module without storage gives the values of its parameters one by one, and keeps the rest."""

from __future__ import annotations

from collections import deque
from typing import NamedTuple

import pytest
import torch
from torch import nn

from mmcore.interfaces import WeightsError
from mmcore.kit.unfilled import become, build_unfilled

CPU = torch.device("cpu")


class Rotating(nn.Module):
    """Tables of every kind that a module may keep: two share a storage, one is no buffer."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(4, 4))
        self.frozen = nn.Parameter(torch.ones(2), requires_grad=False)
        angles = torch.outer(torch.arange(5.0), torch.tensor([1.0, 0.1]))
        self.register_buffer("cosines", angles.cos(), persistent=False)
        self.register_buffer("count", torch.zeros((), dtype=torch.long))
        self.register_buffer("first_rows", self.cosines[:2], persistent=False)
        self.aside = [angles.sin()]


def unfilled(build=Rotating, load=lambda module: None, seed=5):
    return build_unfilled(build, load, name="part", seeding=lambda name: seed)


def test_parameters_have_no_storage_and_their_values_one_by_one():
    made = unfilled()
    assert all(one.is_meta for one in made.module.parameters())
    values = {name: make() for name, make in made.values().items()}
    torch.manual_seed(5)
    assert torch.equal(values["weight"], torch.randn(4, 4))
    assert torch.equal(values["frozen"], torch.ones(2))
    assert made.report is None


def test_what_is_no_parameter_is_there_again():
    made, whole = unfilled(), Rotating()
    made.place_others(CPU)
    module = made.module
    for name, buffer in whole.named_buffers():
        assert torch.equal(module.get_buffer(name), buffer), name
    assert torch.equal(module.aside[0], whole.aside[0])
    module.cosines.zero_()
    assert module.first_rows.sum() == 0, "they share a storage no more"
    assert module.weight.is_meta
    assert set(module.state_dict()) == set(whole.state_dict())


class Angles(NamedTuple):
    sines: torch.Tensor
    base: float


class NamedAngles(nn.Module):
    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(2))
        self.angles = Angles(torch.arange(3.0).sin(), 0.5)


def test_a_named_tuple_stays_one():
    made = unfilled(NamedAngles)
    made.place_others(CPU)
    assert isinstance(made.module.angles, Angles)
    assert torch.equal(made.module.angles.sines, torch.arange(3.0).sin())
    assert made.module.angles.base == 0.5


class Holder:
    def __init__(self, held):
        self.held = held


class SlottedHolder:
    __slots__ = ("held",)

    def __init__(self, held):
        self.held = held


def unregistered(held):
    module = nn.Module()
    module.held = held
    return [module]


class Holding(nn.Module):
    def __init__(self, hold):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(2))
        self.inner = nn.Module()
        self.inner.box = {"key": hold(torch.arange(3.0).sin())}


@pytest.mark.parametrize("hold", [Holder, SlottedHolder, unregistered, lambda held: deque([held])])
def test_a_tensor_in_an_object_that_is_not_looked_into_has_numbers_all_the_same(hold):
    with pytest.warns(UserWarning, match=r"built whole .* inner\.box keeps a tensor in a dict"):
        made = unfilled(lambda: Holding(hold))
    made.place_others(CPU)
    box = made.module.inner.box["key"]
    one = box[0] if isinstance(box, list | deque) else box
    held = getattr(one, "held", one)
    assert torch.equal(held, torch.arange(3.0).sin())


def test_objects_without_tensors_are_no_reason_to_build_a_module_whole():
    made = unfilled(lambda: Holding(lambda held: Holder(nn.Module)))
    assert made.module.weight.is_meta


def test_a_parameter_that_becomes_another_stays_the_one_that_others_know():
    made = unfilled()
    parameter = made.module.frozen
    parameter.note = "kept"
    become(parameter, torch.full((2,), 3.0))
    assert made.module.frozen is parameter
    assert isinstance(parameter, nn.Parameter)
    assert parameter.tolist() == [3, 3]
    assert (parameter.note, parameter.requires_grad) == ("kept", False)


class Looking(nn.Module):
    """Looks at all of a large parameter while it is built, in a library that wants an array."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(300, 300))
        self.norm = float(self.weight.detach().numpy().sum())


def test_a_module_that_looks_at_its_values_is_built_whole_and_said_so():
    with pytest.warns(UserWarning, match="part is built whole in memory"):
        made = unfilled(Looking)
    torch.manual_seed(5)
    expected = torch.randn(300, 300)
    make = made.values()["weight"]
    made.module.weight.data = torch.empty(0)  # as an engine does that shares parameters out
    assert torch.equal(make(), expected)
    assert made.module.norm == pytest.approx(float(expected.sum()))


def test_weights_that_do_not_fit_are_an_error_and_no_reason_to_build_again():
    built = []

    def build():
        built.append(1)
        return Rotating()

    def load(module):
        raise WeightsError("weights: too few")

    with pytest.raises(WeightsError, match="too few"):
        unfilled(build, load)
    assert built == [1]
