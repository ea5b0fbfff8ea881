"""What is trained on at a step depends on neither ranks nor workers; faults reach the caller."""

import json
import multiprocessing
import re
import time
from typing import Any

import attrs
import pytest
import torch

from mmcore.data.epochs import count_rows
from mmcore.data.faults import DataFault, EmptySource
from mmcore.data.loader import PackLoader, StepData
from mmcore.interfaces import PackedBatch


@pytest.fixture(scope="module")
def load(memory: Any, preparer: Any) -> Any:
    """Makes loaders over two sources, four lanes, eight packs a step; or as changed."""

    def make(**changes: Any) -> PackLoader:
        sources = [
            ("pages", memory(words=2.0)),
            ("talks", memory(share=2, seed=1, roles=("user", "assistant"), bad=0.1, broken=0.1)),
        ]
        settings = {
            "sources": sources,
            "preparer": preparer(),
            "seed": 9,
            "lanes": 4,
            "packs_per_step": 8,
            "look_ahead": 6,
            "block_rows": 4,
        }
        return PackLoader(**{**settings, **changes})

    return make


def content(batch: PackedBatch) -> tuple[Any, ...]:
    values = [getattr(batch, field.name) for field in attrs.fields(PackedBatch)]
    return tuple(v.tolist() if isinstance(v, torch.Tensor) else v for v in values)


def by_lane(steps: list[StepData]) -> list[dict[int, list[Any]]]:
    """For every step, the packs of every lane."""
    out: list[dict[int, list[Any]]] = []
    for step in steps:
        lanes: dict[int, list[Any]] = {}
        for batch in step.batches:
            if batch.lane >= 0:
                lanes.setdefault(batch.lane, []).append(content(batch))
        out.append(lanes)
    return out


def steps_of(loader: PackLoader, count: int) -> list[StepData]:
    steps = [loader.next_step() for _ in range(count)]
    loader.close()
    return steps


def test_ranks_do_not_change_what_is_trained_on(load: Any) -> None:
    whole = steps_of(load(), 3)
    counts = {name: sum(step.counts.get(name, 0) for step in whole) for name in whole[0].counts}
    for ranks in (2, 3, 5):
        shares = [steps_of(load(rank=rank, ranks=ranks), 3) for rank in range(ranks)]
        packs = [[len(step.batches) for step in share] for share in shares]
        assert packs == [[-(-4 // ranks) * 2] * 3] * ranks, "all ranks run equally many packs"
        for number, step in enumerate(by_lane(whole)):
            union: dict[int, list[Any]] = {}
            for rank, share in enumerate(shares):
                part = by_lane(share)[number]
                assert all(lane % ranks == rank for lane in part)
                union |= part
            assert union == step
        for name, total in counts.items():
            assert sum(s.counts.get(name, 0) for share in shares for s in share) == total
        rejected = [r for share in shares for step in share for r in step.rejected]
        assert set(rejected) == {r for step in whole for r in step.rejected}


def test_ranks_without_lanes_run_blank_packs(load: Any) -> None:
    [step] = steps_of(load(rank=4, ranks=5), 1)
    assert [batch.lane for batch in step.batches] == [-1, -1]
    assert step.counts == {}


def test_workers_do_not_change_what_is_trained_on(load: Any) -> None:
    """Three workers share four lanes unevenly."""
    torch.manual_seed(0)
    state = torch.get_rng_state()
    wanted = steps_of(load(), 3)
    loader = load(workers=3)
    steps = [loader.next_step() for _ in range(3)]
    assert len(multiprocessing.active_children()) == 3
    assert [[content(b) for b in step.batches] for step in steps] == [
        [content(b) for b in step.batches] for step in wanted
    ]
    assert [step.counts for step in steps] == [step.counts for step in wanted]
    assert [step.rejected for step in steps] == [step.rejected for step in wanted]
    assert torch.equal(torch.get_rng_state(), state), "the global generator is not drawn from"
    states = loader.state()
    loader.close()
    assert not multiprocessing.active_children()
    onward = load(state=states, workers=0)
    assert by_lane(steps_of(onward, 1)) == by_lane(steps_of(load(), 4))[3:]


@pytest.mark.parametrize("ranks", [1, 3])
def test_state_goes_on_at_another_number_of_ranks(load: Any, ranks: int) -> None:
    wanted = by_lane(steps_of(load(), 4))
    saved: dict[str, Any] = {}
    for rank in range(2):
        loader = load(rank=rank, ranks=2)
        steps_of(loader, 2)
        saved |= json.loads(json.dumps(loader.state()))
    union: dict[int, list[Any]] = {}
    for rank in range(ranks):
        union |= by_lane(steps_of(load(rank=rank, ranks=ranks, state=saved), 2))[1]
    assert union == wanted[3]


def test_state_is_of_what_was_handed_out(load: Any) -> None:
    loader = load()
    assert loader.state() == {}
    loader.next_step()
    time.sleep(0.5)  # the thread reads ahead meanwhile
    state = loader.state()
    assert {lane: one["packs"] for lane, one in state.items()} == {0: 2, 1: 2, 2: 2, 3: 2}
    loader.close()
    after = by_lane([loader.next_step()])  # a closed loader goes on
    loader.close()
    assert after == by_lane(steps_of(load(state=state), 1)) == by_lane(steps_of(load(), 2))[1:]


@pytest.mark.parametrize(
    ("changes", "workers", "error", "message"),
    [
        ({"unreadable": "s0"}, 0, DataFault, r"^source 'x', shard 's0' .*: OSError: disk on fire$"),
        ({"rows": (9,), "bug_at": 3}, 0, DataFault, r"^sample x:s0:3: KeyError: 'caption'$"),
        ({"rows": (9,), "bug_at": 3}, 1, DataFault, r"^sample x:s0:3: KeyError: 'caption'$"),
        ({"rows": (0,)}, 0, EmptySource, r"^source 'x': .* hold no rows$"),
    ],
)
def test_faults_reach_the_caller(
    load: Any, memory: Any, changes: Any, workers: int, error: type[Exception], message: str
) -> None:
    loader = load(sources=[("x", memory(**changes))], workers=workers)
    with pytest.raises(error) as caught:
        steps_of(loader, 20)
    assert re.search(message, str(caught.value))
    if workers:
        assert "Traceback" in caught.value.__notes__[0], "from the worker, for whoever debugs"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"packs_per_step": 6}, "packs_per_step is 6, wanted a multiple of lanes, which is 4"),
        ({"packs_per_step": 0}, "packs_per_step is 0"),
        ({"rank": 2, "ranks": 2}, "rank is 2 of 2"),
        ({"workers": -1}, "workers is -1"),
        ({"look_ahead": 0}, "look_ahead is 0"),
        ({"lanes": 0}, "lanes is 0"),
        ({"state": {0: {}}}, r"no lanes \[1, 2, 3\], only \[0\]"),
    ],
)
def test_contradictions_are_refused_at_once(
    load: Any, changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        load(**changes)


def test_a_state_of_other_data_is_refused_at_once(load: Any, memory: Any) -> None:
    loader = load()
    steps_of(loader, 1)
    with pytest.raises(ValueError, match="made with seed = 9, now it is 10"):
        load(seed=10, state=loader.state())
    with pytest.raises(ValueError, match="made with sources"):
        load(sources=[("pages", memory())], state=loader.state())


def test_the_step_says_how_long_it_waited(load: Any) -> None:
    loader = load()
    began = time.perf_counter()
    step = loader.next_step()
    assert 0 < step.wait_seconds <= time.perf_counter() - began
    loader.close()


def test_the_rows_of_a_source_are_those_of_all_its_shards(memory: Any) -> None:
    assert count_rows(memory(rows=(10, 0, 5))) == 15
    assert count_rows(memory(rows=(100,))) == 100
