"""Write a checkpoint: every rank its share of the parameters, rank 0 the rest, then one rename."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import zip_longest
from pathlib import Path

import attrs
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
    latest,
    moment_key,
    point_latest,
    sync_folder,
    weight_key,
    write_file,
    write_json,
)
from mmcore.training.progress import Progress
from mmcore.training.ranks import gather_objects
from mmcore.training.stalls import note

FILE_BYTES = 512 * 2**20
"""A file is closed when it has grown so large: what a rank holds in memory at a time."""
NAME = re.compile(r"step-(\d{8})(\.\d+)?")


@attrs.frozen(kw_only=True)
class Keeping:
    """Which checkpoints stay when a new one is complete, beside it and those that are pinned.

    Attributes:
        last: the newest ones, the new one counted.
        every: those of steps that are multiples of it, for good; None for no others.
    """

    last: int
    every: int | None = None


@attrs.frozen(kw_only=True)
class Header:
    """What a checkpoint says beside tensors and lanes.

    Attributes:
        progress: how far the run has come.
        pinned: never removed to make room for others.
        loras: the adapters that are among the parameters, by part.
    """

    progress: Progress
    pinned: bool = False
    loras: Mapping[str, Lora] = attrs.field(factory=dict)


@attrs.frozen
class Written:
    """What one rank wrote.

    Attributes:
        tensors: of its parameters, in the model's order.
        files: by name.
        lanes: place in the data of its lanes.
        failure: why it could not write; empty if it could.
    """

    tensors: Mapping[str, TensorFacts]
    files: Mapping[str, FileFacts]
    lanes: Mapping[int, object]
    failure: str


def save(
    root: Path,
    *,
    engine: Engine,
    header: Header,
    lanes: Mapping[int, object],
    world: World,
    keeping: Keeping,
) -> Path:
    """Write ``root/step-NNNNNNNN`` and make it the latest; called by all ranks together.

    Parameter i is written by rank ``i % ranks``. Until the last moment the checkpoints before it
    stay as they are; after that, those that are not to be kept are removed.

    Args:
        lanes: place in the data of this rank's lanes, JSON-able, by number of the lane.

    Raises:
        CheckpointError: on every rank, where one of them could not write; says which and why.
    """
    writing = begin(root, header.progress.step, world)
    share = Share(writing, world.rank)
    for state in engine.parameter_states(world.rank, world.size):
        note(f"saving {state.name}")
        share.add(state)
        del state  # of a large model it is gigabytes, and the next one is made now
        share.write_full()
    share.write()
    everyone = gather_objects(share.written(lanes))
    path, doomed = complete(root, writing, everyone, header, world, keeping)
    remove(doomed)
    return path


def begin(root: Path, step: int, world: World) -> Path:
    """An empty folder to write into, after what killed saves left behind was removed; for all
    ranks together."""
    writing = root / f"{WRITING}{step:08d}"
    _on_main(root, world, lambda: _prepare(root, writing))
    return writing


def complete(
    root: Path,
    writing: Path,
    everyone: Sequence[Written],
    header: Header,
    world: World,
    keeping: Keeping,
) -> tuple[Path, list[Path]]:
    """Make a checkpoint of what all ranks wrote, and the latest one; for all ranks together.

    Returns:
        its folder; and, on rank 0, folders that are to be removed, and are no checkpoints any more.

    Raises:
        CheckpointError: some rank could not write; the folder is removed.
    """
    broken = [f"rank {rank}: {one.failure}" for rank, one in enumerate(everyone) if one.failure]
    if broken:
        _on_main(root, world, lambda: shutil.rmtree(writing))
        raise CheckpointError(
            f"step {header.progress.step} was not saved: {'; '.join(broken)}; {_left(root)}"
        )
    doomed: list[Path] = []

    def finish() -> str:
        files = {name: facts for one in everyone for name, facts in one.files.items()}
        places = {lane: state for one in everyone for lane, state in one.lanes.items()}
        files[PROGRESS] = write_json(writing / PROGRESS, header.progress.to_json())
        files[LANES] = write_json(writing / LANES, {str(key): places[key] for key in places})
        if header.pinned:
            files[PINNED] = write_file(writing / PINNED, [])
        manifest = Manifest(_in_order(everyone), files, header.loras)
        write_json(writing / MANIFEST, manifest.to_json())
        sync_folder(writing)
        name = _free_name(root, header.progress.step)
        writing.rename(root / name)
        point_latest(root, name)
        doomed.extend(_set_aside(root, keeping, name))
        return name

    return root / _on_main(root, world, finish), doomed


def remove(doomed: Iterable[Path]) -> None:
    """Delete what is no checkpoint any more; what cannot be deleted now, the next save deletes."""
    for folder in doomed:
        shutil.rmtree(folder, ignore_errors=True)


class Share:
    """One rank's part: gathers tensors and writes them file by file. After a failure it only
    listens, so that the ranks stay in step while the engine hands out parameters."""

    def __init__(self, folder: Path, rank: int) -> None:
        self._tensors: dict[str, TensorFacts] = {}
        self._files: dict[str, FileFacts] = {}
        self._failure = ""
        self._folder, self._rank = folder, rank
        self._full: list[tuple[str, dict[str, torch.Tensor]]] = []
        self._pending: dict[str, torch.Tensor] = {}
        self._bytes = self._number = 0

    def add(self, state: ParameterState) -> None:
        """Take a parameter into the file that is being filled."""
        self._tensors[state.name] = TensorFacts(
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
            self._close()

    def write_full(self) -> None:
        """Write the files that will not grow any more, and let go of their tensors."""
        while self._full:
            name, tensors = self._full.pop(0)
            if self._failure:
                continue
            try:
                self._files[name] = write_file(self._folder / name, encoded(tensors))
            except OSError as error:
                self._failure = f"{self._folder / name}: {error.strerror or error}"
            except Exception as error:  # told by every rank, as an error of the checkpoint
                self._failure = f"{self._folder / name}: {type(error).__name__}: {error}"

    def write(self) -> None:
        """Write all that is left."""
        self._close()
        self.write_full()

    def written(self, lanes: Mapping[int, object]) -> Written:
        return Written(self._tensors, self._files, dict(lanes), self._failure)

    @property
    def _file(self) -> str:
        return f"parameters-{self._rank:05d}-{self._number:05d}.safetensors"

    def _close(self) -> None:
        if self._pending:
            self._full.append((self._file, self._pending))
            self._number += 1
        self._pending, self._bytes = {}, 0


def _in_order(everyone: Sequence[Written]) -> dict[str, TensorFacts]:
    """All parameters in the model's order, which went to the ranks in turn."""
    rounds = zip_longest(*(one.tensors.items() for one in everyone))
    return dict(entry for entries in rounds for entry in entries if entry is not None)


def _left(root: Path) -> str:
    """What a run goes on from after a failure, and what is to be done."""
    try:
        kept = latest(root)
    except (OSError, CheckpointError):
        kept = None
    whole = f"{kept} is whole and the last one" if kept else "there is none before it"
    return f"{whole}; make room, then the same command goes on from there"


def _on_main(root: Path, world: World, action: Callable[[], str | None]) -> str:
    """Let rank 0 do it, and all ranks know what came of it."""
    answer, failure = "", ""
    if world.is_main:
        try:
            answer = action() or ""
        except OSError as error:
            failure = str(error)
        except Exception as error:  # or the other ranks would wait for this one
            failure = f"{type(error).__name__}: {error}"
    answer, failure = gather_objects((answer, failure))[0]
    if failure:
        raise CheckpointError(f"the checkpoint was not saved: {failure}; {_left(root)}")
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


def _set_aside(root: Path, keeping: Keeping, newest: str) -> list[Path]:
    """Rename the oldest, by when they were written, so that they are no checkpoints any more."""
    folders = [
        path
        for path in root.iterdir()
        if (match := NAME.fullmatch(path.name))
        and path.name != newest
        and not (path / PINNED).exists()
        and not (keeping.every and int(match[1]) % keeping.every == 0)
    ]
    folders.sort(key=lambda path: (path.stat().st_mtime_ns, path.name), reverse=True)
    too_many = folders[max(keeping.last - 1, 0) :]
    return [path.rename(root / f"{WRITING}removed-{path.name}") for path in too_many]
