"""The source ``hf``: rows of Hugging Face datasets, pictures left as they are encoded."""

from __future__ import annotations

import functools
import os
from collections.abc import Iterator, Sequence
from pathlib import PurePosixPath

import datasets

from mmcore.interfaces import Row, Sample, SampleKey, Shard
from mmcore.kit import store
from mmcore.kit.arrow_values import plain_values
from mmcore.kit.files import pictures_root
from mmcore.kit.parquet_rows import (
    BYTES_AT_ONCE,
    ROWS_AT_ONCE,
    column_types,
    count_rows,
    read_rows,
)
from mmcore_sources.columns import Columns
from mmcore_sources.hf_files import files_of
from mmcore_sources.samples import sample_of


class HfSource:
    """Reads the files of one split; each is a shard.

    Args:
        path: a saved folder, a folder laid out like a dataset, or a dataset's name.
        split: which split.
        config: which configuration; empty for the only one.
        streaming: read a folder's own files rather than the copy of ``load_dataset``.
        columns: what is read of a row.
        images: folder of pictures that are named; empty for that of the dataset or, of a streamed
            one, of the file.
    """

    def __init__(
        self,
        *,
        path: str,
        split: str,
        config: str,
        streaming: bool,
        columns: Columns,
        images: str = "",
    ) -> None:
        self.path, self.split, self.config = path, split, config
        self.streaming, self.columns, self.images = streaming, columns, images

    def shards(self) -> Sequence[Shard]:
        files = files_of(self.path, self.config, self.split, streaming=self.streaming)
        names = [PurePosixPath(file).name for file in files]
        if len(set(names)) < len(names):
            start = len(os.path.commonpath(files)) + 1
            names = [file[start:] for file in files]
        return tuple(map(Shard, names, files))

    def length(self, shard: Shard) -> int:
        return len(_opened(shard.path)) if _is_arrow(shard) else count_rows(shard.path)

    def rows(self, shard: Shard, start: int, stop: int) -> Iterator[Row]:
        return (self._of_arrow if _is_arrow(shard) else self._of_parquet)(shard, start, stop)

    def parse(self, row: Row, key: SampleKey) -> Sample:
        return sample_of(row, key)

    def _of_parquet(self, shard: Shard, start: int, stop: int) -> Iterator[Row]:
        types = column_types(shard.path)
        self.columns.check(shard.path, types)
        root = pictures_root(self.images, shard)
        for values in read_rows(shard.path, self.columns.wanted, start, stop):
            yield self.columns.row(values, types, root)

    def _of_arrow(self, shard: Shard, start: int, stop: int) -> Iterator[Row]:
        dataset = _opened(shard.path)
        types = {field.name: field.type for field in dataset.features.arrow_schema}
        self.columns.check(shard.path, types)
        root = self._root_of_arrow(shard)
        step = _rows_at_once(dataset)
        for begin in range(start, stop, step):
            table = dataset[begin : min(begin + step, stop)]
            values = {name: plain_values(table.column(name)) for name in self.columns.wanted}
            for number in range(table.num_rows):
                row = {name: column[number] for name, column in values.items()}
                yield self.columns.row(row, types, root)

    def _root_of_arrow(self, shard: Shard) -> str:
        """The pictures' folder: what was prepared lies in the cache, and they where they were."""
        folder = store.local(self.path)
        return self.images or (folder if os.path.isdir(folder) else pictures_root("", shard))


def _rows_at_once(dataset: datasets.Dataset) -> int:
    """Rows that are turned into values together: they may hold whole pictures."""
    average = dataset.data.nbytes / max(len(dataset), 1)
    return max(1, min(ROWS_AT_ONCE, int(BYTES_AT_ONCE / max(average, 1))))


def _is_arrow(shard: Shard) -> bool:
    return shard.path.endswith(".arrow")


def _opened(path: str) -> datasets.Dataset:
    status = os.stat(path)
    return _opened_version(path, status.st_mtime_ns, status.st_size)


@functools.lru_cache(maxsize=64)
def _opened_version(path: str, mtime_ns: int, size: int) -> datasets.Dataset:
    """This version of an Arrow file, mapped into memory; slices of it are tables of Arrow's."""
    try:
        return datasets.Dataset.from_file(path).with_format("arrow")
    except (ValueError, OSError) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise
        raise ValueError(f"{path} cannot be read as Arrow: {error}") from error
