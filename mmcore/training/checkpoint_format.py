"""The files of a checkpoint: their names, the manifest, and writing that survives a crash.

A checkpoint is a folder of safetensors files, ``progress.json``, ``lanes.json``, and
``manifest.json``, which is written last and says what all the others must be. The folder appears
under its name in one rename, and ``latest`` points at it only then.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import attrs

from mmcore.interfaces import Lora

FORMAT = 1
MANIFEST, PROGRESS, LANES, LATEST = "manifest.json", "progress.json", "lanes.json", "latest"
PINNED = "pinned"
"""An empty file in a checkpoint that is never removed to make room."""
WRITING = ".writing-"
"""Prefix of a checkpoint's folder while it is written."""


class CheckpointError(ValueError):
    """A checkpoint could not be written, or is not what its manifest says."""


@attrs.frozen
class FileFacts:
    """Size and SHA-256 of a file, as written."""

    bytes: int
    sha256: str


@attrs.frozen
class TensorFacts:
    """Where one parameter is.

    Attributes:
        file: name of the safetensors file within the folder.
        shape, dtype: of the weight.
        moments: names of the moments beside it.
        steps: how many updates it has had.
    """

    file: str
    shape: tuple[int, ...]
    dtype: str
    moments: tuple[str, ...]
    steps: int


@attrs.frozen
class Manifest:
    """What a checkpoint consists of; ``tensors`` are in the model's order.

    ``loras`` are the adapters that are among them, by part.
    """

    tensors: Mapping[str, TensorFacts]
    files: Mapping[str, FileFacts]
    loras: Mapping[str, Lora] = attrs.field(factory=dict)

    def to_json(self) -> dict[str, Any]:
        return {"format": FORMAT, **attrs.asdict(self)}

    @classmethod
    def from_json(cls, table: Mapping[str, Any], place: Path) -> Manifest:
        """
        Raises:
            CheckpointError: another format, or a malformed manifest.
        """
        found = table.get("format")
        if found != FORMAT:
            raise CheckpointError(f"{place} has format {found!r}, wanted {FORMAT}")
        try:
            tensors = {
                name: TensorFacts(
                    facts["file"],
                    tuple(facts["shape"]),
                    facts["dtype"],
                    tuple(facts["moments"]),
                    facts["steps"],
                )
                for name, facts in table["tensors"].items()
            }
            files = {name: FileFacts(**facts) for name, facts in table["files"].items()}
            loras = {part: _lora(keys) for part, keys in table.get("loras", {}).items()}
            return cls(tensors, files, loras)
        except (KeyError, TypeError, AttributeError, ValueError) as error:
            raise CheckpointError(f"{place} is malformed: {error!r}") from error


def _lora(keys: Mapping[str, Any]) -> Lora:
    targets = keys["targets"]
    return Lora(**{**keys, "targets": tuple(targets) if isinstance(targets, list) else targets})


def weight_key(name: str) -> str:
    """Key of a parameter's weight within its file."""
    return f"weight/{name}"


def moment_key(moment: str, name: str) -> str:
    """Key of one of a parameter's moments within its file."""
    return f"moment/{moment}/{name}"


def write_file(path: Path, content: Iterable[bytes | memoryview]) -> FileFacts:
    """Write piece by piece, and wait until it is on the disk."""
    digest, size = hashlib.sha256(), 0
    with path.open("wb") as file:
        for piece in content:
            file.write(piece)
            digest.update(piece)
            size += len(piece)
        file.flush()
        os.fsync(file.fileno())
    return FileFacts(size, digest.hexdigest())


def write_json(path: Path, table: object) -> FileFacts:
    return write_file(path, [json.dumps(table, allow_nan=False).encode()])


def read_json(path: Path) -> Any:
    """
    Raises:
        CheckpointError: the file is missing or is no JSON.
    """
    try:
        return json.loads(path.read_bytes())
    except FileNotFoundError:
        raise CheckpointError(f"{path} is missing") from None
    except ValueError as error:
        raise CheckpointError(f"{path} is damaged: {error}") from error


def sync_folder(folder: Path) -> None:
    """Wait until the names in a folder are on the disk."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def point_latest(root: Path, name: str) -> None:
    """Make ``latest`` name this checkpoint, in one rename."""
    beside = root / f"{WRITING}{LATEST}"
    write_file(beside, [f"{name}\n".encode()])
    beside.rename(root / LATEST)
    sync_folder(root)


def latest(root: Path) -> Path | None:
    """The newest complete checkpoint below ``root``, or None; lists no folder.

    Raises:
        CheckpointError: ``latest`` names a checkpoint that is not there.
    """
    try:
        name = (root / LATEST).read_text().strip()
    except FileNotFoundError:
        return None
    path = root / name
    if not name or not path.is_dir():
        raise CheckpointError(f"{root / LATEST} names {name!r}, and {path} is no folder")
    return path


def check_files(folder: Path, files: Mapping[str, FileFacts]) -> None:
    """
    Raises:
        CheckpointError: a file is missing or has another size.
    """
    for name, facts in files.items():
        path = folder / name
        if not path.is_file():
            raise CheckpointError(f"{path} is missing")
        size = path.stat().st_size
        if size != facts.bytes:
            raise CheckpointError(f"{path} has {size} bytes, wanted {facts.bytes}")


def check_content(folder: Path, files: Mapping[str, FileFacts], names: Iterable[str]) -> None:
    """
    Raises:
        CheckpointError: a file's content is not what was written.
    """
    for name in names:
        with (folder / name).open("rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
        if found != files[name].sha256:
            raise CheckpointError(f"{folder / name} was altered: its SHA-256 differs")
