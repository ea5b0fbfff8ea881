"""Write safetensors files a tensor at a time, in any order, without holding them all in memory.

The format (github.com/huggingface/safetensors): eight bytes with the header's length, a JSON
header of dtypes, shapes and offsets, then the tensors' bytes. As the header comes first, names,
shapes and dtypes are declared before the first tensor is written.
"""

from __future__ import annotations

import itertools
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import TracebackType
from typing import Self

import attrs
import torch

from mmcore.kit.weights import INDEX

SHARD_BYTES = 5 * 10**9
"""Largest file of a folder of weights, as Hugging Face's tools write them."""

DTYPES = {
    torch.float64: "F64",
    torch.float32: "F32",
    torch.float16: "F16",
    torch.bfloat16: "BF16",
    torch.int64: "I64",
    torch.int32: "I32",
    torch.uint8: "U8",
    torch.bool: "BOOL",
}


@attrs.frozen
class Declared:
    """A tensor that will be written."""

    shape: tuple[int, ...]
    dtype: torch.dtype

    @property
    def bytes(self) -> int:
        count = self.dtype.itemsize
        for side in self.shape:
            count *= side
        return count


class TensorFile:
    """One file; entered as a context, and complete when every declared tensor was written.

    Args:
        path: where; overwritten.
        declared: what will be written, in the order in which it lies in the file.
        metadata: of the header.
    """

    def __init__(
        self, path: Path, declared: Mapping[str, Declared], metadata: Mapping[str, str]
    ) -> None:
        self._declared, self._path = dict(declared), path
        self._written: set[str] = set()
        sizes = [one.bytes for one in declared.values()]
        starts = itertools.accumulate(sizes, initial=0)
        self._start = dict(zip(declared, starts, strict=False))
        header = header_of(declared, metadata)
        self._body = len(header)
        self._file = path.open("wb")
        self._file.write(header)
        self._file.truncate(self._body + sum(sizes))

    def write(self, name: str, tensor: torch.Tensor) -> None:
        """Put a tensor where the header says."""
        one = self._declared[name]
        assert (tuple(tensor.shape), tensor.dtype) == (one.shape, one.dtype), name
        self._file.seek(self._body + self._start[name])
        self._file.write(raw(tensor))
        self._written.add(name)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if kind is None:
            self._file.flush()
            os.fsync(self._file.fileno())
            absent = self._declared.keys() - self._written
            assert not absent, f"{self._path}: never written: {sorted(absent)}"
        self._file.close()


def header_of(declared: Mapping[str, Declared], metadata: Mapping[str, str]) -> bytes:
    """What stands before the tensors, which follow in this order."""
    header: dict[str, object] = {"__metadata__": dict(metadata)} if metadata else {}
    offset = 0
    for name, one in declared.items():
        stop = offset + one.bytes
        header[name] = {
            "dtype": DTYPES[one.dtype],
            "shape": list(one.shape),
            "data_offsets": [offset, stop],
        }
        offset = stop
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)  # tensors start at a multiple of eight bytes
    return len(text).to_bytes(8, "little") + text


def encoded(tensors: Mapping[str, torch.Tensor]) -> Iterator[bytes | memoryview]:
    """The content of a file of these tensors, piece by piece; no tensor is copied."""
    yield header_of({name: Declared(tuple(t.shape), t.dtype) for name, t in tensors.items()}, {})
    for tensor in tensors.values():
        yield raw(tensor)


class TensorFolder:
    """The open files of a folder of weights; each tensor goes to its own."""

    def __init__(self, files: Mapping[str, TensorFile], owner: Mapping[str, str]) -> None:
        self._files, self._owner = files, owner

    def write(self, name: str, tensor: torch.Tensor) -> None:
        self._files[self._owner[name]].write(name, tensor)


@contextmanager
def tensor_folder(
    folder: Path,
    declared: Mapping[str, Declared],
    owner: Mapping[str, str],
    *,
    metadata: Mapping[str, str] | None = None,
) -> Iterator[TensorFolder]:
    """Files for these tensors, with an index where there are several.

    Args:
        folder: made if it is not there.
        declared: every tensor that will be written.
        owner: name of each tensor's file within the folder; see ``shards``.
        metadata: of the files' headers; Hugging Face's tools want a format.
    """
    folder.mkdir(parents=True, exist_ok=True)
    if len(set(owner.values())) > 1:
        total = sum(one.bytes for one in declared.values())
        index = {"metadata": {"total_size": total}, "weight_map": dict(sorted(owner.items()))}
        (folder / INDEX).write_text(json.dumps(index, indent=2) + "\n", encoding="utf-8")
    with ExitStack() as stack:
        files = {}
        for file in dict.fromkeys(owner.values()):
            assert file == Path(file).name, f"{file} is to lie in {folder}"
            here = {name: one for name, one in declared.items() if owner[name] == file}
            made = TensorFile(folder / file, here, metadata or {"format": "pt"})
            files[file] = stack.enter_context(made)
        yield TensorFolder(files, owner)


def shards(declared: Mapping[str, Declared], limit: int = SHARD_BYTES) -> dict[str, str]:
    """Which file each tensor goes to, in order: one file, or several of at most ``limit`` bytes."""
    groups: list[list[str]] = [[]]
    size = 0
    for name, one in declared.items():
        if groups[-1] and size + one.bytes > limit:
            groups.append([])
            size = 0
        groups[-1].append(name)
        size += one.bytes
    return {name: _file_name(n, groups) for n, group in enumerate(groups) for name in group}


def raw(tensor: torch.Tensor) -> memoryview:
    """The bytes of a tensor in the order of its elements."""
    flat = tensor.detach().cpu().contiguous().reshape(-1)
    content: memoryview = flat.view(torch.uint8).numpy().data
    return content


def _file_name(number: int, groups: Sequence[Sequence[str]]) -> str:
    if len(groups) == 1:
        return "model.safetensors"
    return f"model-{number + 1:05d}-of-{len(groups):05d}.safetensors"
