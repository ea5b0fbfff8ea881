"""Finds what a frozen encoder made of a picture, in the folders of a stage.

Letters: P patches of a view, D encoder width.
"""

from __future__ import annotations

import hashlib
import json
from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path

import attrs
import numpy as np
import torch
from numpy.typing import NDArray

from mmcore.data.cached_views import CachedViews
from mmcore.data.feature_chunks import KEY, KEY_BYTES, Chunk, chunk_paths
from mmcore.data.feature_header import FeatureHeader, FeaturesError, read_header
from mmcore.data.images import of_picture
from mmcore.data.tokenized import PlannedPicture
from mmcore.interfaces import TilePlan, ViewFormat

OPEN_CHUNKS = 64
"""Of a process at once; each keeps a memory map."""


class MissingFeatures(FeaturesError):
    """A sound picture whose features are not kept."""


def picture_key(data: bytes, frame: int, plan: TilePlan) -> bytes:
    """Names a picture that is cut in one way, by its encoded bytes: a picture that changes has
    another name, and one that moves keeps its own.

    Args:
        data: the encoded picture, or file of several.
        frame: which of them.
        plan: how it is cut.
    """
    cut = json.dumps([frame, *attrs.astuple(plan)]).encode()
    digest = hashlib.blake2b(len(cut).to_bytes(8, "little") + cut, digest_size=KEY_BYTES)
    digest.update(data)
    return digest.digest()


def key_of(picture: PlannedPicture) -> bytes:
    """The name of a planned picture.

    Raises:
        Rejection, MachineFault: its bytes cannot be read.
    """
    return of_picture(picture.ref, lambda data, frame: picture_key(data, frame, picture.plan))


class FeatureStore:
    """The features that some folders hold, looked up by picture.

    It is opened when it is first asked, and can be sent to another process, which opens it anew.
    What is added to a folder afterwards is not seen.

    Args:
        folders: at least one, all made with the same encoder and tiler.
    """

    def __init__(self, folders: Sequence[str]) -> None:
        assert folders, "a store has a folder"
        self._folders = tuple(folders)
        self._index: _Index | None = None

    def __getstate__(self) -> tuple[str, ...]:
        return self._folders

    def __setstate__(self, folders: tuple[str, ...]) -> None:
        self._folders, self._index = folders, None

    def find(self, picture: PlannedPicture) -> CachedViews | None:
        """What the encoder makes of the picture as it is planned; None where that is not kept.

        Raises:
            Rejection, MachineFault: the picture's bytes cannot be read.
            FeaturesError: a chunk is damaged.
        """
        return self._opened.find(key_of(picture))

    def holds(self, key: bytes) -> bool:
        """Whether there is an entry of this name."""
        return self._opened.place(key) is not None

    def missing(self, picture: PlannedPicture) -> MissingFeatures:
        """What there is to say where ``find`` finds nothing."""
        what = repr(picture.ref.path) if picture.ref.path else "a picture"
        return MissingFeatures(
            f"{what}, cut into {picture.plan.views} views, has no features in "
            f"{' or '.join(self._folders)}; `mmcore data cache RECIPE` adds what is missing, and "
            "the run goes on with the same command"
        )

    def blank_features(self, view: ViewFormat) -> torch.Tensor:
        """Features of a view that shows nothing: zeros, in the number format of all others."""
        header = self._opened.header
        dtype = torch.float32 if header.stored == "fp32" else torch.bfloat16
        return torch.zeros(1, view.patches, header.width, dtype=dtype)

    def summary(self) -> str:
        """What there is, in words."""
        where, stored = " and ".join(self._folders), self._opened.header.stored
        return f"pictures: features of {self.entries:,} are read from {where} ({stored})"

    @property
    def entries(self) -> int:
        """How many pictures there are, counted once for every way in which they are cut."""
        return len(self._opened.keys_E)

    @property
    def _opened(self) -> _Index:
        if self._index is None:
            self._index = _Index(self._folders)
        return self._index


class _Index:
    """All keys, sorted, and where each stands; a few dozen bytes a picture."""

    def __init__(self, folders: Sequence[str]) -> None:
        self.header = _header(folders)
        self._paths = [path for folder in folders for path in chunk_paths(Path(folder))]
        self._open: OrderedDict[int, Chunk] = OrderedDict()
        keys: list[NDArray[np.bytes_]] = [np.zeros(0, dtype=KEY)]
        chunks, rows = [np.zeros(0, dtype=np.int32)], [np.zeros(0, dtype=np.int32)]
        for number, path in enumerate(self._paths):
            keys.append(Chunk(path).keys_E.copy())
            chunks.append(np.full(len(keys[-1]), number, dtype=np.int32))
            rows.append(np.arange(len(keys[-1]), dtype=np.int32))
        together = np.concatenate(keys)
        order = np.argsort(together, kind="stable")
        self.keys_E = together[order]
        self._chunk_E = np.concatenate(chunks)[order]
        self._row_E = np.concatenate(rows)[order]

    def place(self, key: bytes) -> int | None:
        wanted = np.frombuffer(key, dtype=KEY)
        place = int(np.searchsorted(self.keys_E, wanted)[0])
        found = place < len(self.keys_E) and self.keys_E[place] == wanted[0]
        return place if found else None

    def find(self, key: bytes) -> CachedViews | None:
        place = self.place(key)
        if place is None:
            return None
        return self._chunk(int(self._chunk_E[place])).read(int(self._row_E[place]))

    def _chunk(self, number: int) -> Chunk:
        if number not in self._open:
            self._open[number] = Chunk(self._paths[number])
            if len(self._open) > OPEN_CHUNKS:
                self._open.popitem(last=False)
        self._open.move_to_end(number)
        return self._open[number]


def _header(folders: Sequence[str]) -> FeatureHeader:
    """Of all folders.

    Raises:
        FeaturesError: one has none.
    """
    headers = []
    for folder in folders:
        header = read_header(Path(folder))
        if header is None:
            raise FeaturesError(
                f"{folder} holds no features; `mmcore data cache RECIPE` makes them"
            )
        headers.append(header)
    assert len({one.stored for one in headers}) == 1, "checked before the run"
    return headers[0]
