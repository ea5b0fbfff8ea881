"""Made-up documents of one to three pages, as tars of multi-frame TIFF and OCR JSON."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Final

from mmcore.interfaces import SyntheticContent
from mmcore.kit.drawing import Picture
from mmcore.kit.made_up import draw_row, row_generator, shard_ranges, write_whole
from mmcore.kit.made_up_files import frames, write_tar

NAME: Final = "idl"

MOST_PAGES: Final = 3


def make_up_idl(
    folder: Path, content: SyntheticContent, *, text_member: str, pages_key: str, lines_key: str
) -> None:
    """Write a few tars; per document ``<key>.tif`` and what stands on its pages.

    Raises:
        ValueError: ``folder`` holds anything else, or a topic is not known.
    """

    def members(row: int) -> dict[str, bytes]:
        rng = row_generator(NAME, content, row)
        pictures = draw_row(content, rng.randint(1, MOST_PAGES), rng)
        pages = [_page(picture, lines_key) for picture in pictures]
        document = json.dumps({pages_key: pages}).encode()
        return {"tif": frames([picture.image for picture in pictures]), text_member: document}

    def write(scratch: Path) -> None:
        for number, rows in enumerate(shard_ranges(content.rows)):
            named = ((f"{row:09}", members(row)) for row in rows)
            write_tar(scratch / f"idl-train-{number:05}.tar", named)

    keys = {"text_member": text_member, "pages_key": pages_key, "lines_key": lines_key}
    write_whole(folder, NAME, content, keys, write)


def _page(picture: Picture, lines_key: str) -> dict[str, object]:
    """Lines, their boxes (left, top, width, height as shares of the page) and how sure OCR is."""
    boxes = [one.box for one in picture.written]
    return {
        lines_key: [one.text for one in picture.written],
        "bbox": [[x0, y0, x1 - x0, y1 - y0] for x0, y0, x1, y1 in boxes],
        "score": [1.0] * len(boxes),
    }
