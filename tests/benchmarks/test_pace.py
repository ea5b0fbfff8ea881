"""The pace of steps: both ways of running a pack are the same model, and what is counted."""

import pytest
import torch

from mmcore import assemble, load_recipe
from mmcore.benchmarks.clock import Clock
from mmcore.benchmarks.pace import measure_pace
from mmcore.benchmarks.packs import made_up_workload, packer
from mmcore.benchmarks.padded import TwoWayModel, check_paddable, padded_positions

CPU = torch.device("cpu")


@pytest.fixture
def mini(request):
    path = request.config.rootpath / "tests" / "end_to_end" / "mini.toml"
    return load_recipe(path, ["model.llm.window=20", "model.llm.heads=2", "model.llm.kv_heads=1"])


@pytest.fixture
def both(mini):
    """The model, and a pack of its second stage: uneven, with pictures, longer than the window."""
    stage = mini.stages[1]
    model = TwoWayModel(assemble.build_model(mini, CPU)[0], Clock(CPU))
    workload = made_up_workload(mini, stage, steps=20, packs=1)
    packing = packer(mini, stage, bounded=True)
    for batch in (one for step in workload.steps for one in packing.packs(step)):
        if len(set(batch.lengths)) > 1 and max(batch.lengths) > 20 and batch.views:
            return model, batch
    raise AssertionError("no such pack is made up")


def run(model, batch, *, padded):
    model.zero_grad()
    model.padded = padded
    h_TE = model.hidden(batch)
    nll_L = model.nll(h_TE[batch.label_index_L], batch.targets_L)
    nll_L.sum().backward()
    gradients = {n: p.grad.clone() for n, p in model.named_parameters() if p.grad is not None}
    return h_TE.detach(), nll_L.detach(), gradients


def test_the_usual_way_is_the_same_model(both):
    model, batch = both
    packed, padded = (run(model, batch, padded=flag) for flag in (False, True))
    torch.testing.assert_close(packed[0], padded[0], atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(packed[1], padded[1], atol=1e-5, rtol=1e-5)
    assert packed[2].keys() == padded[2].keys()
    for name, gradient in packed[2].items():
        scale = gradient.abs().max().item()
        torch.testing.assert_close(gradient, padded[2][name], atol=1e-5 * scale, rtol=0, msg=name)


def test_the_usual_way_computes_padding_and_all_logits(both):
    model, batch = both
    assert padded_positions(batch) == len(batch.lengths) * max(batch.lengths) > batch.tokens
    rows = []
    model.llm.head.register_forward_hook(lambda _, inputs, out: rows.append(out.shape[:-1]))
    run(model, batch, padded=True)
    assert rows == [(len(batch.lengths), max(batch.lengths))]


def test_an_llm_that_cannot_be_padded_is_refused(both):
    model, _ = both
    model.llm = torch.nn.Linear(1, 1)
    with pytest.raises(ValueError, match="Linear has no method `extend`"):
        check_paddable(model)


def test_steps_of_the_baseline_do_not_teach(mini):
    stage = mini.stages[1]
    workload = made_up_workload(mini, stage, steps=3, packs=2)
    found = measure_pace(mini, stage, workload, rounds=2, baseline=True, bounded=True)
    packed, padded = found.ways["packed"], found.ways["padded"]
    assert packed.losses == pytest.approx(padded.losses, abs=1e-5)
    assert len(packed.losses) == 4
    assert len(packed.seconds) == len(padded.cpu_seconds) == 3
    assert packed.losses[0] != packed.losses[1]
    assert packed.positions == found.tokens < padded.positions
    assert list(packed.spans) == ["encode", "sample", "decode", "head", "backward", "update"]
    assert min(packed.spans.values()) > 0
    timed = [packer(mini, stage, bounded=True).packs(step) for step in workload.steps[1:]]
    assert found.packs == sum(map(len, timed))
    assert found.tokens == sum(one.tokens for packs in timed for one in packs)
    assert found.to_dict()["ways"]["padded"]["padding_share"] == pytest.approx(
        1 - found.tokens / padded.positions
    )
