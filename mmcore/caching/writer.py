"""Adds features to a folder, a chunk at a time, with nobody else writing."""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Self

from mmcore.data.feature_chunks import Entry, chunk_paths, write_chunk
from mmcore.data.feature_header import HEADER, FeatureHeader, FeaturesError, read_header

CHUNK_BYTES = 256 * 1024 * 1024
CHUNK_SECONDS = 60.0
"""A chunk is written when it is so large or so old: that is what a killed process loses."""

LOCK = ".lock"


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
        FeaturesError: another process writes there, or it holds other features.
        OSError: it cannot be made.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / LOCK).open("a+") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.seek(0)
            owner = lock.read().strip() or "unknown"
            raise FeaturesError(
                f"process {owner} is writing features to {folder}; wait for it"
            ) from None
        lock.truncate(0)
        lock.write(str(os.getpid()))
        lock.flush()
        _agree(folder, header)
        for part in folder.glob(".*.part"):  # of a process that was killed
            part.unlink()
        yield


def _agree(folder: Path, header: FeatureHeader) -> None:
    there = read_header(folder)
    if there is None:
        if chunk_paths(folder):
            raise FeaturesError(f"{folder} has chunks of features and no {HEADER}; delete it")
        part = folder / f".{HEADER}.part"
        part.write_text(header.to_json(), encoding="utf-8")
        part.replace(folder / HEADER)
        return
    found = list(there.differences(header))
    if there.stored != header.stored:
        found.append(f"they were stored as {there.stored!r}, now are to be as {header.stored!r}")
    if found:
        raise FeaturesError(
            f"{folder} holds other features: {'; '.join(found)}. Name another folder, as with "
            "--set 'stages.*.data.*.features=cache/other', or delete this one"
        )
