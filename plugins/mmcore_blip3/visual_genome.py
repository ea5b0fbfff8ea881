"""The source ``visual-genome``: pictures and phrases about their regions, with boxes or without."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from mmcore.interfaces import (
    ImagePart,
    ImageRef,
    Rejection,
    Row,
    Sample,
    SampleKey,
    Shard,
    TextPart,
)
from mmcore.kit import store
from mmcore.kit.files import find_shards, pictures_root
from mmcore.kit.json_rows import count_rows, read_rows
from mmcore.kit.kept import Kept
from mmcore.kit.row_values import check_text
from mmcore_blip3.box_tags import tagged

JSON, ROOT, PICTURE, SIZE = "json", "root", "picture", "size"

BYTES_A_SIZE: Final = 250
"""What a picture's number and size take in memory, about."""

BYTES_A_NAME: Final = 130
"""What a picture's name takes in memory, about."""

_SIZES: Final = Kept(128 * 1024 * 1024)
_LISTINGS: Final = Kept(64 * 1024 * 1024)

SIDES = ("x", "y", "width", "height")


class VisualGenomeSource:
    """Reads ``region_descriptions.json``; a row is the entry of one picture.

    A row holds the undecoded entry, where its picture lies, and, for boxes, the picture's size.

    Args:
        path: the files, as a path or a glob pattern.
        images: folder that holds ``folders``; empty for the folder of the file.
        folders: folders of pictures ``<id>.jpg``; the first that has it counts.
        boxes: write each phrase with its box, in tags, instead of the phrase alone.
        sizes: file of the pictures' sizes, beside each file of ``path``; read for boxes only.
        separator: stands between phrases.
    """

    def __init__(
        self,
        *,
        path: str,
        images: str,
        folders: Sequence[str],
        boxes: bool,
        sizes: str,
        separator: str,
    ) -> None:
        self.path = path
        self.images = images
        self.folders = tuple(folders)
        self.boxes = boxes
        self.sizes = sizes
        self.separator = separator

    def shards(self) -> Sequence[Shard]:
        return find_shards(self.path)

    def length(self, shard: Shard) -> int:
        return count_rows(shard.path)

    def rows(self, shard: Shard, start: int, stop: int) -> Iterator[Row]:
        root = pictures_root(self.images, shard)
        sizes = read_sizes(store.join(pictures_root("", shard), self.sizes)) if self.boxes else {}
        for encoded in read_rows(shard.path, start, stop):
            row: dict[str, object] = {JSON: encoded, ROOT: root}
            try:
                number = _number(_entry(encoded))
            except Rejection:
                # parse() finds the same fault, where it is counted.
                yield row
                continue
            yield row | {PICTURE: self._find(root, number), SIZE: sizes.get(number)}

    def parse(self, row: Row, key: SampleKey) -> Sample:
        encoded, root, picture = row[JSON], row[ROOT], row.get(PICTURE)
        assert isinstance(encoded, bytes)
        assert isinstance(root, str)
        entry = _entry(encoded)
        number = _number(entry)
        phrases = self._phrases(entry, row.get(SIZE))
        if not isinstance(picture, str):
            wanted = " nor ".join(f"{folder}/{number}.jpg" for folder in self.folders)
            raise Rejection("image-missing", f"neither {wanted} is in {root}")
        text = TextPart(self.separator.join(phrases))
        return Sample(key=key, parts=(ImagePart(ImageRef(path=picture, root=root)), text))

    def _find(self, root: str, number: int) -> str | None:
        file = f"{number}.jpg"
        has = _is_listed if store.is_url(root) else _is_there
        folders = (one for one in self.folders if has(store.join(root, one), file))
        return next((f"{folder}/{file}" for folder in folders), None)

    def _phrases(self, entry: Mapping[str, object], size: object) -> list[str]:
        """What is said of the regions, in the file's order; regions without words are left out."""
        regions = entry.get("regions")
        if not isinstance(regions, list):
            raise Rejection("malformed-row", f"regions is {regions!r}, wanted a list")
        phrases = []
        for number, region in enumerate(regions):
            name = f"regions[{number}]"
            if not isinstance(region, dict):
                raise Rejection("malformed-row", f"{name} is {region!r}, wanted an object")
            phrase = check_text(f"{name}.phrase", region.get("phrase")).strip()
            if "\0" in phrase:
                raise Rejection("malformed-row", f"{name}.phrase is {phrase!r}, with a null byte")
            if phrase and self.boxes:
                phrase = tagged("object", phrase, _box(name, region, size))
            if phrase:
                phrases.append(phrase)
        if not phrases:
            raise Rejection("caption-missing", f"none of {len(regions)} regions has a phrase")
        return phrases


def _is_there(folder: str, file: str) -> bool:
    return store.is_file(store.join(folder, file))


def _is_listed(folder: str, file: str) -> bool:
    """The same in a store: one listing, rather than a request a picture."""

    def size(names: frozenset[str]) -> int:
        return BYTES_A_NAME * len(names)

    return file in _LISTINGS.get(folder, lambda: store.names_in(folder), size)


def read_sizes(path: str) -> Mapping[int, tuple[int, int]]:
    """Width and height by the picture's number; kept for as long as the file does not change.

    Raises:
        ValueError: the file is no list of objects with ``image_id``, ``width`` and ``height``.
    """
    key = path, store.version(path)
    return _SIZES.get(key, lambda: _read_sizes(path), lambda sizes: BYTES_A_SIZE * len(sizes))


def _read_sizes(path: str) -> Mapping[int, tuple[int, int]]:
    encoded = store.read_bytes(path)
    try:
        entries = json.loads(encoded)
        return {one["image_id"]: (int(one["width"]), int(one["height"])) for one in entries}
    except (ValueError, TypeError, KeyError, OverflowError, RecursionError) as error:
        wanted = "wanted a list of objects with image_id, width and height"
        raise ValueError(f"{path}: {type(error).__name__} {error}; {wanted}") from error


def _entry(encoded: bytes) -> dict[str, object]:
    try:
        entry = json.loads(encoded)
    except (ValueError, RecursionError) as error:
        raise Rejection("malformed-json", f"{error}") from error
    if not isinstance(entry, dict):
        raise Rejection("malformed-row", f"the entry is {entry!r}, wanted an object")
    return entry


def _number(entry: Mapping[str, object]) -> int:
    number = entry.get("id")
    if not isinstance(number, int) or isinstance(number, bool):
        raise Rejection("malformed-row", f"id is {number!r}, wanted the picture's number")
    return number


def _box(
    name: str, region: Mapping[str, object], size: object
) -> tuple[float, float, float, float]:
    """x0, y0, x1, y1 as shares of the picture; what stands out of the picture is cut off."""
    sides: list[float] = []
    for side in SIDES:
        value = region.get(side)
        # NaN is no range of pixels either: it fails the comparison.
        if not isinstance(value, (int, float)) or not abs(value) < 1e9:
            raise Rejection("malformed-row", f"{name}.{side} is {value!r}, wanted pixels")
        sides.append(value)
    if not isinstance(size, tuple) or min(size) <= 0:
        raise Rejection("malformed-row", f"size of the picture is {size!r}, wanted two numbers")
    x, y, across, down = sides
    width, height = size
    x0, x1 = (min(max(edge / width, 0.0), 1.0) for edge in (x, x + across))
    y0, y1 = (min(max(edge / height, 0.0), 1.0) for edge in (y, y + down))
    return x0, y0, x1, y1
