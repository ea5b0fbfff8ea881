"""Where a process stands, told by its environment; and what two real processes tell each other."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from mmcore.interfaces import World
from mmcore.training import checkpoint
from mmcore.training.launched import (
    RanksError,
    first_host,
    meeting_point,
    processes_launched,
    world_from_environment,
)
from mmcore.training.ranks import (
    from_main,
    gather_floats,
    gather_objects,
    seed_step,
)

PROGRAM = Path(__file__).parent / "programs" / "two_ranks.py"


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({}, World()),
        ({"RANK": "3", "WORLD_SIZE": "4", "LOCAL_RANK": "1"}, World(3, 4, 1)),
        (
            {"SLURM_PROCID": "5", "SLURM_STEP_NUM_TASKS": "8", "SLURM_LOCALID": "1"},
            World(5, 8, 1),
        ),
        # A batch script outside of srun is one process, however many tasks the job has.
        ({"SLURM_PROCID": "0", "SLURM_NTASKS": "8", "SLURM_LOCALID": "0"}, World()),
    ],
)
def test_the_environment_tells_the_world(environment, expected) -> None:
    assert world_from_environment(environment, "cpu") == expected


@pytest.mark.parametrize(
    ("environment", "named"),
    [
        ({"RANK": "0", "LOCAL_RANK": "0"}, "WORLD_SIZE is None"),
        ({"RANK": "zero", "WORLD_SIZE": "2", "LOCAL_RANK": "0"}, "RANK is 'zero'"),
        ({"RANK": "2", "WORLD_SIZE": "2", "LOCAL_RANK": "0"}, "RANK is 2, wanted 0 to 1"),
    ],
)
def test_contradictions_are_named(environment, named) -> None:
    with pytest.raises(RanksError, match=named):
        world_from_environment(environment, "cpu")


@pytest.mark.parametrize(
    ("nodes", "host"),
    [
        ("gpu[07-09,12],login", "gpu07"),
        ("gpu[12,07-09]", "gpu12"),
        ("a1,a2", "a1"),
        ("one", "one"),
        ("node[1-3]-ib", "node1-ib"),
        ("node[1-3]-ib,login", "node1-ib"),
        ("rack[1-2]node[03-04]", "rack1node03"),
        ("login-1,node[1-3]", "login-1"),
    ],
)
def test_the_first_of_slurms_hosts(nodes, host) -> None:
    assert first_host(nodes) == host


@pytest.mark.parametrize("nodes", ["", "gpu[07", "gpu[]", ",gpu1"])
def test_what_is_no_list_of_hosts_is_told(nodes) -> None:
    with pytest.raises(RanksError, match="wanted host names"):
        first_host(nodes)


SLURM = {
    "SLURM_PROCID": "0",
    "SLURM_STEP_NUM_TASKS": "8",
    "SLURM_JOB_NODELIST": "login,gpu[07-09]",
    "SLURM_JOB_ID": "4321",
    "SLURM_STEP_ID": "2",
}


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({"MASTER_ADDR": "a1", "MASTER_PORT": "5000"}, ("a1", 5000)),
        ({"MASTER_ADDR": "a1"}, ("a1", 29500)),
        (SLURM, ("login", 15000 + (7 * 4321 + 2) % 16000)),
        ({**SLURM, "SLURM_STEP_NODELIST": "gpu[07-09]"}, ("gpu07", 15000 + 30249 - 16000)),
        ({**SLURM, "MASTER_PORT": "6000"}, ("login", 6000)),
        ({**SLURM, "MASTER_ADDR": "b2", "MASTER_PORT": "6000"}, ("b2", 6000)),
    ],
)
def test_where_the_ranks_meet(environment, expected) -> None:
    assert meeting_point(environment) == expected


def test_without_any_address_it_is_asked_for() -> None:
    with pytest.raises(RanksError, match="MASTER_ADDR is not set, wanted rank 0's host"):
        meeting_point({"RANK": "0", "WORLD_SIZE": "2"})


@pytest.mark.parametrize(
    ("environment", "expected"), [({}, 1), ({"WORLD_SIZE": "4"}, 4), (SLURM, 8)]
)
def test_how_many_a_launcher_started(environment, expected) -> None:
    assert processes_launched(environment) == expected


def test_one_process_answers_itself() -> None:
    assert gather_objects("me") == ["me"]
    assert from_main(lambda: "me") == "me"
    assert gather_floats([0.1, 2.0]) == [[0.1, 2.0]]


def test_every_step_and_rank_draws_its_own_numbers() -> None:
    def drawn(*place: int) -> float:
        seed_step(*place)
        return torch.rand(()).item()

    places = [(1, 1, 0), (1, 1, 1), (1, 2, 0), (2, 1, 0)]
    assert len({drawn(*place) for place in places}) == 4
    assert drawn(1, 2, 0) == drawn(1, 2, 0)


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory, on_two_ranks) -> tuple[list[dict], object]:
    root = tmp_path_factory.mktemp("two")
    on_two_ranks(PROGRAM, root)
    return [json.loads((root / f"outcome-{rank}.json").read_text()) for rank in range(2)], root


def test_two_ranks_exchange(outcomes) -> None:
    for outcome in outcomes[0]:
        assert outcome["gathered"] == [{"rank": 0}, {"rank": 1}]
        assert outcome["floats"] == [[1.0, 0.5], [1.0, 1.5]]


def test_what_rank_0_finds_is_what_all_go_by(outcomes) -> None:
    zero, one = outcomes[0]
    assert zero["of_main"] == one["of_main"] == {"rank": 0}
    assert zero["nothing"] is one["nothing"] is None
    assert zero["refused"] == "ValueError: rank 0 made it"
    assert one["refused"] == ("LostRankError: rank 1 ends, as rank 0 cannot go on, and says why")


def test_counts_and_losses_are_those_of_all_ranks(outcomes) -> None:
    for rank, outcome in enumerate(outcomes[0]):
        trained = outcome["trained"]
        assert trained["divisors"] == [6.0, 6.0]
        assert trained["losses"] == ([6.0, 6.0] if rank == 0 else [])
        assert trained["tokens"] == 24
        assert trained["counts"] == {"samples": 4, "drawn/rank-0": 2, "drawn/rank-1": 2}


def test_all_ranks_stop_when_one_is_asked(outcomes) -> None:
    assert [outcome["trained"]["steps"] for outcome in outcomes[0]] == [2, 2]


def test_a_checkpoint_of_two_ranks_is_read_by_one(outcomes) -> None:
    ranks, root = outcomes
    assert [outcome["saved"] for outcome in ranks] == ["step-00000001"] * 2
    saved = checkpoint.load(root / "step-00000001")
    saved.verify()
    assert saved.lanes == {0: {"row": 10}, 1: {"row": 11}}
    assert len({facts.file for facts in saved.manifest.tensors.values()}) == 2
    for index, state in enumerate(saved.states()):
        assert state.name == f"layer.{index}"
        assert torch.equal(state.weight, torch.full((40, 40), float(index)))
        assert torch.equal(state.moments["exp_avg"], state.weight + 0.5)
        assert state.steps == 2


def test_a_full_disk_of_one_rank_is_told_by_all_and_costs_nothing(outcomes) -> None:
    ranks, root = outcomes
    for outcome in ranks:
        assert "CheckpointError: step 2 was not saved: rank 1" in outcome["full"]
        assert "File too large" in outcome["full"]
    assert checkpoint.latest(root) == root / "step-00000001"
    assert not list(root.glob(".writing-*"))
