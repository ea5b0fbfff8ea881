"""Twenty kills at random moments of a two-process ZeRO-2 run, in the middle of saving too."""

import os
import random
import re
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
SEED = 5
STEPS = 45  # of each of the two stages
SETTINGS = [
    "run", "mini.toml", "--procs", "2",
    "--set", "engine.use=deepspeed", "--set", "engine.zero=2", "--set", "engine.precision=fp32",
    "--set", "evaluations=[]", "--set", "checkpoints.every_steps=1",
    "--set", f"stages.captions.steps={STEPS}", "--set", f"stages.answers.steps={STEPS}",
]  # fmt: skip
WRITING = re.compile(r"\.writing-\d{8}")


class Victim:
    """The run, started again, in a session of its own: all its processes can be killed at once."""

    def __init__(self, workplace, name):
        self.checkpoints = workplace.folder / "runs" / name / "checkpoints"
        self.before, self.begun = self.latest(), time.time_ns()
        self.process = subprocess.Popen(
            [sys.executable, "-m", "mmcore", *SETTINGS, "--set", f"name={name}"],
            cwd=workplace.folder,
            env=workplace.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    def latest(self):
        path = self.checkpoints / "latest"
        return path.read_text() if path.exists() else ""

    def saving(self):
        """The folder of a checkpoint that this start, and none before it, is writing."""
        for path in self.checkpoints.glob(".writing-*"):
            try:
                if WRITING.fullmatch(path.name) and path.stat().st_ctime_ns > self.begun:
                    return path.name
            except FileNotFoundError:  # it is a checkpoint by now
                continue
        return ""

    def wait(self, change, times=1):
        """Until what ``change`` says has changed so often, to something."""
        seen = change()
        while times and self.process.poll() is None:
            time.sleep(0.0005)
            if (now := change()) and now != seen:
                seen, times = now, times - 1

    def ranks(self):
        """The processes of the two ranks: those of its children that train."""
        listed = subprocess.run(
            ["pgrep", "-P", str(self.process.pid), "-f", "spawn_main"],
            capture_output=True,
            text=True,
        )
        return [int(pid) for pid in listed.stdout.split()]

    def kill(self, rank=None):
        """All processes at once; or one rank alone, and the launcher ends the other."""
        assert self.process.poll() is None, "it was over before it could be killed"
        if rank is None:
            os.killpg(self.process.pid, signal.SIGKILL)
        else:
            os.kill(rank, signal.SIGKILL)
        self.process.communicate()


def live_and_die(victim, number, draw, start_seconds):
    """Let it run up to a moment of its number's kind; which kind that was."""
    if number % 5 == 4:
        deadline = time.monotonic() + draw.uniform(0, start_seconds)
        while time.monotonic() < deadline and victim.latest() == victim.before:
            time.sleep(0.001)
        victim.kill()
        return "at its start"
    if number % 5 in (0, 2):
        victim.wait(victim.saving, draw.randint(1, 3))
        time.sleep(draw.uniform(0, 0.004))
        victim.kill()
        return "while it saved"
    victim.wait(victim.latest, draw.randint(1, 3))
    time.sleep(draw.uniform(0, 0.3))
    ranks = victim.ranks()
    victim.kill(draw.choice(ranks) if number % 5 == 3 and ranks else None)
    return "at a step"


def test_no_kill_costs_a_checkpoint_or_changes_a_loss(workplace):
    undisturbed = Victim(workplace, "whole")
    undisturbed.wait(undisturbed.latest)
    start_seconds = (time.time_ns() - undisturbed.begun) / 1e9
    output, _ = undisturbed.process.communicate()
    whole = workplace.losses("whole")
    assert len(whole) == 2 * STEPS, output
    draw = random.Random(SEED)
    seen, torn = set(), 0
    for number in range(KILLS):
        victim = Victim(workplace, "killed")
        kind = live_and_die(victim, number, draw, start_seconds)
        torn += bool(victim.saving())
        newest = checkpoint.latest(victim.checkpoints)
        for folder in victim.checkpoints.glob("step-*"):
            found = checkpoint.load(folder)
            found.verify()
            seen.add(folder.name)
        step = checkpoint.load(newest).progress.step if newest else 0
        half = f", with {victim.saving()} half written" if victim.saving() else ""
        print(f"kill {number + 1}, {kind}: goes on after step {step}{half}")
    output, _ = Victim(workplace, "killed").process.communicate()
    print(f"seed {SEED}: {torn} of {KILLS} left a checkpoint half written; {len(seen)} read whole")
    assert workplace.losses("killed") == whole, output
    assert torn >= 4, "the kills missed the saves"
