"""Open parquet files, shared by all lanes of a process: the last used, and their footers."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import attrs
import pyarrow as pa
import pyarrow.parquet as pq

from mmcore.kit import store
from mmcore.kit.kept import Kept

MOST_OPEN: Final = 64
"""Files kept open. One that was closed is opened again with the footer that is still kept."""

LOCAL_BUFFER: Final = 1024 * 1024
REMOTE_BUFFER: Final = 4 * 1024 * 1024
"""What is read of a column's pages at a time, so that a short run does not read all of them."""

FOOTER_GROWTH: Final = 7
"""How much larger a footer is in memory than in the file."""

FOOTERS: Final = Kept(64 * 1024 * 1024)
"""Few, for on a disk they are read again in a third of a millisecond; a store takes longer."""


@contextmanager
def opened(path: str) -> Iterator[pq.ParquetFile]:
    """The open file, to be read within the context only.

    It is not mapped into memory: a fault of the disk would kill the process.

    Raises:
        ValueError: the file is no parquet file, or damaged; names it.
    """
    with told(path):
        entry = POOL.take(path, store.version(path))
        try:
            yield entry.file
        except Exception:
            # The handle may be what is broken: another try opens the file anew.
            POOL.forget(entry)
            raise
        finally:
            POOL.give_back(entry)


@contextmanager
def told(path: str) -> Iterator[None]:
    """What pyarrow raises about damaged bytes becomes an error that names the file."""
    try:
        yield
    except (pa.ArrowException, OSError) as error:
        # Damaged pages are an OSError without a number; faults of the disk have one, and faults
        # of a store have a class of their own.
        if isinstance(error, OSError) and (type(error) is not OSError or error.errno is not None):
            raise
        raise ValueError(f"{path} cannot be read as parquet: {error}") from error


@attrs.define(eq=False)
class Entry:
    """An open file, and how many are reading in it."""

    path: str
    version: store.Version
    file: pq.ParquetFile
    users: int = 0
    kept: bool = True


class Pool:
    """Files that are kept open after use.

    Safe among threads. A forked process begins with an empty pool, lest it share positions with
    its parent; a spawned one does so anyway.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._reset()
        os.register_at_fork(after_in_child=self._reset)

    def __len__(self) -> int:
        return len(self._entries)

    def take(self, path: str, version: store.Version) -> Entry:
        """This version of the file, open; to be given back."""
        with self._lock:
            entry = self._entries.pop(path, None)
            if entry is not None and entry.version == version:
                self._entries[path] = entry
                entry.users += 1
                return entry
            self._retire(entry)
        entry = Entry(path, version, _open(path, version), users=1)
        with self._lock:
            self._retire(self._entries.pop(path, None))
            self._entries[path] = entry
            while len(self._entries) > self._most:
                self._retire(self._entries.pop(next(iter(self._entries))))
        return entry

    def give_back(self, entry: Entry) -> None:
        """It is no longer read in."""
        with self._lock:
            entry.users -= 1
            if not entry.users and not entry.kept:
                entry.file.close(force=True)

    def forget(self, entry: Entry) -> None:
        """Do not give this one to anybody else."""
        with self._lock:
            if self._entries.get(entry.path) is entry:
                del self._entries[entry.path]
            entry.kept = False

    def _retire(self, entry: Entry | None) -> None:
        """Close it, now or when its last reader has finished."""
        if entry is not None:
            entry.kept = False
            if not entry.users:
                entry.file.close(force=True)

    def _reset(self) -> None:
        self._lock = threading.Lock()
        self._entries: dict[str, Entry] = {}


POOL: Final = Pool(MOST_OPEN)


def _open(path: str, version: store.Version) -> pq.ParquetFile:
    remote = store.is_url(path)

    def file(footer: pq.FileMetaData | None) -> pq.ParquetFile:
        source = store.open_binary(path) if remote else store.local(path)
        buffer = REMOTE_BUFFER if remote else LOCAL_BUFFER
        return pq.ParquetFile(source, metadata=footer, buffer_size=buffer, pre_buffer=False)

    fresh: list[pq.ParquetFile] = []

    def footer() -> pq.FileMetaData:
        fresh.append(file(None))
        return fresh[0].metadata

    kept = FOOTERS.get((path, version), footer, lambda one: FOOTER_GROWTH * one.serialized_size)
    return fresh[0] if fresh else file(kept)
