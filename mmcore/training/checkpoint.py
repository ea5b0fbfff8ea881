"""Read a checkpoint: verified, by any number of ranks, for any engine, or for inference alone."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import attrs
import torch
from safetensors import safe_open

from mmcore.interfaces import ParameterState
from mmcore.training.checkpoint_format import (
    LANES,
    MANIFEST,
    PROGRESS,
    CheckpointError,
    Manifest,
    check_content,
    check_files,
    latest,
    moment_key,
    read_json,
    weight_key,
)
from mmcore.training.checkpoint_write import save
from mmcore.training.progress import Progress

__all__ = ["Checkpoint", "CheckpointError", "latest", "load", "save"]

READERS = 4
"""Files that one process hashes at a time."""


@attrs.frozen
class Checkpoint:
    """A complete checkpoint on disk.

    Attributes:
        path: its folder.
        progress: how far the run had come.
        lanes: place in the data of all lanes, by number.
        manifest: what it consists of.
    """

    path: Path
    progress: Progress
    lanes: dict[int, Any]
    manifest: Manifest

    def states(self) -> Iterator[ParameterState]:
        """Every parameter in the model's order, read when it is asked for.

        Raises:
            CheckpointError: a tensor is not where, or what, the manifest says.
        """
        with ExitStack() as stack:
            opened: dict[str, Any] = {}
            for name, facts in self.manifest.tensors.items():
                if facts.file not in opened:
                    opened[facts.file] = stack.enter_context(_opened(self.path / facts.file))
                file = opened[facts.file]
                weight = _tensor(self.path / facts.file, file, weight_key(name), facts.shape)
                moments = {
                    one: _tensor(self.path / facts.file, file, moment_key(one, name), facts.shape)
                    for one in facts.moments
                }
                yield ParameterState(name, weight, moments, facts.steps)

    def weight(self, name: str) -> torch.Tensor:
        """One weight, mapped: it is read where it is looked at.

        Raises:
            CheckpointError: it is not where, or what, the manifest says.
        """
        facts = self.manifest.tensors[name]
        path = self.path / facts.file
        with _opened(path) as file:
            return _tensor(path, file, weight_key(name), facts.shape)

    def verify(self, rank: int = 0, ranks: int = 1) -> None:
        """Read every byte and compare it with what was written.

        Args:
            rank, ranks: files number ``rank``, ``rank + ranks``, ... are read, in the order of
                their sizes; by default all of them.

        Raises:
            CheckpointError: names the file that was altered.
        """
        files = self.manifest.files
        mine = sorted(files, key=lambda name: (-files[name].bytes, name))[rank::ranks]
        with ThreadPoolExecutor(READERS) as pool:  # hashing leaves the interpreter to others
            list(pool.map(lambda name: check_content(self.path, files, [name]), mine))


def load(path: Path) -> Checkpoint:
    """The checkpoint in this folder, after its files were found to be there and whole in size,
    and its small ones in content. Nothing is unpickled.

    Raises:
        CheckpointError: a file is missing, too short, too long, or damaged; names it.
    """
    manifest = load_manifest(path)
    check_files(path, manifest.files)
    small = [PROGRESS, LANES]
    absent = [name for name in small if name not in manifest.files]
    if absent:
        raise CheckpointError(f"{path / MANIFEST} does not list {', '.join(absent)}")
    check_content(path, manifest.files, small)
    try:
        progress = Progress.from_json(read_json(path / PROGRESS))
    except ValueError as error:
        raise CheckpointError(f"{path / PROGRESS}: {error}") from error
    lanes = {int(lane): state for lane, state in read_json(path / LANES).items()}
    return Checkpoint(path, progress, lanes, manifest)


def load_manifest(path: Path) -> Manifest:
    """What the checkpoint in this folder consists of.

    Raises:
        CheckpointError: the manifest is missing or damaged.
    """
    return Manifest.from_json(read_json(path / MANIFEST), path / MANIFEST)


def _opened(path: Path) -> Any:
    try:
        return safe_open(path, framework="pt")
    except Exception as error:  # safetensors raises its own kind, an OSError, or a panic
        raise CheckpointError(f"{path} is damaged: {error}") from error


def _tensor(path: Path, file: Any, key: str, shape: tuple[int, ...]) -> torch.Tensor:
    if key not in file.keys():  # noqa: SIM118  (safe_open is no mapping)
        raise CheckpointError(f"{path} has no tensor {key!r}")
    tensor: torch.Tensor = file.get_tensor(key)
    if tuple(tensor.shape) != shape:
        raise CheckpointError(f"{key!r} in {path} has shape {tuple(tensor.shape)}, wanted {shape}")
    return tensor
