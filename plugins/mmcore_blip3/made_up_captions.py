"""Made-up pictures whose captions say what is written on them, as parquet or img2dataset's tars."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from mmcore.interfaces import SyntheticContent
from mmcore.kit.drawing import Picture, describe
from mmcore.kit.made_up import draw_row, row_generator, shard_ranges, write_whole
from mmcore.kit.made_up_files import encoded, write_tar


def make_up_tars(
    folder: Path, content: SyntheticContent, source: str, image_member: str, caption_member: str
) -> None:
    """Write a few tars: per row a picture, its caption, and what img2dataset says of both.

    Raises:
        ValueError: ``folder`` holds anything else, or a topic is not known.
    """

    def members(row: int) -> dict[str, bytes]:
        picture, caption = _pair(row, content, source)
        about = {
            "key": f"{row:09}",
            "url": _url(source, row),
            "caption": caption,
            "status": "success",
            "width": picture.image.width,
            "height": picture.image.height,
        }
        return {
            image_member: encoded(picture.image, image_member),
            caption_member: caption.encode(),
            "json": json.dumps(about).encode(),
        }

    def write(scratch: Path) -> None:
        for number, rows in enumerate(shard_ranges(content.rows)):
            named = ((f"{row:09}", members(row)) for row in rows)
            write_tar(scratch / f"{number:05}.tar", named)

    keys = {"image_member": image_member, "caption_member": caption_member}
    write_whole(folder, source, content, keys, write)


def make_up_parquet(
    folder: Path, content: SyntheticContent, source: str, caption_column: str, bytes_column: str
) -> None:
    """Write a few parquet files of url, caption and PNG picture.

    Raises:
        ValueError: ``folder`` holds anything else, or a topic is not known.
    """
    schema = pa.schema({"url": pa.string(), caption_column: pa.string(), bytes_column: pa.binary()})

    def columns(row: int) -> dict[str, object]:
        picture, caption = _pair(row, content, source)
        data = encoded(picture.image, "png")
        return {"url": _url(source, row), caption_column: caption, bytes_column: data}

    def write(scratch: Path) -> None:
        for number, rows in enumerate(shard_ranges(content.rows)):
            table = pa.Table.from_pylist([columns(row) for row in rows], schema=schema)
            pq.write_table(table, scratch / f"{number:03}.parquet")

    keys = {"caption_column": caption_column, "bytes_column": bytes_column}
    write_whole(folder, source, content, keys, write)


def _pair(row: int, content: SyntheticContent, source: str) -> tuple[Picture, str]:
    (picture,) = draw_row(content, 1, row_generator(source, content, row))
    return picture, describe(picture)


def _url(source: str, row: int) -> str:
    return f"https://example.org/{source}/{row:09}"
