"""Made-up pictures and phrases about their regions, in the files of Visual Genome."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Final

from mmcore.interfaces import SyntheticContent
from mmcore.kit.drawing import Picture
from mmcore.kit.made_up import draw_row, row_generator, write_whole
from mmcore.kit.made_up_files import encoded

NAME: Final = "visual-genome"

REGIONS: Final = "region_descriptions.json"


def make_up_visual_genome(
    folder: Path, content: SyntheticContent, *, folders: tuple[str, ...], sizes: str
) -> None:
    """Write the file of regions, the file of sizes, and JPEG pictures in turn in each folder.

    Raises:
        ValueError: ``folder`` holds anything else, or a topic is not known.
    """

    def write(scratch: Path) -> None:
        for name in folders:
            (scratch / name).mkdir()
        entries, measured = [], []
        for row in range(content.rows):
            (picture,) = draw_row(content, 1, row_generator(NAME, content, row))
            number = row + 1
            path = scratch / folders[row % len(folders)] / f"{number}.jpg"
            path.write_bytes(encoded(picture.image, "jpg"))
            entries.append(_entry(number, picture))
            width, height = picture.image.size
            measured.append({"image_id": number, "width": width, "height": height})
        (scratch / REGIONS).write_text(json.dumps(entries))
        (scratch / sizes).write_text(json.dumps(measured))

    write_whole(folder, NAME, content, {"folders": folders, "sizes": sizes}, write)


def _entry(number: int, picture: Picture) -> dict[str, object]:
    width, height = picture.image.size
    regions = []
    for place, one in enumerate(picture.written):
        x0, y0, x1, y1 = one.box
        regions.append(
            {
                "region_id": 100 * number + place,
                "image_id": number,
                "x": round(x0 * width),
                "y": round(y0 * height),
                "width": round((x1 - x0) * width),
                "height": round((y1 - y0) * height),
                "phrase": f"{one.text} in {one.colour}",
            }
        )
    return {"id": number, "regions": regions}
