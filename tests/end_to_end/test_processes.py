"""The same losses from two DeepSpeed processes as from one torch process, for the same batch."""

import socket
import subprocess
import sys

import pytest

pytestmark = pytest.mark.skipif(
    sys.platform != "linux", reason="DeepSpeed is installed on Linux only"
)


@pytest.mark.parametrize("zero", [0, 2])
def test_two_processes_give_the_losses_of_one(workplace, zero):
    workplace.mmcore("run", "mini.toml", "--set", "name=one")
    workplace.typed(
        "run", "mini.toml", "--procs", "2", "--set", "name=two",
        "--set", "engine.use=deepspeed", "--set", f"engine.zero={zero}",
        "--set", "engine.precision=fp32",
    )  # fmt: skip
    one, two = workplace.losses("one"), workplace.losses("two")
    assert two == pytest.approx(one, rel=1e-5)
    assert one != dict.fromkeys(one, one[1]), "the losses do not move"


def test_the_torch_engine_refuses_two_processes(workplace):
    output = workplace.typed("run", "mini.toml", "--procs", "2", fails=True)
    assert "engine" in output
    assert "deepspeed" in output


CODE = """
import sys, torch
from mmcore import load_recipe, run
torch.set_num_threads(1)
run(load_recipe("mini.toml", sys.argv[2:]), max_steps=int(sys.argv[1]) or None)
"""

STALE = """
import os
from mmcore.run_folder import rollbacks
from mmcore.running import run as running
from mmcore.running import stages
from mmcore.evaluation import records
if os.environ["RANK"] == "1":  # whose host does not see yet what rank 0 has written
    stages.newest = lambda folder: None
    records.read = lambda folder: []
    rollbacks.read = lambda folder: [rollbacks.Discarded("answers", 1, 2, "now")]
"""


def keys(name: str, zero: int, precision: str) -> list[str]:
    return [
        f"name={name}",
        "engine.use=deepspeed",
        f"engine.zero={zero}",
        f"engine.precision={precision}",
        "engine.overrides.zero_optimization.reduce_bucket_size=100000",
    ]


def run_on(workplace, processes: int, steps: int, overrides: list[str], before: str = "") -> None:
    """``mmcore.run`` on so many processes, for so many steps from where it stands; 0 is to the
    end. The code ``before`` comes first."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    world = {"WORLD_SIZE": str(processes), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    logs = [workplace.folder / f"rank-{rank}.log" for rank in range(processes)]
    started = []
    for rank, path in enumerate(logs):  # files: a full pipe would hold a rank up, and so the others
        with path.open("w") as log:
            started.append(
                subprocess.Popen(
                    [sys.executable, "-c", before + CODE, str(steps), *overrides],
                    cwd=workplace.folder,
                    env=workplace.environment
                    | world
                    | {"RANK": str(rank), "LOCAL_RANK": str(rank)},
                    stdout=log,
                    stderr=subprocess.STDOUT,
                )
            )
    try:
        codes = [process.wait(timeout=300) for process in started]
    finally:
        for process in started:
            process.kill()
    assert codes == [0] * processes, "\n".join(path.read_text()[-3000:] for path in logs)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_rank_that_sees_files_later_does_what_rank_0_does(workplace):
    run_on(workplace, 2, 0, keys("whole", 2, "fp32"))
    run_on(workplace, 2, 3, keys("stale", 2, "fp32"))
    run_on(workplace, 2, 0, keys("stale", 2, "fp32"), before=STALE)
    assert len(workplace.losses("stale")) == 12
    assert workplace.losses("stale") == workplace.losses("whole")


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize(("precision", "rel"), [("fp32", 1e-5), ("bf16", 2e-2)])
def test_a_run_goes_on_with_other_numbers_of_processes_and_another_stage_of_zero(
    workplace, precision, rel
):
    """Two processes, one, two, and ZeRO 2, 3, 1, against two processes and ZeRO 2 throughout; all
    moves are made in the middle of a stage."""
    run_on(workplace, 2, 0, keys("whole", 2, precision))
    done = 0
    for processes, zero, last in ((2, 2, 2), (1, 2, 4), (2, 3, 9), (2, 1, 12)):
        run_on(workplace, processes, last - done, keys("moved", zero, precision))
        done = last
        assert max(workplace.losses("moved")) == done
    run_on(workplace, 2, 0, keys("moved", 1, precision))  # what is left are the last questions
    wanted, found = workplace.losses("whole"), workplace.losses("moved")
    assert len(wanted) == 12
    print(precision, max(abs(found[step] / one - 1) for step, one in wanted.items()))
    assert found == pytest.approx(wanted, rel=rel)
    assert wanted != dict.fromkeys(wanted, wanted[1]), "the losses do not move"
    same = ("tokens", "views", "labels", "samples")
    for one, other in zip(workplace.metrics("moved"), workplace.metrics("whole"), strict=True):
        assert [one[key] for key in same] == [other[key] for key in same]
