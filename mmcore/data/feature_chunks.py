"""Chunks of features: files that appear whole or not at all, and are read through memory maps.

A chunk is a safetensors file with the features of many pictures end to end, their masks and orders
of patches, and a table that says where each picture's begin, with a checksum of them.

Letters: E entries of a chunk, N views, P patches of a view, D encoder width; of masks and orders N
counts groups of patches, and P the patches of a group.
"""

from __future__ import annotations

import os
import zlib
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
from mmcore.kit.tensor_file import encoded, raw

KEY_BYTES = 16
KEY = np.dtype(f"S{KEY_BYTES}")
PATTERN = "chunk-*.safetensors"

COLUMNS = _FIRST_VIEW, _VIEWS, _GROUPS, _PATCHES, _MASK, _ORDER, _CHECKSUM = range(7)
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
    table_EC = np.zeros((len(entries), len(COLUMNS)), dtype=np.int64)
    masks, orders = [], []
    first = mask = order = 0
    for row, one in zip(table_EC, views, strict=True):
        count, shape = len(one.features_NPD), one.patch_mask_NP.shape
        own = one.patch_order_NP
        row[:] = first, count, *shape, mask, -1 if own is None else order, _checksum(one)
        first, mask = first + count, mask + one.patch_mask_NP.size
        masks.append(one.patch_mask_NP.reshape(-1))
        if own is not None:
            order += own.size
            orders.append(own.reshape(-1))
    keys_E16 = np.frombuffer(b"".join(one.key for one in entries), dtype=np.uint8)
    tensors = {
        "keys": torch.from_numpy(keys_E16.reshape(-1, KEY_BYTES).copy()),
        "table": torch.from_numpy(table_EC),
        "masks": torch.from_numpy(np.concatenate(masks)),
        "features": torch.cat([one.features_NPD for one in views]),
    }
    if orders:
        tensors["orders"] = torch.from_numpy(np.concatenate(orders))
    return tensors


def _checksum(views: CachedViews) -> int:
    """CRC-32 of a picture's numbers: a disk that loses a bit must not teach it."""
    found = zlib.crc32(raw(views.features_NPD))
    for array in (views.patch_mask_NP, views.patch_order_NP):
        if array is not None:
            found = zlib.crc32(array.tobytes(), found)
    return found


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
            self._table_EC = self._file.get_tensor("table").numpy()
            if self._table_EC.shape != (len(self.keys_E), len(COLUMNS)):
                raise ValueError(f"{len(self.keys_E)} keys for {self._table_EC.shape} of a table")
        except (SafetensorError, OSError, ValueError) as error:
            raise self._unsound(str(error)) from error

    @property
    def views(self) -> int:
        """Of all its pictures."""
        return int(self._table_EC[:, _VIEWS].sum())

    def read(self, number: int) -> CachedViews:
        """Its so-manyeth picture; nothing else of the file is read.

        Raises:
            FeaturesError: it is not what was written.
        """
        row = [int(one) for one in self._table_EC[number]]
        first, shape = row[_FIRST_VIEW], (row[_GROUPS], row[_PATCHES])
        size = shape[0] * shape[1]
        order = row[_ORDER]
        try:
            features_NPD = self._slice("features", first, row[_VIEWS])
            mask_NP = self._slice("masks", row[_MASK], size).numpy().reshape(shape)
            order_NP = None
            if order >= 0:
                order_NP = self._slice("orders", order, size).numpy().reshape(shape)
        except (SafetensorError, ValueError, IndexError) as error:
            raise self._unsound(str(error)) from error
        nothing = np.zeros((0, 3, 0, 0), dtype=np.uint8)
        views = CachedViews(nothing, mask_NP, order_NP, features_NPD=features_NPD)
        if _checksum(views) != row[_CHECKSUM]:
            raise self._unsound(f"entry {number} is not what was written")
        return views

    def _unsound(self, why: str) -> FeaturesError:
        return FeaturesError(
            f"{self._path} is no sound chunk of features ({why}); delete it, and `mmcore data "
            "cache RECIPE` makes what it held again"
        )

    def _slice(self, name: str, start: int, count: int) -> torch.Tensor:
        tensor: torch.Tensor = self._file.get_slice(name)[start : start + count]
        return tensor
