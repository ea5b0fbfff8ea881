"""Checkpoints: what is written is read, damage is named, and no failure costs the one before."""

from __future__ import annotations

import itertools
import json
import os
import resource
import shutil
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import attrs
import pytest
import torch
from torch import nn

from mmcore.interfaces import ParameterState, World
from mmcore.training import checkpoint, checkpoint_write
from mmcore.training.checkpoint import CheckpointError
from mmcore.training.checkpoint_tensors import weights_for
from mmcore.training.checkpoint_write import Header, Keeping
from mmcore.training.progress import Progress


def module(seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    frozen = nn.Linear(3, 2, bias=False).to(torch.bfloat16).requires_grad_(False)
    return nn.ModuleDict({"frozen": frozen, "norm": nn.LayerNorm(4), "learned": nn.Linear(2, 4)})


class Weights:
    """Stands for an engine around a module."""

    def __init__(self, inner: nn.Module) -> None:
        self.inner = inner

    def parameter_states(self, rank: int = 0, ranks: int = 1) -> Iterator[ParameterState]:
        for name, one in list(self.inner.named_parameters())[rank::ranks]:
            weight = one.detach().clone()
            moments = {"exp_avg": weight * 2, "exp_avg_sq": weight**2}
            learned = one.requires_grad
            yield ParameterState(name, weight, moments if learned else {}, 7 if learned else 0)


def save(root: Path, step: int, inner: nn.Module, **changes: object) -> Path:
    lanes = changes.pop("lanes", {3: {"row": 5}})
    progress = Progress(stage="sft", step=step, counts={"samples": 9})
    return checkpoint.save(
        root,
        engine=Weights(inner),
        header=Header(progress=progress, **changes),
        lanes=lanes,
        world=World(),
        keeping=Keeping(last=2),
    )


def fill(path: Path, inner: nn.Module) -> None:
    values = weights_for(checkpoint.load(path), inner)
    inner.load_state_dict({name: read() for name, read in values.items()})


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "checkpoints"


def test_an_error_of_any_kind_is_one_of_the_checkpoint_and_told_by_all(root, monkeypatch) -> None:
    first = save(root, 1, module())
    with pytest.raises(CheckpointError, match=r"ValueError: .*step-00000001 is whole"):
        save(root, 2, module(), lanes={3: {"row": float("nan")}})  # of what rank 0 writes for all

    def broken(path: Path, content: object) -> None:
        raise RuntimeError("the disk is on fire")

    monkeypatch.setattr(checkpoint_write, "write_file", broken)
    with pytest.raises(CheckpointError, match=r"rank 0: .*RuntimeError: the disk is on fire"):
        save(root, 2, module())
    assert checkpoint.latest(root) == first


def test_what_is_written_is_read(root, monkeypatch) -> None:
    monkeypatch.setattr(checkpoint_write, "FILE_BYTES", 60)  # several files
    inner = module()
    path = save(root, 12, inner)
    assert checkpoint.latest(root) == path == root / "step-00000012"
    found = checkpoint.load(path)
    found.verify()
    assert found.progress == Progress(stage="sft", step=12, counts={"samples": 9})
    assert found.lanes == {3: {"row": 5}}
    assert len(list(path.glob("*.safetensors"))) > 1
    states = list(found.states())
    for state, expected in zip(states, Weights(inner).parameter_states(), strict=True):
        assert state.name == expected.name
        assert state.weight.dtype == expected.weight.dtype
        assert torch.equal(state.weight, expected.weight)
        assert state.moments.keys() == expected.moments.keys()
        assert all(torch.equal(state.moments[k], expected.moments[k]) for k in state.moments)
        assert state.steps == expected.steps


def test_weights_alone_fill_a_module(root) -> None:
    inner, other = module(0), module(1)
    path = save(root, 1, inner)
    fill(path, other)
    for one, two in zip(inner.parameters(), other.parameters(), strict=True):
        assert torch.equal(one, two)
        assert one.dtype == two.dtype


def test_weights_of_another_model_are_refused_before_anything_is_written(root) -> None:
    path = save(root, 1, module())
    other = nn.ModuleDict({"learned": nn.Linear(2, 5), "extra": nn.Linear(1, 1)})
    before = other["learned"].weight.detach().clone()
    with pytest.raises(CheckpointError) as error:
        fill(path, other)
    for word in ("extra.weight is not in the checkpoint", "norm.weight is not in the model"):
        assert word in str(error.value)
    assert torch.equal(other["learned"].weight, before)
    wrong = module()
    wrong["learned"] = nn.Linear(2, 5)
    with pytest.raises(CheckpointError, match=r"learned.weight has shape \(4, 2\), wanted"):
        fill(path, wrong)


def test_only_the_newest_and_the_pinned_are_kept(root) -> None:
    save(root, 1, module(), pinned=True)
    for step in (2, 3, 4):
        save(root, step, module())
    left = sorted(path.name for path in root.iterdir())
    assert left == ["latest", "step-00000001", "step-00000003", "step-00000004"]


def test_newest_means_written_last_not_the_highest_step(root) -> None:
    save(root, 8, module())
    save(root, 9, module())
    path = save(root, 5, module())  # went on from an older one
    assert checkpoint.latest(root) == path
    assert {one.name for one in root.iterdir()} == {"latest", "step-00000005", "step-00000009"}


def test_the_same_step_again_does_not_touch_the_first(root) -> None:
    save(root, 4, module(0))
    path = save(root, 4, module(1))
    assert path.name == "step-00000004.1"
    checkpoint.load(root / "step-00000004").verify()
    assert checkpoint.latest(root) == path


def test_there_is_no_latest_at_first(root) -> None:
    assert checkpoint.latest(root) is None


def test_a_latest_that_points_nowhere_is_told(root) -> None:
    shutil.rmtree(save(root, 1, module()))
    with pytest.raises(CheckpointError, match="step-00000001"):
        checkpoint.latest(root)


def _truncate(path: Path) -> None:
    os.truncate(path, path.stat().st_size - 1)


def _flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)


FILES = ["parameters-00000-00000.safetensors", "progress.json", "lanes.json", "manifest.json"]


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("harm", [Path.unlink, _truncate])
def test_a_missing_or_short_file_is_named(root, name, harm) -> None:
    path = save(root, 1, module())
    harm(path / name)
    with pytest.raises(CheckpointError, match=name):
        checkpoint.load(path)


@pytest.mark.parametrize("name", FILES[:3])
def test_an_altered_file_is_named(root, name) -> None:
    path = save(root, 1, module())
    _flip(path / name)
    with pytest.raises(CheckpointError, match=name):
        checkpoint.load(path).verify()


def test_another_format_is_refused(root) -> None:
    path = save(root, 1, module())
    manifest = json.loads((path / "manifest.json").read_text())
    (path / "manifest.json").write_text(json.dumps({**manifest, "format": 2}))
    with pytest.raises(CheckpointError, match="format 2, wanted 1"):
        checkpoint.load(path)


def test_nothing_is_ever_unpickled(root) -> None:
    path = save(root, 1, module())
    assert {one.suffix for one in path.iterdir()} == {".safetensors", ".json"}


@contextmanager
def small_disk() -> Iterator[None]:
    """Within, no file grows beyond 8 KiB: writing more fails as on a full disk.

    The limit is the whole process's, so it must end before the test runner writes its own log.
    """
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (8192, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_full_disk_costs_nothing(root) -> None:
    path = save(root, 1, module())
    with small_disk():
        with pytest.raises(CheckpointError, match=r"step 2 was not saved.*rank 0.*too large"):
            save(root, 2, nn.Linear(100, 100))
        with pytest.raises(CheckpointError, match="too large"):  # rank 0's own files
            save(root, 3, module(), lanes={0: {"text": "x" * 9000}})
    assert checkpoint.latest(root) == path
    checkpoint.load(path).verify()
    again = save(root, 4, module())
    assert checkpoint.latest(root) == again
    assert not list(root.glob(".writing-*"))


def _save_and_die(root: Path, step: int, act: int) -> bool:
    """Save in a process that is killed before its ``act``-th sync or rename; whether it was."""
    pid = os.fork()
    if pid == 0:
        acts = itertools.count(1)
        for owner, name in ((os, "fsync"), (Path, "rename")):
            setattr(owner, name, _mortal(getattr(owner, name), acts, act))
        save(root, step, module(step))
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == -signal.SIGKILL


def _mortal(usual: Callable[..., object], acts: Iterator[int], act: int) -> Callable[..., object]:
    def call(*arguments: object) -> object:
        if next(acts) == act:
            os.kill(os.getpid(), signal.SIGKILL)
        return usual(*arguments)

    return call


def test_a_save_that_is_killed_at_any_moment_costs_nothing(root) -> None:
    save(root, 1, module(1))
    newest, act = 1, 1
    while _save_and_die(root, newest + 1, act):
        found = checkpoint.load(checkpoint.latest(root))
        found.verify()
        assert found.progress.step in (newest, newest + 1)
        newest = found.progress.step
        expected = Weights(module(newest)).parameter_states()
        for state, wanted in zip(found.states(), expected, strict=True):
            assert torch.equal(state.weight, wanted.weight)
        act += 1
    assert act > 8
    assert checkpoint.load(checkpoint.latest(root)).progress.step == newest + 1
    assert not list(root.glob(".writing-*"))


def test_a_manifest_lists_the_parameters_in_the_models_order(root) -> None:
    found = checkpoint.load(save(root, 1, module()))
    assert list(found.manifest.tensors) == [name for name, _ in module().named_parameters()]
    assert attrs.asdict(found.manifest)["tensors"]["learned.bias"]["shape"] == (4,)
