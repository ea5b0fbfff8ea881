"""Write a checkpoint: every rank its share of the parameters, rank 0 the rest, then one rename."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType

import torch

from mmcore.interfaces import Engine, Lora, ParameterState, World
from mmcore.kit.tensor_file import encoded
from mmcore.training.checkpoint_format import (
    LANES,
    MANIFEST,
    PINNED,
    PROGRESS,
    WRITING,
    CheckpointError,
    FileFacts,
    Manifest,
    TensorFacts,
    moment_key,
    point_latest,
    sync_folder,
    weight_key,
    write_file,
    write_json,
)
from mmcore.training.progress import Progress
from mmcore.training.ranks import gather_objects

FILE_BYTES = 512 * 2**20
"""A file is closed when it has grown so large: what a rank holds in memory at a time."""
NAME = re.compile(r"step-\d{8}(\.\d+)?")


def save(
    root: Path,
    *,
    engine: Engine,
    progress: Progress,
    lanes: Mapping[int, object],
    world: World,
    keep_last: int,
    pinned: bool = False,
    loras: Mapping[str, Lora] = MappingProxyType({}),
) -> Path:
    """Write ``root/step-NNNNNNNN`` and make it the latest; called by all ranks together.

    Parameter i is written by rank ``i % ranks``. Until the last moment the checkpoints before it
    stay as they are; after that, all but the newest ``keep_last`` are removed, pinned ones aside.

    Args:
        lanes: place in the data of this rank's lanes, JSON-able, by number of the lane.
        pinned: never removed to make room for others.
        loras: the adapters that are among the engine's parameters, by part.

    Raises:
        CheckpointError: on every rank, where one of them could not write; says which and why.
    """
    writing = root / f"{WRITING}{progress.step:08d}"
    _on_main(world, lambda: _prepare(root, writing))
    share, order = _Share(writing, world.rank), []
    for index, state in enumerate(engine.parameter_states()):
        order.append(state.name)
        if index % world.size == world.rank:
            share.add(state)
        del state  # of a large model it is gigabytes, and the next one is made now
    share.close()
    everyone = gather_objects((share.tensors, share.files, dict(lanes), share.failure))
    broken = [f"rank {rank}: {one[3]}" for rank, one in enumerate(everyone) if one[3]]
    if broken:
        _on_main(world, lambda: shutil.rmtree(writing))
        raise CheckpointError(f"step {progress.step} was not saved: {'; '.join(broken)}")

    def complete() -> str:
        tensors = {name: facts for one in everyone for name, facts in one[0].items()}
        files = {name: facts for one in everyone for name, facts in one[1].items()}
        places = {lane: state for one in everyone for lane, state in one[2].items()}
        files[PROGRESS] = write_json(writing / PROGRESS, progress.to_json())
        files[LANES] = write_json(writing / LANES, {str(key): places[key] for key in places})
        if pinned:
            files[PINNED] = write_file(writing / PINNED, [])
        manifest = Manifest({name: tensors[name] for name in order}, files, dict(loras))
        write_json(writing / MANIFEST, manifest.to_json())
        sync_folder(writing)
        name = _free_name(root, progress.step)
        writing.rename(root / name)
        point_latest(root, name)
        _prune(root, keep_last, name)
        return name

    return root / _on_main(world, complete)


class _Share:
    """One rank's part: gathers tensors and writes them file by file. After a failure it only
    listens, so that the ranks stay in step while the engine hands out parameters."""

    def __init__(self, folder: Path, rank: int) -> None:
        self.tensors: dict[str, TensorFacts] = {}
        self.files: dict[str, FileFacts] = {}
        self.failure = ""
        self._folder, self._rank = folder, rank
        self._pending: dict[str, torch.Tensor] = {}
        self._bytes = 0

    @property
    def _file(self) -> str:
        return f"parameters-{self._rank:05d}-{len(self.files):05d}.safetensors"

    def add(self, state: ParameterState) -> None:
        self.tensors[state.name] = TensorFacts(
            file=self._file,
            shape=tuple(state.weight.shape),
            dtype=str(state.weight.dtype).removeprefix("torch."),
            moments=tuple(state.moments),
            steps=state.steps,
        )
        self._pending[weight_key(state.name)] = state.weight.contiguous()
        for moment, tensor in state.moments.items():
            self._pending[moment_key(moment, state.name)] = tensor.contiguous()
        self._bytes += sum(one.nbytes for one in (state.weight, *state.moments.values()))
        if self._bytes >= FILE_BYTES:
            self.close()

    def close(self) -> None:
        """Write what is pending."""
        if self._pending and not self.failure:
            path = self._folder / self._file
            try:
                self.files[path.name] = write_file(path, encoded(self._pending))
            except OSError as error:
                self.failure = f"{path}: {error.strerror}"
        self._pending, self._bytes = {}, 0


def _on_main(world: World, action: Callable[[], str | None]) -> str:
    """Let rank 0 do it, and all ranks know what came of it."""
    answer, failure = "", ""
    if world.is_main:
        try:
            answer = action() or ""
        except OSError as error:
            failure = str(error)
    answer, failure = gather_objects((answer, failure))[0]
    if failure:
        raise CheckpointError(f"the checkpoint was not saved: {failure}")
    return answer


def _prepare(root: Path, writing: Path) -> None:
    root.mkdir(parents=True, exist_ok=True)
    for left_behind in root.glob(f"{WRITING}*"):
        if left_behind.is_dir():
            shutil.rmtree(left_behind)
    writing.mkdir()


def _free_name(root: Path, step: int) -> str:
    """The step's name; numbered where an earlier run left a checkpoint of the same step, which
    stays until the new one is complete."""
    name, number = f"step-{step:08d}", 0
    while (root / name).exists():
        number += 1
        name = f"step-{step:08d}.{number}"
    return name


def _prune(root: Path, keep_last: int, newest: str) -> None:
    """Remove the oldest, by when they were written."""
    folders = [
        path
        for path in root.iterdir()
        if NAME.fullmatch(path.name) and path.name != newest and not (path / PINNED).exists()
    ]
    folders.sort(key=lambda path: (path.stat().st_mtime_ns, path.name), reverse=True)
    for path in folders[max(keep_last - 1, 0) :]:
        doomed = path.rename(root / f"{WRITING}removed-{path.name}")
        shutil.rmtree(doomed)
