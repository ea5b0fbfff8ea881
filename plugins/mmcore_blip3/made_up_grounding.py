"""Made-up pictures with grounded captions, in the parquet format of BLIP3-GROUNDING-50M."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import pyarrow as pa
import pyarrow.parquet as pq

from mmcore.interfaces import SyntheticContent
from mmcore.kit.drawing import Picture, Written, describe
from mmcore.kit.made_up import draw_row, row_generator, shard_ranges, write_whole
from mmcore.kit.made_up_files import encoded
from mmcore_blip3.box_tags import tagged
from mmcore_blip3.made_up_ocr import region_of

NAME: Final = "blip3-grounding"


def make_up_grounding(folder: Path, content: SyntheticContent, *, bytes_column: str) -> None:
    """Write a few parquet files; every row carries its PNG picture in ``bytes_column``.

    Raises:
        ValueError: ``folder`` holds anything else, or a topic is not known.
    """
    texts = dict.fromkeys(("url", "cogvlm_caption", "captions"), pa.string())
    schema = pa.schema({**texts, bytes_column: pa.binary()})

    def columns(row: int) -> dict[str, object]:
        (picture,) = draw_row(content, 1, row_generator(NAME, content, row))
        return {
            "url": f"https://example.org/{NAME}/{row:09}",
            "cogvlm_caption": describe(picture),
            "captions": repr(captions_of(picture)),
            bytes_column: encoded(picture.image, "png"),
        }

    def write(scratch: Path) -> None:
        for number, rows in enumerate(shard_ranges(content.rows)):
            table = pa.Table.from_pylist([columns(row) for row in rows], schema=schema)
            pq.write_table(table, scratch / f"combined_part_{number:03}.parquet")

    write_whole(folder, NAME, content, {"bytes_column": bytes_column}, write)


def captions_of(picture: Picture) -> list[list[object]]:
    """The captions in all three forms, each without and with an alt text before it."""
    forms = (_with_region, _with_corners, _in_tags)
    alt_text = f"A {picture.background} sign."
    captions: list[list[object]] = []
    for level, phrase in enumerate(forms):
        text = f"The image contains {', '.join(map(phrase, picture.written))}"
        captions += [[text, level, False], [f"{alt_text} {text}", level, True]]
    return captions


def _with_region(one: Written) -> str:
    return f"{one.text} ({region_of(one)})"


def _with_corners(one: Written) -> str:
    x0, y0, x1, y1 = one.box
    return f"{one.text} (starts at [{x0:.1f}, {y0:.1f}] and extends upto [{x1:.1f}, {y1:.1f}])"


def _in_tags(one: Written) -> str:
    return tagged("object", one.text, one.box)
