"""Planted faults, as a user meets them: named, counted, and survived as the manual says."""

import contextlib
import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

import mmcore
from mmcore.replaying.replay import replay
from mmcore.run_folder import rollbacks
from mmcore.training import checkpoint, checkpoint_write
from mmcore.training.discarding import DISCARDED
from mmcore_registry import hookimpl
from mmcore_trackers.json_lines import JsonLinesTracker

TWO = (
    "--procs", "2", "--set", "engine.use=deepspeed", "--set", "engine.zero=2",
    "--set", "engine.precision=fp32", "--set", "evaluations=[]",
)  # fmt: skip
ON_LINUX = pytest.mark.skipif(
    sys.platform != "linux", reason="DeepSpeed is installed on Linux only"
)


def checkpoints(workplace, run="mini"):
    return workplace.folder / "runs" / run / "checkpoints"


def newest(workplace, run="mini"):
    """The latest checkpoint, every byte of it verified."""
    found = checkpoint.load(checkpoint.latest(checkpoints(workplace, run)))
    found.verify()
    return found


def states(found):
    return {
        f"{state.name}/{name}": tensor
        for state in found.states()
        for name, tensor in {"weight": state.weight, **state.moments}.items()
    }


def same(one, other):
    return one.keys() == other.keys() and all(torch.equal(one[key], other[key]) for key in one)


def incidents(workplace, run="mini"):
    path = workplace.folder / "runs" / run / "incidents.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()]


def samples(workplace, step, run="whole"):
    """The keys of every pack of a step."""
    packs = replay(workplace.folder / "runs" / run, step, device="cpu").packs
    return [[one.key for one in pack.samples] for pack in packs]


def test_a_sample_that_gives_nan_costs_its_step_and_is_named(workplace, planted):
    every = ("--set", "checkpoints.every_steps=1", "--set", "checkpoints.keep_last=20")
    workplace.mmcore("run", "mini.toml", "--set", "name=whole", "--set", "evaluations=[]")
    _, guilty, *_ = samples(workplace, 3)
    planted("nan", key=guilty[-1])
    output = workplace.mmcore("run", "mini.toml", *every)
    told = "step 3: the loss of 1 of 4 packs was not finite; nothing was learned from this step"
    assert told in output
    (line,) = incidents(workplace)
    assert (line["step"], line["kind"], line["keys"]) == (3, "not-finite", guilty)
    metrics = {one["step"]: one for one in workplace.metrics()}
    assert [metrics[step]["skipped"] for step in (2, 3, 4)] == [0, 1, 1]
    assert metrics[3]["loss"] is None
    assert metrics[2]["loss"] == workplace.losses("whole")[2]
    before, after = (
        states(checkpoint.load(checkpoints(workplace) / f"step-0000000{step}")) for step in (2, 3)
    )
    assert same(before, after), "something was learned from it"
    assert all(one.isfinite().all() for one in states(newest(workplace)).values())
    assert "finished" in output

    # Made again, the step says where it began.
    output = workplace.mmcore("replay", "runs/mini", "--step", "3", "--device", "cpu")
    assert "recorded as not finite" in output
    assert "the first module to give what is not finite: llm.lm_head, pack 2" in output


def test_a_poisoned_model_stops_with_the_samples_and_the_last_checkpoint(workplace, planted):
    workplace.mmcore("run", "mini.toml", "--until", "captions", "--set", "evaluations=[]")
    planted("nan")
    output = workplace.mmcore("run", "mini.toml", "--set", "evaluations=[]", fails=True)
    for words in (
        "loss or gradient was not finite in 5 steps in a row, up to step 11 (step 5 of stage",
        "Look at these samples: llava-json:",
    ):
        assert words in output
    assert [line["step"] for line in incidents(workplace)] == [7, 8, 9, 10, 11]
    assert all(one.isfinite().all() for one in states(newest(workplace)).values())


class Unlucky:
    """A listener that hears of an incident, and fails."""

    @hookimpl
    def mmcore_incident(self, incident):
        raise RuntimeError(f"heard of step {incident.step}")


def test_the_run_writes_down_first_what_makes_a_listener_fail(workplace, planted, monkeypatch):
    @hookimpl
    def failing(self, report):
        raise ConnectionError("no answer")

    monkeypatch.setattr(JsonLinesTracker, "mmcore_step_end", failing)
    planted("nan")
    recipe = mmcore.load_recipe("mini.toml", ["evaluations=[]"])
    with (
        pytest.warns(
            UserWarning, match=r"JsonLinesTracker failed in mmcore_step_end .*the run goes on"
        ),
        pytest.raises(RuntimeError, match="heard of step 1"),
    ):
        mmcore.run(recipe, listeners=[Unlucky()])
    assert [line["step"] for line in incidents(workplace)] == [1]


SPIKE = (
    "run", "mini.toml", "--until", "captions", "--set", "stages.captions.steps=24",
    "--set", "checkpoints.every_steps=5", "--set", "evaluations=[]",
)  # fmt: skip


def train_for_a_spike(workplace, mmcore=None, *words):
    """The run in which all goes well. No row comes twice in it."""
    recipe = workplace.folder / "mini.toml"
    recipe.write_text(recipe.read_text().replace("rows = 96, seed = 1", "rows = 640, seed = 1"))
    (mmcore or workplace.mmcore)(*SPIKE, *words, "--set", "name=whole")


@pytest.mark.slow
def test_a_spike_is_told_by_source_and_sample_and_the_run_goes_on(workplace, planted):
    train_for_a_spike(workplace)
    guilty = samples(workplace, 20)[2][0]
    planted("spike", key=guilty)
    output = workplace.mmcore(*SPIKE)
    assert "step 20: the loss leapt to" in output
    assert "by source: blip3-ocr" in output
    (line,) = incidents(workplace)
    assert (line["step"], line["kind"], line["keys"][0]) == (20, "spike", guilty)
    assert len(workplace.losses()) == 24
    assert workplace.losses()[19] == workplace.losses("whole")[19]


def test_rolled_back_the_run_is_the_one_that_never_saw_the_data(workplace, planted):
    train_for_a_spike(workplace)
    guilty = samples(workplace, 19)[0][0]
    planted("spike", key=guilty)
    output = workplace.mmcore(*SPIKE, "--set", "guards.rollbacks=1")
    assert "stage 'captions' goes back to leave out steps 18 to 19" in output
    assert "the run goes on after step 15" in output
    spike, back = incidents(workplace)
    assert (spike["kind"], spike["step"], spike["keys"][0]) == ("spike", 19, guilty)
    assert (back["kind"], back["step"]) == ("rolled-back", 15)
    entries = rollbacks.read(workplace.folder / "runs" / "mini")
    assert [(one.stage, one.first, one.last) for one in entries] == [("captions", 18, 19)]
    assert entries[0].checkpoint == "step-00000015"
    assert newest(workplace).progress.counts[DISCARDED] == 2
    # Its data is that of a run in which all goes well, without that of steps 18 and 19.
    whole, found = (
        {line["step"]: line for line in workplace.metrics(n)} for n in ("whole", "mini")
    )
    for key in ("tokens", "labels", "samples", "views"):
        wanted = [whole[step][key] for step in (*range(1, 18), *range(20, 25))]
        assert [found[step][key] for step in range(1, 23)] == wanted
    assert guilty not in {
        key for step in (18, 19) for p in samples(workplace, step, "mini") for key in p
    }

    # And what it learned is what a run learns that leaves them out from the beginning.
    planted("")
    recipe = mmcore.load_recipe("mini.toml", [*SPIKE[5::2], "name=without"])
    mmcore.run(recipe, max_steps=1)
    shutil.copy("runs/mini/rollbacks.json", "runs/without/rollbacks.json")
    workplace.mmcore(*SPIKE, "--set", "name=without")
    assert workplace.losses() == workplace.losses("without")
    assert same(states(newest(workplace)), states(newest(workplace, "without")))


@pytest.mark.slow
def test_the_step_of_a_roll_back_can_be_made_again_with_its_data(workplace, planted):
    train_for_a_spike(workplace)
    guilty = samples(workplace, 19)[0][0]
    planted("spike", key=guilty)
    workplace.mmcore(*SPIKE, "--set", "guards.rollbacks=1")
    words = ("replay", "runs/mini", "--step", "19", "--device", "cpu")
    output = workplace.mmcore(*words, "--before-rollback")
    assert guilty in output
    assert "not recorded" in output
    output = workplace.mmcore(*words)
    assert guilty not in output
    assert "as recorded" in output


def test_a_full_device_is_told_with_the_pack_and_what_to_lower(workplace, planted):
    workplace.mmcore("run", "mini.toml", "--set", "name=whole")
    third = replay(workplace.folder / "runs" / "whole", 5, device="cpu").packs[2]
    guilty = third.samples[0].key
    planted("oom", key=guilty)
    output = workplace.mmcore("run", "mini.toml", fails=True)
    for words in (
        f"step 5: a pack of {third.tokens} tokens and {third.views} views does not fit the device",
        "lower batch.max_tokens or batch.max_views",
        guilty,
        "CUDA out of memory",
    ):
        assert words in output
    # That of step 4 was still being written when step 5 failed.
    assert newest(workplace).progress.step == 2
    planted("")
    assert "going on after step 2" in workplace.mmcore("run", "mini.toml")
    assert workplace.losses() == workplace.losses("whole")


def test_the_largest_pack_goes_first_and_teaches_nothing(workplace, planted):
    workplace.mmcore("run", "mini.toml", "--set", "name=whole", "--set", "evaluations=[]")
    largest = ("--set", "guards.largest_pack=always", "--set", "evaluations=[]")
    output = workplace.mmcore("run", "mini.toml", *largest)
    assert "trying the largest pack: 96 tokens, 6 views; nothing is learned from it" in output
    assert workplace.losses() == workplace.losses("whole")
    planted("oom", tokens=96)  # a device on which smaller packs fit
    output = workplace.mmcore("run", "mini.toml", *largest, "--set", "name=small", fails=True)
    assert "step 1: a pack of 96 tokens and 6 views does not fit the device" in output
    assert not checkpoint.latest(checkpoints(workplace, "small"))


@pytest.fixture
def small_files():
    """Files cannot grow beyond some bytes any more, until the test is over."""
    usual = resource.getrlimit(resource.RLIMIT_FSIZE)
    yield lambda size: resource.setrlimit(resource.RLIMIT_FSIZE, (size, usual[1]))
    resource.setrlimit(resource.RLIMIT_FSIZE, usual)


@pytest.mark.parametrize("background", ["true", pytest.param("false", marks=pytest.mark.slow)])
def test_a_disk_that_takes_no_more_leaves_the_last_checkpoint(workplace, small_files, background):
    words = ("run", "mini.toml", "--set", f"checkpoints.background={background}")
    workplace.mmcore(*words, "--set", "name=whole")
    mmcore.run(
        mmcore.load_recipe("mini.toml", [f"checkpoints.background={background}"]), max_steps=3
    )
    small_files(60_000)
    output = workplace.mmcore(*words, fails=True)
    small_files(resource.getrlimit(resource.RLIMIT_FSIZE)[1])
    for words_told in (
        "step 4 was not saved: rank 0: ",
        "File too large",
        "step-00000003 is whole and the last one; make room, then the same command goes on",
    ):
        assert words_told in output
    assert newest(workplace).progress.step == 3
    assert not list(checkpoints(workplace).glob(".writing-*"))
    assert "going on after step 3" in workplace.mmcore(*words)
    assert workplace.losses() == workplace.losses("whole")


@pytest.mark.parametrize(
    "number", [pytest.param(signal.SIGTERM, marks=pytest.mark.slow), signal.SIGUSR1]
)
def test_a_signal_while_a_checkpoint_is_written_saves_and_ends_cleanly(
    workplace, monkeypatch, number
):
    workplace.mmcore("run", "mini.toml", "--set", "name=whole")
    usual, written = checkpoint_write.write_file, []

    def slow(path, content):
        if path.suffix == ".safetensors":
            written.append(path.parent.name)
            if len(written) == 1:
                os.kill(os.getpid(), number)
                time.sleep(0.5)  # longer than the steps until the run heeds it
        return usual(path, content)

    monkeypatch.setattr(checkpoint_write, "write_file", slow)
    output = workplace.mmcore("run", "mini.toml")
    assert "stopped; run the same command to go on" in output
    assert written[0] == ".writing-00000002"
    step = newest(workplace).progress.step
    assert 2 < step < 12
    for path in checkpoints(workplace).glob("step-*"):
        checkpoint.load(path).verify()
    assert f"going on after step {step}" in workplace.mmcore("run", "mini.toml")
    assert workplace.losses() == workplace.losses("whole")


def left_behind(workplace):
    """Processes that still work in the folder of the test, some seconds after the run's end."""
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        found = []
        for process in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):  # it ended meanwhile, or is somebody else's
                if os.readlink(process / "cwd") == str(workplace.folder):
                    found.append(int(process.name))
        found.remove(os.getpid())  # which is there, too
        if not found:
            return []
        time.sleep(0.2)
    return found


def stalled(workplace, *words):
    """The run's output and exit code, and how long it took."""
    began = time.monotonic()
    process = workplace.start("run", "mini.toml", *words, "--set", "guards.stall_seconds=4")
    output, _ = process.communicate()
    return output, process.returncode, time.monotonic() - began


@pytest.mark.slow
def test_a_call_that_never_returns_ends_the_run_with_its_stacks(workplace, planted):
    workplace.mmcore("run", "mini.toml", "--set", "name=whole")
    planted("stall", key=samples(workplace, 5)[2][0])
    output, code, _ = stalled(workplace)
    assert code == 75, output
    told = "stage 'captions', step 5, pack 3 of 4: forward and backward"
    assert f"error: rank 0 of 1 made no progress for 5 s: {told}" in output
    assert "the same command goes on from it" in output
    (path,) = (workplace.folder / "runs" / "mini" / "stalls").iterdir()
    assert path.name == "step-00000005-rank-00000.txt"
    assert "planted.py" in path.read_text()
    # That of step 4 was still being written when step 5 failed.
    assert newest(workplace).progress.step == 2
    planted("")
    assert "going on after step 2" in workplace.mmcore("run", "mini.toml")
    assert workplace.losses() == workplace.losses("whole")


@pytest.mark.parametrize("zero", [2, 3])
@pytest.mark.slow
@pytest.mark.timeout(1800)
@ON_LINUX
def test_a_rank_that_stalls_ends_both_with_their_stacks(workplace, planted, zero):
    two = (*TWO, "--set", f"engine.zero={zero}")
    workplace.typed("run", "mini.toml", *two, "--set", "name=whole")
    planted("stall", key=samples(workplace, 5)[-1][0])  # the last packs are rank 1's
    output, code, seconds = stalled(workplace, *two)
    assert code != 0
    assert seconds < 120, output
    assert "rank 1 of 2 made no progress for" in output
    stalls = workplace.folder / "runs" / "mini" / "stalls"
    assert sorted(path.name for path in stalls.iterdir()) == [
        f"step-00000005-rank-0000{rank}.txt" for rank in (0, 1)
    ]
    sleeper = (stalls / "step-00000005-rank-00001.txt").read_text()
    assert "step 5, pack 2 of 2: forward and backward" in sleeper
    assert "planted.py" in sleeper
    assert "step 5" in (stalls / "step-00000005-rank-00000.txt").read_text()
    assert not left_behind(workplace)
    assert newest(workplace).progress.step == 2
    planted("")
    assert "going on after step 2" in workplace.typed("run", "mini.toml", *two)
    assert workplace.losses() == workplace.losses("whole")


@pytest.mark.slow
@pytest.mark.timeout(1800)
@ON_LINUX
def test_two_processes_skip_roll_back_and_run_out_of_memory_together(workplace, planted):
    spike = (*SPIKE, *TWO, "--set", "guards.rollbacks=1")
    train_for_a_spike(workplace, workplace.typed, *TWO)
    guilty = samples(workplace, 19)[-1][0]  # a sample of rank 1
    planted("spike", key=guilty)
    output = workplace.typed(*spike)
    assert "goes back to leave out steps 18 to 19" in output
    assert len(workplace.losses()) == 24
    whole = workplace.losses("whole")
    assert {step: workplace.losses()[step] for step in range(1, 18)} == {
        step: whole[step] for step in range(1, 18)
    }

    planted("nan", key=guilty)
    output = workplace.typed(*spike, "--set", "name=skipped")
    assert "step 19: the loss of 1 of 4 packs was not finite" in output
    (line,) = incidents(workplace, "skipped")
    assert guilty in line["keys"]

    planted("oom", key=guilty)
    output = workplace.typed(*spike, "--set", "name=full", fails=True)
    assert "step 19: a pack of" in output
    assert guilty in output
    assert newest(workplace, "full").progress.step == 15


@pytest.fixture
def small_disk(workplace):
    """``runs`` on a disk of its own of 6 MiB, which some checkpoints fill."""
    place = workplace.folder / "runs"
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=6m", "tmpfs", str(place)]
    if subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("this user may not mount a disk")
    yield place
    subprocess.run(["umount", "-l", str(place)], check=True)


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("procs", [1, pytest.param(2, marks=ON_LINUX)])
def test_a_full_disk_leaves_the_last_checkpoint_and_is_told(workplace, small_disk, procs):
    words = ("run", "mini.toml", *(TWO if procs == 2 else ()), "--set", "evaluations=[]")
    room = ("--set", "checkpoints.keep_last=1", "--set", "checkpoints.every_steps=1")
    workplace.typed(*words, *room, "--set", "name=whole")
    whole = workplace.losses("whole")
    shutil.rmtree(small_disk / "whole")
    # Nothing is removed: some checkpoint is the one too many.
    output = workplace.typed(
        *words, "--set", "checkpoints.every_steps=1", "--set", "checkpoints.keep_last=100",
        fails=True,
    )  # fmt: skip
    assert "No space left on device" in output
    assert "is whole and the last one; make room, then the same command goes on" in output
    step = newest(workplace).progress.step
    assert 1 <= step < 12
    for path in list(checkpoints(workplace).glob("step-*")):
        checkpoint.load(path).verify()
        if path.name != f"step-{step:08d}":
            shutil.rmtree(path)
    assert f"going on after step {step}" in workplace.typed(*words, *room)
    assert workplace.losses() == whole
