"""A killed run goes on, and its remaining losses equal those of an undisturbed run bit for bit."""

import random
import signal
import sys
import time

import pytest


@pytest.mark.parametrize(("seed", "steps"), [(1, (3, 5)), (2, (9, 10))], ids=["first", "second"])
def test_sigkill_at_a_random_step_of_a_stage_changes_no_later_loss(workplace, seed, steps):
    workplace.mmcore("run", "mini.toml", "--set", "name=whole")
    whole = workplace.losses("whole")

    folder = workplace.folder / "runs" / "killed"
    at = random.Random(seed).randint(*steps)
    process = workplace.start("run", "mini.toml", "--set", "name=killed")
    while process.poll() is None and not (
        (folder / "checkpoints" / "latest").exists() and losses_in(folder) >= at
    ):
        time.sleep(0.001)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert process.returncode == -signal.SIGKILL, "it was over before it could be killed"
    resumed = workplace.typed("run", "mini.toml", "--set", "name=killed")
    assert "going on after step" in resumed
    assert workplace.losses("killed") == whole


def losses_in(folder):
    """How many steps a run that is going on has written down."""
    return (folder / "metrics.jsonl").read_text().count('"loss"')


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


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.skipif(sys.platform != "linux", reason="DeepSpeed is installed on Linux only")
def test_sigusr1_to_what_started_two_processes_saves_and_the_next_start_goes_on(workplace):
    words = (
        "run", "mini.toml", "--procs", "2", "--set", "engine.use=deepspeed",
        "--set", "engine.precision=fp32", "--set", "checkpoints.every_steps=100",
        "--set", "stages.captions.steps=200", "--until", "captions", "--set", "evaluations=[]",
    )  # fmt: skip
    metrics = workplace.folder / "runs" / "mini" / "metrics.jsonl"
    process = workplace.start(*words)
    while process.poll() is None and not (metrics.exists() and metrics.read_text().count("\n")):
        time.sleep(0.002)
    for _ in range(3):  # a cluster may say it more than once
        process.send_signal(signal.SIGUSR1)
    output, _ = process.communicate()
    assert process.returncode == 0, output
    assert "stopped; run the same command to go on" in output
    done = len(workplace.losses())
    assert 1 <= done < 100
    checkpoints = workplace.folder / "runs" / "mini" / "checkpoints"
    assert (checkpoints / "latest").read_text().strip() == f"step-{done:08d}"


def altered(workplace):
    """The name of a file of the newest checkpoint, one bit of which is another now."""
    folder = workplace.folder / "runs" / "mini" / "checkpoints"
    newest = folder / (folder / "latest").read_text().strip()
    path = next(newest.glob("parameters-*.safetensors"))
    content = bytearray(path.read_bytes())
    content[-5] ^= 1  # one bit of one number
    path.write_bytes(content)
    return path.name


def test_a_checkpoint_that_was_altered_is_not_gone_on_from(workplace):
    workplace.mmcore("run", "mini.toml", "--stage", "captions")
    name = altered(workplace)
    refused = workplace.mmcore("run", "mini.toml", fails=True)
    assert name in refused
    assert len(workplace.losses()) == 6, "nothing was trained after the first stage"


def test_a_checkpoint_that_was_altered_is_not_begun_from(workplace):
    workplace.mmcore("run", "mini.toml", "--stage", "captions")
    begin = ("run", "mini.toml", "--set", "name=other", "--stage", "answers", "--from", "runs/mini")
    name = altered(workplace)
    refused = workplace.mmcore(*begin, fails=True)
    assert name in refused
    assert "was altered" in refused
    assert not (workplace.folder / "runs" / "other" / "evaluations.jsonl").exists()
