"""Made-up pictures with texts, in the parquet format of BLIP3-OCR-200M."""

from __future__ import annotations

import hashlib
import io
import json
import math
from collections.abc import Callable, Mapping, Sequence
from fractions import Fraction
from pathlib import Path
from types import MappingProxyType
from typing import Final

import pyarrow as pa
import pyarrow.parquet as pq

from mmcore.interfaces import SyntheticContent
from mmcore.kit.drawing import Picture, Written
from mmcore.kit.made_up import draw_row, row_generator, shard_ranges, write_whole
from mmcore_blip3.box_tags import tagged

NAME: Final = "blip3-ocr"

ROW_GROUP: Final = 256

TEXT_COLUMNS: Final = ("uid", "url", "captions", "metadata")


def make_up_ocr(
    folder: Path,
    content: SyntheticContent,
    *,
    bytes_column: str = "image_bytes",
    source: str = NAME,
    least_side: int = 0,
) -> None:
    """Write a few parquet files; every row carries its PNG picture in ``bytes_column``.

    Args:
        source: name of the source whose rows are made up.
        least_side: pictures are enlarged until no side has fewer pixels.

    Raises:
        ValueError: ``folder`` holds anything else, or a topic is not known.
    """
    columns: dict[str, pa.DataType] = dict.fromkeys(TEXT_COLUMNS, pa.string())
    columns[bytes_column] = pa.binary()
    schema = pa.schema(columns)

    def write(scratch: Path) -> None:
        for number, rows in enumerate(shard_ranges(content.rows)):
            table = pa.Table.from_pylist(
                [_row(row, content, bytes_column, source, least_side) for row in rows],
                schema=schema,
            )
            pq.write_table(table, scratch / f"{number + 1:03}.parquet", row_group_size=ROW_GROUP)

    write_whole(folder, source, content, {"bytes_column": bytes_column}, write)


def captions_of(picture: Picture) -> list[dict[str, object]]:
    """The captions of a picture at all levels, each without and with an alt text before it."""
    inks = " and ".join(one.colour for one in picture.written)
    alt_text = f"{inks} on {picture.background}."
    captions: list[dict[str, object]] = []
    for level, phrase in LEVELS.items():
        text = "The image contains " + ", ".join(map(phrase, picture.written))
        for mixed in (False, True):
            captions.append(
                {
                    "text": f"{alt_text} {text}" if mixed else text,
                    "granularity": level,
                    "include_datacomp_raw_cap": mixed,
                }
            )
    return captions


def _row(
    row: int, content: SyntheticContent, bytes_column: str, source: str, least_side: int
) -> dict[str, object]:
    (picture,) = draw_row(content, 1, row_generator(source, content, row))
    image = picture.image
    factor = max(1, math.ceil(least_side / min(image.size)))
    encoded = io.BytesIO()
    image.resize((image.width * factor, image.height * factor)).save(encoded, "png")
    uid = hashlib.sha256(encoded.getvalue()).hexdigest()[:32]
    entries = [{"text": one.text, "bbox": list(one.box)} for one in picture.written]
    return {
        "uid": uid,
        "url": f"https://example.org/{uid}.png",
        "captions": json.dumps(captions_of(picture)),
        "metadata": json.dumps({"entries": entries}),
        bytes_column: encoded.getvalue(),
    }


def _quoted(one: Written) -> str:
    return f'the text "{one.text}"'


def _with_region(one: Written) -> str:
    return f"{_quoted(one)} located {region_of(one)}"


def region_of(one: Written) -> str:
    """Where a text stands, in the words of BLIP-3's captions."""
    across = _third(one, 0, ("left", "", "right"))
    down = _third(one, 1, ("top", "", "bottom"))
    if across and down:
        return f"at the {down} {across} corner"
    if down:
        return f"{'above' if down == 'top' else 'below'} the center"
    return f"{across} of the center" if across else "in the center"


def _with_fractions(one: Written) -> str:
    across, down = (Fraction(round(16 * _middle(one, axis)), 16) for axis in (0, 1))
    where = f"{down} of the image from top to bottom and {across} from left to right"
    return f"{_quoted(one)} located at {where}"


def _with_rough_box(one: Written) -> str:
    x0, y0, x1, y1 = one.box
    corners = f"starts at [{x0:.1f}, {y0:.1f}] and extends upto [{x1:.1f}, {y1:.1f}]"
    return f"{_quoted(one)} approximately {corners}"


def _with_box(one: Written) -> str:
    x0, y0, x1, y1 = one.box
    return f"{_quoted(one)} starts at [{x0:.3f}, {y0:.3f}] and extends upto [{x1:.3f}, {y1:.3f}]"


def _in_tags(one: Written) -> str:
    return tagged("ocr", one.text, one.box)


LEVELS: Final[Mapping[int, Callable[[Written], str]]] = MappingProxyType(
    {
        0: _quoted,
        1: _with_region,
        2: _with_fractions,
        3: _with_rough_box,
        4: _with_box,
        5: _in_tags,
    }
)
"""How one text is described at every granularity."""


def _middle(one: Written, axis: int) -> float:
    return (one.box[axis] + one.box[axis + 2]) / 2


def _third(one: Written, axis: int, names: Sequence[str]) -> str:
    return names[min(int(3 * _middle(one, axis)), 2)]
