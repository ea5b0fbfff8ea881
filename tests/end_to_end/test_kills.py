"""Twenty kills at random moments of a two-process ZeRO-2 run, in the middle of saving too."""

import os
import random
import signal
import subprocess
import sys
import time

import pytest

from mmcore.training import checkpoint

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform != "linux", reason="DeepSpeed is installed on Linux only"),
    pytest.mark.timeout(3600),
]

KILLS = 20
SETTINGS = [
    "run", "mini.toml", "--procs", "2",
    "--set", "engine.use=deepspeed", "--set", "engine.zero=2", "--set", "engine.precision=fp32",
    "--set", "evaluations=[]", "--set", "checkpoints.every_steps=1",
    "--set", "stages.captions.steps=70", "--set", "stages.answers.steps=70",
]  # fmt: skip


def start(workplace, name):
    """In a session of its own, so that all its processes can be killed at once."""
    return subprocess.Popen(
        [sys.executable, "-m", "mmcore", *SETTINGS, "--set", f"name={name}"],
        cwd=workplace.folder,
        env=workplace.environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def ranks_of(process):
    """The processes of the two ranks: those of its children that train."""
    listed = subprocess.run(
        ["pgrep", "-P", str(process.pid), "-f", "spawn_main"], capture_output=True, text=True
    )
    return [int(pid) for pid in listed.stdout.split()]


def latest(checkpoints):
    path = checkpoints / "latest"
    return path.read_text() if path.exists() else ""


def test_no_kill_costs_a_checkpoint_or_changes_a_loss(workplace):
    output, _ = start(workplace, "whole").communicate()
    whole = workplace.losses("whole")
    assert len(whole) == 140, output
    draw = random.Random(5)
    checkpoints = workplace.folder / "runs" / "killed" / "checkpoints"
    seen, writing, steps = set(), 0, []
    for number in range(KILLS):
        before = latest(checkpoints)
        process = start(workplace, "killed")
        # Most kills come while it trains and saves; every fifth at any moment of the start.
        if number % 5 != 4:
            while process.poll() is None and latest(checkpoints) == before:
                time.sleep(0.002)
            time.sleep(draw.uniform(0, 0.5))
        else:
            time.sleep(draw.uniform(0, 12))
        assert process.poll() is None, "it was over before it could be killed"
        ranks = ranks_of(process)
        if number % 3 == 2 and ranks:  # one rank alone: the launcher ends the other
            os.kill(draw.choice(ranks), signal.SIGKILL)
            process.communicate()
        else:
            os.killpg(process.pid, signal.SIGKILL)
            process.communicate()
        writing += any(checkpoints.glob(".writing-*"))
        newest = checkpoint.latest(checkpoints)
        for folder in checkpoints.glob("step-*"):
            found = checkpoint.load(folder)
            found.verify()
            seen.add(folder.name)
        steps.append(checkpoint.load(newest).progress.step if newest else 0)
    output, _ = start(workplace, "killed").communicate()
    print(f"kills while a checkpoint was being written: {writing} of {KILLS}; at steps {steps};")
    print(f"checkpoints read whole: {len(seen)}")
    assert workplace.losses("killed") == whole, output
    assert writing >= 3, "the kills missed the saves"
