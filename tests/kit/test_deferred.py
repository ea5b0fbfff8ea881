"""Modules that are built without storage get, tensor by tensor, what they would have had."""

from __future__ import annotations

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from mmcore.kit.deferred import LARGE, DeferredError, Recording
from mmcore.kit.weights import fill_by_name, open_tensors

SEEDS = {"first": 1, "second": 2}


def seed_of(name: str) -> int:
    return SEEDS.get(name.partition("#")[0], 99)


def recorded(make, *names):
    """What ``make`` gives without storage, and its recording; its tensors have these names."""
    recording = Recording(seed_of)
    with recording:
        result = make()
    tensors = result if isinstance(result, tuple) else (result,)
    recording.name(zip(names, tensors, strict=True))
    return recording, *tensors


def value(recording, tensor):
    assert tensor.is_meta
    return recording.read(recording.place(tensor))


def drawn(seed, draw):
    torch.manual_seed(seed)
    return draw()


def outer_product():
    positions, frequencies = torch.arange(40.0), 1 / 10 ** (torch.arange(0, 8, 2) / 8)
    return torch.cat([torch.outer(positions, frequencies)] * 2, dim=-1).cos()


def rows_set_apart():
    table = torch.ones(6, 4)
    with torch.no_grad():
        table[2].zero_()
        table[3:5, 1] = torch.tensor([7.0, 8.0])
        table.view(-1)[-1] = 9.0
    return table


def read_before_it_changed():
    before = torch.full((3,), 2.0)
    doubled = before * 2
    before.fill_(5.0)
    return doubled + before


def large_and_computed():
    return torch.arange(LARGE + 8, dtype=torch.float64).reshape(-1, 8).t() @ torch.ones(
        (LARGE + 8) // 8, dtype=torch.float64
    )


@pytest.mark.parametrize(
    "make",
    [
        outer_product,
        rows_set_apart,
        read_before_it_changed,
        large_and_computed,
        lambda: torch.eye(5)[:, 1:].t().contiguous(),
        lambda: torch.linspace(0, 1, 9).bfloat16().float().sort(descending=True)[0],
    ],
)
def test_what_is_computed_is_what_it_would_have_been(make):
    recording, tensor = recorded(make, "first")
    assert torch.equal(value(recording, tensor), make())


@pytest.mark.parametrize(
    "draw",
    [
        lambda: torch.randn(30, 20) * 0.02,
        lambda: nn.init.trunc_normal_(torch.empty(30, 20), std=0.02),
        lambda: nn.init.kaiming_uniform_(torch.empty(30, 20), a=5**0.5),
        lambda: nn.init.orthogonal_(torch.empty(30, 20)),
        lambda: nn.Linear(20, 30).weight.detach(),
    ],
)
def test_what_is_drawn_is_drawn_with_the_seed_of_its_name(draw):
    recording, tensor = recorded(draw, "first")
    expected = drawn(SEEDS["first"], draw)
    assert torch.equal(value(recording, tensor), expected)
    assert not torch.equal(value(*recorded(draw, "second")), expected)


def test_neither_neighbours_nor_the_order_of_asking_change_a_draw():
    def make():
        return torch.randn(8), torch.rand(8)

    recording, first, second = recorded(make, "first", "second")
    backwards = [value(recording, second), value(recording, first)]
    assert torch.equal(backwards[1], drawn(1, lambda: torch.randn(8)))
    assert torch.equal(backwards[0], drawn(2, lambda: torch.rand(8)))
    assert torch.equal(value(recording, first), backwards[1])


def test_a_draw_that_is_written_over_is_not_made():
    def make():
        layer = nn.Linear(4, 4)  # draws by itself
        nn.init.normal_(layer.weight)
        return layer.weight.detach()

    recording, weight = recorded(make, "first")
    assert torch.equal(value(recording, weight), drawn(1, lambda: torch.empty(4, 4).normal_()))


def test_two_draws_of_one_tensor_differ():
    seen = []
    recording = Recording(lambda name: seen.append(name) or len(seen))
    with recording:
        tensor = torch.cat([torch.randn(4), torch.randn(4)])
    recording.name([("first", tensor)])
    halves = value(recording, tensor).chunk(2)
    assert not torch.equal(*halves)
    assert seen == ["first#0", "first#1"]


def test_torchs_own_generator_stays_where_it_was():
    recording, tensor = recorded(lambda: torch.randn(9), "first")
    torch.manual_seed(7)
    before = torch.get_rng_state()
    value(recording, tensor)
    assert torch.equal(torch.get_rng_state(), before)


def test_tied_parameters_are_one():
    def make():
        embedding, head = nn.Embedding(9, 4), nn.Linear(4, 9, bias=False)
        head.weight = embedding.weight
        return embedding.weight, head.weight

    recording, embedding, head = recorded(make, "first", "second")
    assert embedding is head
    assert torch.equal(value(recording, head), drawn(1, lambda: torch.empty(9, 4).normal_()))


def test_small_numbers_may_be_looked_at():
    def make():
        rates = torch.linspace(0, 0.3, 4)
        assert [round(float(rate), 1) for rate in rates] == [0.0, 0.1, 0.2, 0.3]
        assert rates.tolist()[-1] == rates.max().item()
        return rates

    assert torch.equal(value(*recorded(make, "first")), torch.linspace(0, 0.3, 4))


def test_files_are_read_when_a_value_is_asked_for(tmp_path):
    held = nn.Linear(300, 400).bfloat16()
    assert held.weight.numel() > LARGE
    save_file(
        {name: one.detach() for name, one in held.named_parameters()},
        tmp_path / "model.safetensors",
    )

    def make():
        module = nn.Linear(300, 400)
        with open_tensors(str(tmp_path)) as tensors:
            fill_by_name(module, tensors)
        return module.weight, module.bias

    recording, weight, bias = recorded(make, "first", "second")
    assert torch.equal(value(recording, weight), held.weight.float())
    assert torch.equal(value(recording, bias), held.bias.float())


def test_a_source_that_changed_meanwhile_is_not_used():
    source = torch.zeros(LARGE + 1)

    def make():
        return torch.empty(LARGE + 1).copy_(source)

    recording, tensor = recorded(make, "first")
    assert value(recording, tensor).sum() == 0
    source.add_(1)
    with pytest.raises(DeferredError, match=r"\[65537\] was changed"):
        value(recording, tensor)


def test_a_tensor_that_was_written_in_part_alone_has_no_value():
    bare = torch.empty(4, 4, device="meta")
    recording = Recording(seed_of)
    with recording:
        bare[1].fill_(2.0)
    with pytest.raises(DeferredError, match="not written as a whole"):
        value(recording, bare)
    with recording:
        bare.fill_(1.0)
        bare[2].fill_(3.0)
    assert value(recording, bare).sum(dim=1).tolist() == [4, 4, 12, 4]


@pytest.fixture(params=[torch.bfloat16, torch.float64])
def default_dtype(request):
    """Another default dtype than torch's own, as transformers sets it while it builds a model."""
    before = torch.get_default_dtype()
    yield request.param
    torch.set_default_dtype(before)


@pytest.mark.parametrize(
    "make",
    [
        lambda: torch.ones(6),
        lambda: torch.randn(6),
        lambda: torch.full((6,), 2.5),
        lambda: torch.arange(6) / 8,
        lambda: torch.arange(6).sqrt(),
    ],
)
def test_a_default_dtype_that_held_for_a_while_is_kept_to(make, default_dtype):
    def inside():
        torch.set_default_dtype(default_dtype)
        try:
            return make()
        finally:
            torch.set_default_dtype(torch.float32)

    recording, tensor = recorded(inside, "first")
    expected = drawn(SEEDS["first"], inside)
    found = value(recording, tensor)
    assert found.dtype == default_dtype
    assert torch.equal(found, expected)
    assert torch.get_default_dtype() == torch.float32


def test_draws_from_a_generator_are_its_own_and_it_goes_on_behind_them():
    def make(generator):
        first = torch.randn(6, generator=generator)
        second = nn.init.kaiming_uniform_(torch.empty(4, 5), generator=generator)
        chosen = torch.bernoulli(torch.full((20,), 0.4), generator=generator)
        return first, second, chosen

    generator, same = (torch.Generator().manual_seed(3) for _ in range(2))
    recording, *tensors = recorded(lambda: make(generator), "first", "second", "third")
    after = torch.rand(4, generator=generator)
    for tensor, expected in zip(tensors, make(same), strict=True):
        for _ in range(2):
            assert torch.equal(value(recording, tensor), expected)
    assert torch.equal(after, torch.rand(4, generator=same))
