"""What runs look like from outside: how far they are, what they leave, what they are given."""

import json

import pytest

from mmcore.sweeps.machine import cores, devices_of, threads_of, visible_devices
from mmcore.sweeps.pruning import prune
from mmcore.sweeps.watching import Follower


def line(step, loss=1.5, tokens=10.0, **more):
    return json.dumps({"step": step, "stage": "one", "loss": loss, "tokens": tokens, **more}) + "\n"


def test_a_follower_adds_up_what_is_new_and_passes_over_what_is_half_written(tmp_path):
    path = tmp_path / "metrics.jsonl"
    follower = Follower(tmp_path)
    assert follower.look() is None
    path.write_text(line(1) + '{"step": 1, "task": "asked"}\n' + line(2)[:-5])
    reached = follower.look()
    assert (reached.step, reached.tokens) == (1, 10.0)
    with path.open("a") as file:
        file.write(line(2)[-5:] + line(3, loss=None))
    reached = follower.look()
    assert (reached.step, reached.tokens, reached.loss) == (3, 30.0, None)


def test_a_follower_begins_again_where_a_start_dropped_steps(tmp_path):
    path = tmp_path / "metrics.jsonl"
    path.write_text(line(1) + line(2) + line(3))
    follower = Follower(tmp_path)
    assert follower.look().tokens == 30.0
    kept = tmp_path / "kept"
    kept.write_text(line(1))
    kept.replace(path)
    assert follower.look().tokens == 10.0
    path.unlink()
    assert follower.look() is None


@pytest.fixture
def run(tmp_path):
    checkpoints = tmp_path / "checkpoints"
    for name in ("step-00000004", "step-00000008", "best-one", ".writing-00000009"):
        (checkpoints / name).mkdir(parents=True)
    (checkpoints / "latest").write_text("step-00000008")
    (tmp_path / "metrics.jsonl").write_text(line(1))
    return tmp_path


@pytest.mark.parametrize(
    ("keep", "left"),
    [
        ("all", {"step-00000004", "step-00000008", "best-one", ".writing-00000009", "latest"}),
        ("last", {"step-00000008", "latest"}),
        ("nothing", set()),
    ],
)
def test_checkpoints_that_are_not_kept_go_and_all_else_stays(run, keep, left):
    for _ in range(2):  # a kill may have come between
        prune(run, keep)
        folder = run / "checkpoints"
        assert {path.name for path in folder.iterdir()} == left if folder.exists() else not left
    assert (run / "metrics.jsonl").exists()


def test_cores_are_shared_out_unless_somebody_says_otherwise():
    assert threads_of(1, 1, {}) == cores()
    assert threads_of(cores() * 4, 1, {}) == 1
    assert threads_of(1, 1, {"OMP_NUM_THREADS": "5"}) == 5
    assert threads_of(1, 1, {"OMP_NUM_THREADS": "many"}) == cores()


def test_gpus_are_shared_out_to_cells_that_run_at_the_same_time():
    assert devices_of(0, 1, 1, ["0", "1"]) == (), "one at a time has them all"
    assert [devices_of(slot, 2, 2, list("0123")) for slot in range(2)] == [("0", "1"), ("2", "3")]
    assert [devices_of(slot, 1, 3, list("01")) for slot in range(3)] == [("0",), ("1",), ("0",)]
    assert devices_of(1, 1, 2, []) == ()
    assert visible_devices({"CUDA_VISIBLE_DEVICES": "3, GPU-a"}) == ("3", "GPU-a")
    assert visible_devices({"CUDA_VISIBLE_DEVICES": ""}) == ()
