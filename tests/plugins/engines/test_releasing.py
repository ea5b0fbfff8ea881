"""A closed engine's memory is given back, whoever still refers to its objects."""

import torch
from torch import nn

from mmcore_engines.releasing import release


class Holder:
    def __init__(self) -> None:
        self.flat = [torch.ones(8)]
        self.state = {"step": 3, self.flat[0]: {"exp_avg": torch.ones(8)}}
        self.itself = [self.flat]
        self.itself.append(self.itself)


def test_everything_is_empty_although_it_is_still_referred_to() -> None:
    module, holder = nn.Linear(3, 3), Holder()
    module(torch.ones(1, 3)).sum().backward()
    weight, grad = module.weight, module.weight.grad
    moment = holder.state[holder.flat[0]]["exp_avg"]
    release(module, holder)
    for tensor in (weight, grad, holder.flat[0], moment):
        assert tensor.untyped_storage().nbytes() == 0
    assert weight.grad is None


def test_memory_that_belongs_to_others_stays(tmp_path) -> None:
    holder = Holder()
    owned = holder.flat[0].numpy()  # numpy refers to it, torch owns it
    array = owned.copy()
    holder.flat[0] = torch.from_numpy(array)  # now numpy owns it
    release(nn.Linear(2, 2), holder)
    assert array.tolist() == [1.0] * 8
