"""A killed run goes on, and its remaining losses equal those of an undisturbed run bit for bit."""

import random
import signal
import time

import pytest


@pytest.mark.parametrize("seed", [1, 2])
def test_sigkill_at_a_random_step_changes_no_later_loss(workplace, seed):
    workplace.mmcore("run", "mini.toml", "--set", "name=whole")
    whole = workplace.losses("whole")

    rng = random.Random(seed)
    at = rng.randint(1, len(whole) - 1)
    metrics = workplace.folder / "runs" / "killed" / "metrics.jsonl"
    process = workplace.start("run", "mini.toml", "--set", "name=killed")
    while process.poll() is None:
        if metrics.exists() and len(metrics.read_text().splitlines()) >= at:
            process.send_signal(signal.SIGKILL)
            break
        time.sleep(0.002)
    process.communicate()
    workplace.typed("run", "mini.toml", "--set", "name=killed")
    assert workplace.losses("killed") == whole


def test_sigterm_saves_and_the_next_start_goes_on(workplace):
    workplace.mmcore("run", "mini.toml", "--set", "name=whole")
    metrics = workplace.folder / "runs" / "mini" / "metrics.jsonl"
    process = workplace.start("run", "mini.toml", "--set", "checkpoints.every_steps=100")
    while process.poll() is None and not (metrics.exists() and metrics.read_text().count("\n")):
        time.sleep(0.002)
    process.send_signal(signal.SIGTERM)
    output, _ = process.communicate()
    assert process.returncode == 0, output
    done = len(workplace.losses())
    resumed = workplace.mmcore("run", "mini.toml")
    assert done == 12 or f"after step {done}" in resumed, (output, resumed)
    assert workplace.losses() == workplace.losses("whole")
