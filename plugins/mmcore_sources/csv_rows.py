"""Rows of a CSV file, found by an index of where each begins and ends.

The file is scanned once; what is kept is 16 bytes a row.
"""

from __future__ import annotations

import codecs
import csv
import io
from collections.abc import Iterator, Sequence
from typing import BinaryIO

import numpy as np

from mmcore.kit import store
from mmcore.kit.kept import INDEXES


def csv_table(path: str) -> CsvTable:
    """The table of this version of the file; kept for later.

    Raises:
        ValueError: the file is malformed or empty; names it and the line.
    """
    key = ("csv", path, store.version(path))
    return INDEXES.get(key, lambda: CsvTable(path), lambda table: table.spans.nbytes)


class CsvTable:
    """A CSV file whose first row names the columns. Rows may hold line breaks in quotes.

    Args:
        path: of the file.

    Raises:
        ValueError: the file is malformed or empty; names it and the line.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        with store.open_binary(path, store.AHEAD) as file:
            spans = list(_spans(path, file))
            if not spans:
                raise ValueError(f"{path} is empty, wanted a first row with the columns' names")
            begin, end = spans[0]
            file.seek(begin)
            head = file.read(end - begin)
        self.columns = next(filter(None, csv.reader(_lines(head.removeprefix(codecs.BOM_UTF8)))))
        self.spans = np.array(spans[1:], np.int64).reshape(-1, 2)

    def __len__(self) -> int:
        return len(self.spans)

    def check(self, wanted: Sequence[str]) -> None:
        """Whether these columns are there.

        Raises:
            ValueError: some are not; names those and all that are there.
        """
        missing = [repr(name) for name in wanted if name not in self.columns]
        if missing:
            raise ValueError(
                f"{self.path} has no column {', '.join(missing)}; it has: {', '.join(self.columns)}"
            )

    def rows(self, start: int, stop: int) -> Iterator[dict[str, str]]:
        """Rows ``start`` to ``stop`` (excluded), by column; a short row lacks its last ones. What
        is not UTF-8 becomes lone surrogates, which no text may hold."""
        spans = self.spans[start:stop]
        if not len(spans):
            return
        first = int(spans[0, 0])
        with store.open_binary(self.path) as file:
            file.seek(first)
            encoded = file.read(int(spans[-1, 1]) - first)
        for begin, end in (spans - first).tolist():
            (values,) = csv.reader(_lines(encoded[begin:end]))
            yield dict(zip(self.columns, values, strict=False))


def _spans(path: str, file: BinaryIO) -> Iterator[tuple[int, int]]:
    """First byte, and the byte after the last, of every row that is not blank."""
    position = 0

    def lines() -> Iterator[str]:
        nonlocal position
        for line in file:
            position += len(line)
            yield line.decode(errors="surrogateescape")

    reader, begin = csv.reader(lines()), 0
    try:
        for values in reader:
            if values:
                yield begin, position
            begin = position
    except csv.Error as error:
        raise ValueError(f"{path}, line {reader.line_num}: {error}") from error


def _lines(encoded: bytes) -> list[str]:
    """Decoded lines with their ends, divided as ``_spans`` divides them."""
    return [line.decode(errors="surrogateescape") for line in io.BytesIO(encoded)]
