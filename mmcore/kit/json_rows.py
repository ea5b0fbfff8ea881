"""Rows of JSON files as raw bytes, found by an index of where each begins and ends.

A ``.json`` file is one list and must be scanned whole once per process; a ``.jsonl`` file has one
row a line. What is kept is the index alone, 16 bytes a row.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Final

import numpy as np
from numpy.typing import NDArray

from mmcore.kit import store
from mmcore.kit.kept import INDEXES

SUFFIXES: Final = (".json", ".jsonl")

READ_AT_ONCE: Final = 1024 * 1024
"""Rows are read together up to this size."""

_SPACE: Final = re.compile(r"[ \t\n\r]*")


def count_rows(path: str) -> int:
    """Number of rows of a ``.json`` or ``.jsonl`` file.

    Raises:
        ValueError: the file is malformed; names it and the position.
    """
    return len(_index(path))


def read_rows(path: str, start: int, stop: int) -> Iterator[bytes]:
    """The encoded rows ``start`` to ``stop`` (excluded); only their bytes are read.

    Raises:
        ValueError: the file is malformed; names it and the position.
    """
    spans = _index(path)
    assert 0 <= start <= stop <= len(spans), f"rows {start}..{stop} of {len(spans)} in {path}"
    with store.open_binary(path) as file:
        for first, last in _together(spans, start, stop):
            begin, end = int(spans[first, 0]), int(spans[last - 1, 1])
            file.seek(begin)
            data = file.read(end - begin)
            if len(data) < end - begin:
                raise ValueError(f"{path} became shorter while it was read")
            for one, after in (spans[first:last] - begin).tolist():
                yield data[one:after]


def _together(spans: NDArray[np.int64], start: int, stop: int) -> Iterator[tuple[int, int]]:
    """First and last (excluded) of the rows that are read at once: one, or a few in a row."""
    first = start
    while first < stop:
        within = np.searchsorted(spans[first:stop, 1], spans[first, 0] + READ_AT_ONCE, "right")
        last = first + max(1, int(within))
        yield first, last
        first = last


def _index(path: str) -> NDArray[np.int64]:
    """First byte, and the byte after the last, of every row of the file's present version."""

    def read() -> NDArray[np.int64]:
        spans = _line_spans(path) if path.endswith(".jsonl") else _list_spans(path)
        return np.fromiter(spans, dtype=np.dtype((np.int64, 2)))

    return INDEXES.get(("json", path, store.version(path)), read, lambda index: index.nbytes)


def _line_spans(path: str) -> Iterator[tuple[int, int]]:
    begin = 0
    with store.open_binary(path, store.AHEAD) as file:
        for line in file:
            if line.strip():
                yield begin, begin + len(line)
            begin += len(line)


def _list_spans(path: str) -> Iterator[tuple[int, int]]:
    raw = store.read_bytes(path)
    try:
        text = raw.decode()
        yield from _in_bytes(text, _element_spans(text))
    except json.JSONDecodeError as error:
        where = f"line {error.lineno}, column {error.colno}"
        raise ValueError(f"{path}, {where}: {error.msg}") from error
    except UnicodeDecodeError as error:
        raise ValueError(f"{path}, byte {error.start}: not UTF-8 ({error.reason})") from error
    except RecursionError as error:
        raise ValueError(f"{path}: nested too deeply to be a list of samples") from error


def _element_spans(text: str) -> Iterator[tuple[int, int]]:
    """First and last position, in characters, of the elements of a JSON list."""
    decoder = json.JSONDecoder()
    position = _after_space(text, 0)
    if text[position : position + 1] != "[":
        wanted = "wanted '[', a list of samples; a file with one sample a line is named .jsonl"
        raise json.JSONDecodeError(wanted, text, position)
    begin = _after_space(text, position + 1)
    if text[begin : begin + 1] == "]":
        begin = _after_space(text, begin + 1)
    else:
        mark = ","
        while mark == ",":
            _, end = decoder.raw_decode(text, begin)
            yield begin, end
            position = _after_space(text, end)
            mark = text[position : position + 1]
            if mark not in (",", "]"):
                raise json.JSONDecodeError("wanted ',' or ']' after a sample", text, position)
            begin = _after_space(text, position + 1)
    if begin < len(text):
        raise json.JSONDecodeError("wanted nothing after the list", text, begin)


def _after_space(text: str, position: int) -> int:
    match = _SPACE.match(text, position)
    return match.end() if match else position


def _in_bytes(text: str, spans: Iterator[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    """The same spans counted in bytes of UTF-8."""
    characters = encoded = 0
    for begin, end in spans:
        start = encoded + len(text[characters:begin].encode())
        encoded = start + len(text[begin:end].encode())
        characters = end
        yield start, encoded
