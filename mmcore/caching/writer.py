"""Adds features to a folder, a chunk at a time, with nobody else writing."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Self

from mmcore.data.feature_chunks import Entry, chunk_paths, write_chunk
from mmcore.data.feature_header import HEADER, FeatureHeader, FeaturesError, read_header
from mmcore.run_folder.folder import locked, write_whole

CHUNK_BYTES = 256 * 1024 * 1024
CHUNK_SECONDS = 60.0
"""A chunk is written when it is so large or so old: that is what a killed process loses."""

LOCK = ".lock"

OTHERWISE = "name another folder, as with --set 'stages.*.data.*.features=cache/other'"


class FeatureWriter:
    """A folder that is being written to.

    Args:
        folder: exists, and is locked.
        header: of its features.
        chunk_bytes, chunk_seconds: when a chunk is written.
    """

    def __init__(
        self,
        folder: Path,
        header: FeatureHeader,
        *,
        chunk_bytes: int = CHUNK_BYTES,
        chunk_seconds: float = CHUNK_SECONDS,
    ) -> None:
        self._folder, self._view_bytes = folder, header.view_bytes
        self._chunk_bytes, self._chunk_seconds = chunk_bytes, chunk_seconds
        last = [int(path.stem.rpartition("-")[2]) for path in chunk_paths(folder)]
        self._number = max(last, default=-1) + 1
        self._entries: list[Entry] = []
        self._bytes, self._began = 0, time.monotonic()

    def add(self, entry: Entry) -> None:
        """Keep a picture's features, in memory at first.

        Raises:
            OSError: the chunk that was full with it cannot be written.
        """
        self._entries.append(entry)
        self._bytes += len(entry.views.features_NPD) * self._view_bytes
        old = time.monotonic() - self._began > self._chunk_seconds
        if old or self._bytes >= self._chunk_bytes:
            self.flush()

    def flush(self) -> None:
        """Write what is in memory; it is forgotten, even where it cannot be written.

        Raises:
            OSError: as where the disk is full.
        """
        entries, self._entries = self._entries, []
        self._bytes, self._began = 0, time.monotonic()
        if entries:
            write_chunk(self._folder, self._number, entries)
            self._number += 1

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        # Also after an error or Ctrl-C: what was made need not be made again.
        self.flush()


@contextmanager
def begun(folder: Path, header: FeatureHeader) -> Iterator[None]:
    """Lock a folder for writing, with this header in it.

    Raises:
        RunFolderError: another process writes there, or it cannot be made.
        FeaturesError: it holds other features.
    """
    with locked(folder, LOCK, otherwise=OTHERWISE):
        _agree(folder, header)
        for part in folder.glob(".*.part"):  # of a process that was killed
            part.unlink()
        yield


def _agree(folder: Path, header: FeatureHeader) -> None:
    there = read_header(folder)
    if there is None:
        if chunk_paths(folder):
            raise FeaturesError(f"{folder} has chunks of features and no {HEADER}; delete it")
        write_whole(folder / HEADER, header.to_json())
        return
    found = list(there.differences(header))
    if there.stored != header.stored:
        found.append(f"they were stored as {there.stored!r}, now are to be as {header.stored!r}")
    if found:
        raise FeaturesError(
            f"{folder} holds other features: {'; '.join(found)}. Delete it, or {OTHERWISE}"
        )
