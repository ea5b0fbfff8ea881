"""Read a checkpoint: verified, by any number of ranks, for any engine, or for inference alone."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

import attrs
import torch
from safetensors import safe_open
from torch import nn

from mmcore.interfaces import ParameterState
from mmcore.training.checkpoint_format import (
    LANES,
    MANIFEST,
    PROGRESS,
    CheckpointError,
    Manifest,
    TensorFacts,
    check_content,
    check_files,
    latest,
    moment_key,
    read_json,
    weight_key,
)
from mmcore.training.checkpoint_write import save
from mmcore.training.progress import Progress

__all__ = ["Checkpoint", "CheckpointError", "latest", "load", "load_weights", "save", "weights_for"]


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

    def verify(self) -> None:
        """Read every byte and compare it with what was written.

        Raises:
            CheckpointError: names the file that was altered.
        """
        check_content(self.path, self.manifest.files, self.manifest.files)


def load(path: Path) -> Checkpoint:
    """The checkpoint in this folder, after its files were found to be there and whole in size,
    and its small ones in content. Nothing is unpickled.

    Raises:
        CheckpointError: a file is missing, too short, too long, or damaged; names it.
    """
    manifest = Manifest.from_json(read_json(path / MANIFEST), path / MANIFEST)
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


@torch.no_grad()
def load_weights(path: Path, module: nn.Module) -> Checkpoint:
    """Fill a module's parameters, in their own dtype and on their own device; moments are left
    where they are.

    Raises:
        CheckpointError: as ``weights_for``. Nothing is written before that is known.
    """
    parameters = dict(module.named_parameters())
    for name, read in weights_for(path, module).items():
        parameters[name].copy_(read())
    return load(path)


def weights_for(path: Path, module: nn.Module) -> dict[str, Callable[[], torch.Tensor]]:
    """For every parameter of a module what reads its weight from a checkpoint: file by file, and
    nothing before it is asked for.

    Raises:
        CheckpointError: a parameter of the module has no weight, a weight no parameter, or their
            shapes differ; names them.
    """
    parameters = dict(module.named_parameters())
    tensors = load(path).manifest.tensors
    faults = [f"{name} is not in the checkpoint" for name in parameters if name not in tensors]
    faults += [f"{name} is not in the model" for name in tensors if name not in parameters]
    faults += [
        f"{name} has shape {facts.shape}, wanted {tuple(parameters[name].shape)}"
        for name, facts in tensors.items()
        if name in parameters and facts.shape != tuple(parameters[name].shape)
    ]
    if faults:
        more = f" (and {len(faults) - 5} more)" if len(faults) > 5 else ""
        raise CheckpointError(f"{path} does not fit: {'; '.join(faults[:5])}{more}")
    order = sorted(tensors, key=lambda name: tensors[name].file)
    return {
        name: partial(_weight, path / tensors[name].file, name, tensors[name]) for name in order
    }


def _weight(path: Path, name: str, facts: TensorFacts) -> torch.Tensor:
    """One weight of a file, mapped: it is read where it is looked at."""
    with _opened(path) as file:
        return _tensor(path, file, weight_key(name), facts.shape)


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
