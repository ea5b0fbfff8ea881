"""Chunks of features: files that appear whole or not at all, and are read through memory maps.

A chunk is a safetensors file with the features of many pictures end to end, their masks and orders
of patches, and a table that says where each picture's begin.

Letters: E entries of a chunk, N views, P patches of a view, D encoder width; of masks and orders N
counts groups of patches, and P the patches of a group.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import attrs
import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open

from mmcore.data.cached_views import CachedViews
from mmcore.data.feature_header import FeaturesError
from mmcore.kit.tensor_file import encoded

KEY_BYTES = 16
KEY = np.dtype(f"S{KEY_BYTES}")
PATTERN = "chunk-*.safetensors"

_FIRST_VIEW, _VIEWS, _GROUPS, _PATCHES, _MASK, _ORDER = range(6)
"""Columns of the table; an order of -1 means that there is none."""


@attrs.frozen(eq=False)
class Entry:
    """One picture, cut in one way."""

    key: bytes
    views: CachedViews


def chunk_paths(folder: Path) -> list[Path]:
    """All chunks of a folder, in the order in which they were written."""
    return sorted(folder.glob(PATTERN))


def write_chunk(folder: Path, number: int, entries: Sequence[Entry]) -> Path:
    """Write a chunk beside the others; it has its name when all of it is on the disk.

    Raises:
        OSError: with the path, such as where the disk is full; nothing is left behind.
    """
    path = folder / f"chunk-{number:06d}.safetensors"
    part = folder / f".{path.name}.part"
    try:
        with part.open("wb") as file:
            for piece in encoded(_tensors(entries)):
                file.write(piece)
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
        _sync(folder)
    except OSError as error:
        part.unlink(missing_ok=True)
        raise OSError(error.errno, error.strerror, str(path)) from error
    return path


def _sync(folder: Path) -> None:
    """A new name is on the disk when its folder is."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _tensors(entries: Sequence[Entry]) -> dict[str, torch.Tensor]:
    views = [one.views for one in entries]
    table_E6 = np.zeros((len(entries), 6), dtype=np.int64)
    masks, orders = [], []
    first = mask = order = 0
    for row, one in zip(table_E6, views, strict=True):
        count, shape = len(one.features_NPD), one.patch_mask_NP.shape
        own = one.patch_order_NP
        row[:] = first, count, *shape, mask, -1 if own is None else order
        first, mask = first + count, mask + one.patch_mask_NP.size
        masks.append(one.patch_mask_NP.reshape(-1))
        if own is not None:
            order += own.size
            orders.append(own.reshape(-1))
    keys_E16 = np.frombuffer(b"".join(one.key for one in entries), dtype=np.uint8)
    tensors = {
        "keys": torch.from_numpy(keys_E16.reshape(-1, KEY_BYTES).copy()),
        "table": torch.from_numpy(table_E6),
        "masks": torch.from_numpy(np.concatenate(masks)),
        "features": torch.cat([one.features_NPD for one in views]),
    }
    if orders:
        tensors["orders"] = torch.from_numpy(np.concatenate(orders))
    return tensors


class Chunk:
    """An open chunk.

    Raises:
        FeaturesError: the file is damaged or gone.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            self._file = cast(Any, safe_open(path, framework="pt"))
            self.keys_E: NDArray[np.bytes_] = (
                self._file.get_tensor("keys").numpy().view(KEY).reshape(-1)
            )
            self._table_E6 = self._file.get_tensor("table").numpy()
            if len(self.keys_E) != len(self._table_E6):
                raise ValueError(f"{len(self.keys_E)} keys for {len(self._table_E6)} entries")
        except (SafetensorError, OSError, ValueError) as error:
            raise FeaturesError(
                f"{path} is no sound chunk of features ({error}); delete it, and `mmcore data "
                "cache RECIPE` makes what it held again"
            ) from error

    @property
    def views(self) -> int:
        """Of all its pictures."""
        return int(self._table_E6[:, _VIEWS].sum())

    def read(self, number: int) -> CachedViews:
        """Its so-manyeth picture; nothing else of the file is read."""
        row = [int(one) for one in self._table_E6[number]]
        first, shape = row[_FIRST_VIEW], (row[_GROUPS], row[_PATCHES])
        size = shape[0] * shape[1]
        features_NPD = self._slice("features", first, row[_VIEWS])
        mask_NP = self._slice("masks", row[_MASK], size).numpy().reshape(shape)
        order = row[_ORDER]
        order_NP = None if order < 0 else self._slice("orders", order, size).numpy().reshape(shape)
        return CachedViews(
            np.zeros((0, 3, 0, 0), dtype=np.uint8), mask_NP, order_NP, features_NPD=features_NPD
        )

    def _slice(self, name: str, start: int, count: int) -> torch.Tensor:
        tensor: torch.Tensor = self._file.get_slice(name)[start : start + count]
        return tensor
