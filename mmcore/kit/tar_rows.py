"""Rows of webdataset tars as raw bytes, found by an index of where each member lies.

Members of one key are one row: ``a/7.json`` and ``a/7.tiff`` have the key ``a/7`` and the suffixes
``json`` and ``tiff``. The headers, or the index beside the tar, are read once per process for the
files last used; what is kept is 20 bytes a member, and 8 bytes and the key of every row. Nothing
is ever extracted to disk, so a member may be called anything.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator, Mapping, Sequence
from typing import BinaryIO, Final

import attrs
import numpy as np
from numpy.typing import NDArray

from mmcore.interfaces import Rejection
from mmcore.kit import store
from mmcore.kit.kept import INDEXES
from mmcore.kit.tar_headers import TarHeaders
from mmcore.kit.tar_index import read_index

KEY: Final = "__key__"
"""The row's key for what its members have in common, in UTF-8."""

CUT: Final = "__cut__"
"""Present in the row in which a tar was cut short, which may lack members: what is wrong."""

FIRST_DOT: Final = r"[^.]+"
"""The part of a file's name that is its key, as webdataset has it: all before the first dot."""

READ_AT_ONCE: Final = 1024 * 1024
"""Rows are read together up to this size, where their members stand together."""

GAP: Final = 64 * 1024
"""So many bytes between two members are read and dropped rather than asked for apart."""


def count_rows(path: str, key_pattern: str = FIRST_DOT) -> int:
    """Number of rows, among them the one in which a tar was cut short, which is warned of once.

    Args:
        key_pattern: see ``split_name``.

    Raises:
        ValueError: the file is no tar, or compressed, which allows no row to be found.
    """
    return _index(path, key_pattern).rows


def read_rows(
    path: str, start: int, stop: int, key_pattern: str = FIRST_DOT
) -> Iterator[dict[str, bytes]]:
    """Rows ``start`` to ``stop`` (excluded): suffix in lower case to bytes, and ``KEY``.

    A row stands where its first member stands. Members of one key need not stand together; a
    second member with a suffix that the row has already begins another row of the same key.
    Folders, links and members without a suffix are no part of any row.

    Raises:
        ValueError: as ``count_rows``; or the file has changed since it was indexed.
    """
    index = _index(path, key_pattern)
    assert 0 <= start <= stop <= index.rows, f"rows {start}..{stop} of {path}"
    with store.open_binary(path) as file:
        for rows in _together(index, start, stop):
            contents = _contents(file, path, [span for _, spans in rows for span in spans])
            for number, spans in rows:
                row = {KEY: index.key(number)}
                for suffix, _, _ in spans:
                    row[suffix] = next(contents)
                if number == index.cut_row:
                    row[CUT] = index.cut.encode()
                yield row


def check_whole(row: Mapping[str, object]) -> None:
    """To be asked before a row is used.

    Raises:
        Rejection: ``tar-cut``; the tar ends within this row.
    """
    found = row.get(CUT)
    if isinstance(found, bytes):
        raise Rejection("tar-cut", found.decode())


Span = tuple[str, int, int]
"""Suffix, first byte and length of a member."""


def _together(index: _Index, start: int, stop: int) -> Iterator[list[tuple[int, list[Span]]]]:
    """Numbers and members of the rows, in portions of at most ``READ_AT_ONCE`` or one row."""
    portion: list[tuple[int, list[Span]]] = []
    held = 0
    for number in range(start, stop):
        spans = list(index.members(number))
        size = sum(length for _, _, length in spans)
        if portion and held + size > READ_AT_ONCE:
            yield portion
            portion, held = [], 0
        portion.append((number, spans))
        held += size
    if portion:
        yield portion


def _contents(file: BinaryIO, path: str, spans: Sequence[Span]) -> Iterator[bytes]:
    """The bytes of members; those that stand together in the file are read together."""
    first = 0
    while first < len(spans):
        begin = spans[first][1]
        end, last = begin + spans[first][2], first + 1
        while last < len(spans) and end <= spans[last][1] <= end + GAP:
            end, last = spans[last][1] + spans[last][2], last + 1
        file.seek(begin)
        data = file.read(end - begin)
        if len(data) < end - begin:
            raise ValueError(f"{path} became shorter while it was read")
        for _, at, size in spans[first:last]:
            yield data[at - begin : at - begin + size]
        first = last


@attrs.frozen(eq=False)
class _Index:
    """Where the members of every row lie. M members of R rows, in the order of their rows.

    Attributes:
        keys: the R encoded keys, one after another.
        key_borders: R + 1 numbers of the keys' first bytes.
        borders: R + 1 numbers of the rows' first members.
        spans: M first bytes and lengths.
        suffixes: M indices into ``names``.
        names: the suffixes that occur.
        cut: what is wrong with the end of the tar, else empty.
        cut_row: the row that may lack members for it, else -1.
    """

    keys: bytes
    key_borders: NDArray[np.int32]
    borders: NDArray[np.int32]
    spans: NDArray[np.int64]
    suffixes: NDArray[np.int32]
    names: Sequence[str]
    cut: str
    cut_row: int

    @property
    def rows(self) -> int:
        return len(self.borders) - 1

    @property
    def nbytes(self) -> int:
        arrays = self.key_borders, self.borders, self.spans, self.suffixes
        return len(self.keys) + sum(array.nbytes for array in arrays)

    def key(self, row: int) -> bytes:
        return self.keys[self.key_borders[row] : self.key_borders[row + 1]]

    def members(self, row: int) -> Iterator[Span]:
        """Suffix, first byte and length of each."""
        for number in range(self.borders[row], self.borders[row + 1]):
            begin, size = self.spans[number].tolist()
            yield self.names[self.suffixes[number]], begin, size


def _index(path: str, key_pattern: str) -> _Index:
    """The index of the present version of the file."""
    key = "tar", path, store.version(path), key_pattern
    return INDEXES.get(key, lambda: _read_index(path, key_pattern), lambda index: index.nbytes)


def _read_index(path: str, key_pattern: str) -> _Index:
    table = _Table(key_pattern)
    indexed = read_index(path)
    if indexed is not None:
        for name, begin, size in indexed:
            table.add(name, (begin, size))
        return table.pack("", -1)
    headers = TarHeaders(path, store.size(path))
    for name, begin, size in headers:
        table.add(name, (begin, size))
    cut_row = -1
    if headers.cut:
        cut_row = table.add(headers.partial, None)
        rows = f"row {cut_row} is rejected" if cut_row >= 0 else "it has no rows"
        warnings.warn(f"{path} {headers.cut}; {rows}, and others may be missing", stacklevel=2)
    return table.pack(headers.cut, cut_row)


class _Table:
    """Rows that grow as members are added."""

    def __init__(self, key_pattern: str) -> None:
        self._key_pattern = key_pattern
        self._rows: list[tuple[str, dict[str, tuple[int, int]]]] = []
        self._latest: dict[str, int] = {}

    def add(self, name: str, span: tuple[int, int] | None) -> int:
        """Add a member and say which row it belongs to; a member that was cut has no span. One
        without a suffix changes nothing, and the last row is said."""
        key, suffix = split_name(name, self._key_pattern)
        if not suffix or suffix in (KEY, CUT):  # these two are ours
            return len(self._rows) - 1
        row = self._latest.get(key)
        if row is None or suffix in self._rows[row][1]:
            row = self._latest[key] = len(self._rows)
            self._rows.append((key, {}))
        if span is not None:
            self._rows[row][1][suffix] = span
        return row

    def pack(self, cut: str, cut_row: int) -> _Index:
        members = [(suffix, span) for _, held in self._rows for suffix, span in held.items()]
        names = sorted({suffix for suffix, _ in members})
        codes = {suffix: code for code, suffix in enumerate(names)}
        keys = [key.encode(errors="surrogateescape") for key, _ in self._rows]
        return _Index(
            keys=b"".join(keys),
            key_borders=np.cumsum([0, *map(len, keys)], dtype=np.int32),
            borders=np.cumsum([0, *(len(held) for _, held in self._rows)], dtype=np.int32),
            spans=np.array([span for _, span in members], np.int64).reshape(-1, 2),
            suffixes=np.array([codes[suffix] for suffix, _ in members], np.int32),
            names=names,
            cut=cut,
            cut_row=cut_row,
        )


def split_name(name: str, key_pattern: str = FIRST_DOT) -> tuple[str, str]:
    """Key and suffix of a member's name; the suffix is empty where the name has no key.

    Args:
        key_pattern: a regular expression for the part of the file's name, folders left out, that
            is the key. A dot must follow it, and behind the dot stands the suffix.

    >>> split_name("a.b/7.seg.PNG")
    ('a.b/7', 'seg.png')
    """
    folder, slash, file_name = name.rpartition("/")
    found = re.match(rf"({key_pattern})\.(.+)", file_name, re.DOTALL)
    if found is None:
        return name, ""
    return folder + slash + found[1], found[found.re.groups].lower()
