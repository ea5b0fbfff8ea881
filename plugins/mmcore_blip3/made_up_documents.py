"""Made-up documents of one to six pictures, each followed by what it shows, in four formats."""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final

import pyarrow as pa
import pyarrow.parquet as pq

from mmcore.interfaces import SyntheticContent
from mmcore.kit.drawing import Picture, describe
from mmcore.kit.made_up import draw_row, row_generator, shard_ranges, write_whole
from mmcore.kit.made_up_files import encoded, frames, write_tar

MOST_PICTURES: Final = 6

ROW_GROUP: Final = 64
"""Rows; with six drawn pictures each they take about a megabyte, and 16 at most."""

Slot = str | Picture | None
"""A paragraph, a picture, or a picture that is no longer to be had."""


def make_up_obelics(folder: Path, content: SyntheticContent, *, bytes_column: str) -> None:
    """Write a few parquet files with OBELICS' columns and the pictures' bytes.

    Raises:
        ValueError: ``folder`` holds anything else, or a topic is not known.
    """

    def columns(page: str, slots: Sequence[Slot]) -> dict[str, object]:
        links = _links(page, slots)
        about = [None if link is None else {"src": link} for link in links]
        return {
            "images": links,
            "texts": _texts(slots),
            "metadata": json.dumps(about),
            "general_metadata": json.dumps({"url": page}),
            bytes_column: _pictures(slots),
        }

    schema = {
        "images": pa.list_(pa.string()),
        "texts": pa.list_(pa.string()),
        "metadata": pa.string(),
        "general_metadata": pa.string(),
        bytes_column: pa.list_(pa.binary()),
    }
    _write_parquet("obelics", folder, content, bytes_column, schema, columns)


def make_up_html(folder: Path, content: SyntheticContent, *, bytes_column: str) -> None:
    """Write a few parquet files with MINT-1T-HTML's columns and the pictures' bytes.

    Raises:
        ValueError: ``folder`` holds anything else, or a topic is not known.
    """

    def columns(page: str, slots: Sequence[Slot]) -> dict[str, object]:
        links = _links(page, slots)
        return {
            "texts": _texts(slots),
            "images": links,
            "url": page,
            "cc_dump": "CC-MAIN-2020-05",
            "image_hashes": [_digest(link) for link in links if link is not None],
            bytes_column: _pictures(slots),
        }

    schema = {
        "texts": pa.list_(pa.string()),
        "images": pa.list_(pa.string()),
        "url": pa.string(),
        "cc_dump": pa.string(),
        "image_hashes": pa.list_(pa.string()),
        bytes_column: pa.list_(pa.binary()),
    }
    _write_parquet("mint1t-html", folder, content, bytes_column, schema, columns)


def make_up_pdf(folder: Path, content: SyntheticContent) -> None:
    """Write a few tars of ``<key>.json`` and multi-frame ``<key>.tiff``. Frames are in the order
    of pages and numbers, not of reading; a picture that is not to be had lacks its metadata.

    Raises:
        ValueError: ``folder`` holds anything else, or a topic is not known.
    """

    def members(name: str, slots: Sequence[Slot], rng: random.Random) -> dict[str, bytes]:
        drawn = sum(not isinstance(slot, str) for slot in slots)
        numbers = iter(rng.sample(range(1, 1000), drawn))
        where = [None if isinstance(slot, str) else (0, next(numbers)) for slot in slots]
        held = sorted(
            (place, slot.image)
            for place, slot in zip(where, slots, strict=True)
            if place is not None and isinstance(slot, Picture)
        )
        document = {
            "texts": _texts(slots),
            "images": [None if at is None else f"page_{at[0]}_image_{at[1]}" for at in where],
            "image_metadata": [
                {
                    "page": page,
                    "xref": xref,
                    "sha256": hashlib.sha256(image.tobytes()).hexdigest(),
                    "width": image.width,
                    "height": image.height,
                }
                for (page, xref), image in held
            ],
            "language_id_whole_page_fasttext": {"en": 1.0},
            "bff_contained_ngram_count_before_dedupe": 0,
            "pdf_name": f"{name}.pdf",
        }
        tiff = frames([image for _, image in held])
        return {"json": json.dumps(document).encode(), "tiff": tiff}

    _write_tars("mint1t-pdf", folder, content, {}, members)


def make_up_arxiv(
    folder: Path, content: SyntheticContent, *, texts_key: str, images_key: str, image_member: str
) -> None:
    """Write a few tars of a paper's JSON and its pictures, each a PNG member.

    Raises:
        ValueError: ``folder`` holds anything else, or a topic is not known.
    """

    def members(name: str, slots: Sequence[Slot], rng: random.Random) -> dict[str, bytes]:
        figures = [slot for slot in slots if not isinstance(slot, str)]
        named = iter(range(len(figures)))
        images = [None if isinstance(slot, str) else f"{next(named)}.png" for slot in slots]
        document = {texts_key: _texts(slots), images_key: images}
        held = {"json": json.dumps(document).encode()}
        for number, figure in enumerate(figures):
            if figure is not None:
                suffix = image_member.replace("{image}", f"{number}.png")
                held[suffix.replace("{n}", str(number))] = encoded(figure.image, "png")
        return held

    keys = {"texts_key": texts_key, "images_key": images_key, "image_member": image_member}
    # Papers are called by their numbers, which have a dot.
    _write_tars(
        "mint1t-arxiv",
        folder,
        content,
        keys,
        members,
        name=lambda row: f"{2001 + row // 100_000}.{row % 100_000:05}",
    )


def draw_document(content: SyntheticContent, rng: random.Random) -> list[Slot]:
    """Pictures, each followed by what it shows. Half of the documents begin with text; here and
    there a picture that nothing is said about is no longer to be had."""
    pictures = draw_row(content, rng.randint(1, MOST_PICTURES), rng)
    slots: list[Slot] = []
    if rng.random() < 0.5:
        slots.append(f"Pictures on this page: {len(pictures)}.")
    for picture in pictures:
        slots += [picture, describe(picture)]
        if rng.random() < 0.2:
            slots.append(None)
    if rng.random() < 0.5:
        slots.append("There are no more pictures.")
    return slots


def _write_parquet(
    source: str,
    folder: Path,
    content: SyntheticContent,
    bytes_column: str,
    schema: dict[str, pa.DataType],
    columns: Callable[[str, Sequence[Slot]], dict[str, object]],
) -> None:
    def row(number: int) -> dict[str, object]:
        slots = draw_document(content, row_generator(source, content, number))
        return columns(f"https://example.org/{source}/{number}", slots)

    def write(scratch: Path) -> None:
        ranges = shard_ranges(content.rows)
        for shard, rows in enumerate(ranges):
            table = pa.Table.from_pylist([row(one) for one in rows], schema=pa.schema(schema))
            path = scratch / f"train-{shard:05}-of-{len(ranges):05}.parquet"
            pq.write_table(table, path, row_group_size=ROW_GROUP)

    write_whole(folder, source, content, {"bytes_column": bytes_column}, write)


def _write_tars(
    source: str,
    folder: Path,
    content: SyntheticContent,
    keys: Mapping[str, object],
    members: Callable[[str, Sequence[Slot], random.Random], dict[str, bytes]],
    name: Callable[[int], str] | None = None,
) -> None:
    def row(number: int) -> tuple[str, dict[str, bytes]]:
        rng = row_generator(source, content, number)
        called = _digest(f"{source}/{number}") if name is None else name(number)
        return called, members(called, draw_document(content, rng), rng)

    def write(scratch: Path) -> None:
        for shard, rows in enumerate(shard_ranges(content.rows)):
            write_tar(scratch / f"{source}-{shard:05}.tar", map(row, rows))

    write_whole(folder, source, content, keys, write)


def _texts(slots: Sequence[Slot]) -> list[str | None]:
    return [slot if isinstance(slot, str) else None for slot in slots]


def _pictures(slots: Sequence[Slot]) -> list[bytes | None]:
    return [encoded(slot.image, "png") if isinstance(slot, Picture) else None for slot in slots]


def _links(page: str, slots: Sequence[Slot]) -> list[str | None]:
    """Where the pictures were found, also those that are no longer there."""
    return [
        None if isinstance(slot, str) else f"{page}/{place}.png" for place, slot in enumerate(slots)
    ]


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:32]
