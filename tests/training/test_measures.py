"""What a step reports of itself, against references that are worked out another way."""

from __future__ import annotations

import math
import time
from collections import defaultdict

import attrs
import pytest
import torch
from torch import distributed, nn

from mmcore.interfaces import SampleKey, Segment, World
from mmcore.training.collectives import COMMUNICATION, heard
from mmcore.training.hooks import Hooks
from mmcore.training.loop import train_stage
from mmcore.training.measures import Measured
from mmcore.training.memory_use import memory_use
from mmcore.training.part_times import PartTimes
from mmcore.training.progress import Progress
from mmcore.training.segment_losses import SegmentLosses
from mmcore.training.source_losses import sums_by_source
from mmcore.training.step_clock import StepClock
from mmcore_registry import hookimpl

CPU = torch.device("cpu")


class Ear:
    def __init__(self) -> None:
        self.values: list[dict[str, float]] = []

    @hookimpl
    def mmcore_step_end(self, report) -> None:
        self.values.append(dict(report.values))


def train(run, look=lambda wait: None) -> list[dict[str, float]]:
    ear = Ear()
    train_stage(
        run,
        Progress(stage="toy"),
        world=World(),
        hooks=Hooks([ear], World()),
        save=lambda now: None,
        every_steps=2,
        stop=lambda: False,
        look=look,
    )
    return ear.values


def two_sources(pack):
    """A pack of two samples of different sources, the second with a dispreferred twin."""
    batch = pack(0)
    segments = (
        Segment(SampleKey("a", "s", 0), "a", 0, 2, 0, 2, pictures=1),
        Segment(SampleKey("b", "s", 1), "b", 2, 4, 0, 1, "preferred"),
        Segment(SampleKey("b", "s", 1), "b", 4, 6, 0, 1, "dispreferred"),
    )
    return attrs.evolve(
        batch,
        segments=segments,
        label_segment_L=torch.tensor([0, 0, 1, 2], dtype=torch.int32),
        label_weight_L=torch.tensor([1.0, 1.0, 1.0, 0.0]),
    )


def test_losses_are_summed_by_source_and_dispreferred_answers_left_out(pack) -> None:
    losses = SegmentLosses()
    losses.hear(two_sources(pack), torch.tensor([1.0, 2.0, 4.0, 8.0]))
    losses.hear(attrs.evolve(pack(1), segments=()), torch.tensor([math.inf]))  # a blank one
    assert losses.totals(CPU).tolist() == [3.0, 4.0, 0.0]
    assert sums_by_source(losses.samples(), ["b", "a", "unseen"]) == [4.0, 3.0, 0.0]
    assert [len(pack) for pack in losses.packs()] == [2, 0]
    losses.clear()
    assert sums_by_source(losses.samples(), ["b", "a"]) == [0.0, 0.0]


def test_what_was_read_with_the_step_is_not_waited_for_again(pack) -> None:
    losses = SegmentLosses()
    losses.hear(two_sources(pack), torch.tensor([1.0, 2.0, 4.0, 8.0]))
    losses.read([30.0, 40.0, 0.0])
    assert [one.total for one in losses.samples()] == [30.0, 40.0]
    losses.hear(two_sources(pack), torch.tensor([1.0, 2.0, 4.0, 8.0]))
    assert [one.total for one in losses.samples()] == [3.0, 4.0, 3.0, 4.0]


def test_a_step_reads_its_losses_once_from_the_device(watched, monkeypatch) -> None:
    run, waits = watched(), []
    tolist = torch.Tensor.tolist

    def counted(self):
        waits.append(self.numel())
        return tolist(self)

    monkeypatch.setattr(torch.Tensor, "tolist", counted)
    steps = train(run)
    one_objective, two_norms, two_samples = 1, 2, 2
    assert waits.count(one_objective + two_norms + two_samples) == len(steps)
    before = len(waits)
    assert all(one.total > 0 for one in run.segment_losses.samples())
    assert len(waits) == before, "asking for the samples waited"


class Loader:
    """Packs of two sources, in turn."""

    def __init__(self, inner) -> None:
        self._inner = inner

    def next_step(self):
        data = self._inner.next_step()
        batches = [
            attrs.evolve(
                batch,
                segments=tuple(attrs.evolve(one, source=f"s{number}") for one in batch.segments),
            )
            for number, batch in enumerate(data.batches)
        ]
        return attrs.evolve(data, batches=batches)


@pytest.fixture
def watched(stage_run, toy_loader):
    """A stage that is watched, of two sources."""

    def make(steps=3, **changes):
        run = stage_run(steps=steps)
        module = run.engine._module
        measured = Measured(sources=["s0", "s1"], rates={"llm": 0.05})
        return attrs.evolve(
            run, module=module, measured=measured, loader=Loader(toy_loader()), **changes
        )

    return make


def test_the_losses_of_the_sources_are_those_of_their_packs(watched, toy, next_token, pack) -> None:
    run = watched()
    run.module.model.eval()
    toy.eval()
    first = train(run)[0]
    for number in (0, 1):
        expected = next_token.loss(toy, pack(number)).item() / pack(number).labels
        assert first[f"loss_by_source/s{number}"] == pytest.approx(expected)
    labels = [pack(0).labels, pack(1).labels]
    mixed = sum(first[f"loss_by_source/s{n}"] * labels[n] for n in (0, 1)) / sum(labels)
    assert first["loss"] == pytest.approx(mixed)


def test_being_watched_changes_nothing(watched, stage_run) -> None:
    seen, plain = train(watched()), train(stage_run(steps=3))
    for name in ("loss", "grad_norm", "lr", "tokens"):
        assert [one[name] for one in seen] == [one[name] for one in plain]
    assert "loss_by_source/s0" not in plain[0], "nobody said which sources there are"


def test_after_a_stage_nobody_listens_any_more(watched) -> None:
    run = watched()
    train(run)
    assert not run.module._forward_hooks
    assert not run.module._forward_pre_hooks


def test_norms_and_rates_of_the_parts(watched) -> None:
    for values in train(watched()):
        assert values["grad_norm/llm"] == values["grad_norm"] > 0
        assert values["lr/llm"] == pytest.approx(values["lr"])


def test_the_times_make_up_the_step(watched) -> None:
    for values in train(watched()):
        inside = [
            "data_wait", "exchange", "encode", "sample", "llm_forward", "backward", "optimiser",
            "other",
        ]  # fmt: skip
        total = sum(values[f"time/{name}"] for name in inside)
        # The toy loader waits for a millisecond that nobody saw pass.
        assert values["seconds"] <= total <= values["seconds"] + 0.0011
        assert min(values[f"time/{name}"] for name in inside) >= 0


def test_a_checkpoint_is_told_by_the_step_after_it_and_so_is_its_completion(watched) -> None:
    looks = iter([0.0, 0.0, 0.2, 0.0])

    def look(wait: bool) -> None:
        time.sleep(next(looks, 0.0))

    times = [values["time/checkpoint"] for values in train(watched(steps=4), look)]
    assert times[0] == 0 < times[2]
    assert times[3] >= 0.2


def test_flops_and_their_share_of_the_peak(watched) -> None:
    run = watched()
    run = attrs.evolve(
        run,
        measured=attrs.evolve(run.measured, flops=lambda batch: 7.0 * batch.tokens, peak=1e6),
    )
    for values in train(run):
        assert values["model_flops"] == 7.0 * values["tokens"]
        expected = values["model_flops"] / values["seconds"] / 1e6
        assert values["mfu"] == pytest.approx(expected)


def test_without_a_peak_nothing_is_said_of_it(watched) -> None:
    assert not {"mfu", "model_flops"} & set(train(watched())[0])


class Parts(nn.Module):
    """A step whose model has parts, and calls one of them again in the backward pass."""

    def __init__(self) -> None:
        super().__init__()
        self.model = nn.Module()
        self.model.encoder, self.model.token_sampler = nn.Linear(2, 2), nn.Linear(2, 2)

    def forward(self, x):
        return self.model.token_sampler(self.model.encoder(x)).sum()


def test_parts_are_timed_in_the_forward_pass_alone() -> None:
    clock, module = StepClock(CPU), Parts()
    times = PartTimes(clock, module)
    module(torch.ones(1, 2))
    module.model.encoder(torch.ones(1, 2))  # as activation checkpointing would, outside
    named = defaultdict(int)
    for name, _, _ in clock._spans:
        named[name] += 1
    assert named == {"encode": 1, "sample": 1, "forward": 1}
    spans = clock.take()
    assert spans["encode"] + spans["sample"] <= spans["forward"]
    times.close()
    module(torch.ones(1, 2))
    assert clock.take() == {}


class Reader(nn.Linear):
    """A token sampler that has another way in than its forward pass."""

    def provide(self, wanted, x):
        return self.forward(x)


def test_what_a_token_sampler_provides_is_its_time() -> None:
    clock, module = StepClock(CPU), Parts()
    module.model.token_sampler = Reader(2, 2)
    module.forward = lambda x: module.model.token_sampler.provide("contrast", x)
    times = PartTimes(clock, module)
    assert module(torch.ones(1, 2)).shape == (1, 2)
    assert sorted(name for name, _, _ in clock._spans) == ["forward", "sample"]
    times.close()
    module(torch.ones(1, 2))
    assert len(clock._spans) == 2
    assert "provide" not in vars(module.model.token_sampler)


def test_collectives_are_heard_of_and_still_do_their_work(tmp_path) -> None:
    clock = StepClock(CPU)
    distributed.init_process_group(
        "gloo", store=distributed.FileStore(str(tmp_path / "store"), 1), rank=0, world_size=1
    )
    try:
        with heard(clock):
            number = torch.ones(2)
            distributed.all_reduce(number)
            distributed.broadcast(number, 0)
        distributed.all_reduce(number)
    finally:
        distributed.destroy_process_group()
    assert number.tolist() == [1.0, 1.0]
    assert [name for name, _, _ in clock._spans] == [COMMUNICATION] * 2


def test_the_hosts_memory_is_in_bytes() -> None:
    before = memory_use(CPU)["memory/host"]
    block = torch.ones(64 * 2**20 // 4)
    assert memory_use(CPU)["memory/host"] - before > 0.8 * block.nbytes


def test_every_name_is_in_the_manual(watched, request) -> None:
    text = (request.config.rootpath / "docs" / "measures.md").read_text()
    run = watched()
    run = attrs.evolve(run, measured=attrs.evolve(run.measured, flops=lambda batch: 1.0, peak=1.0))
    names = {name.replace("/s0", "/SOURCE").replace("/s1", "/SOURCE") for name in train(run)[0]}
    names = {f"{name[:-4]}/PART" if name.endswith("/llm") else name for name in names}
    missing = [name for name in sorted(names) if f"`{name}`" not in text]
    assert missing == []
