"""Made-up documents whose texts say what their pictures show, in the formats of four datasets."""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final

import attrs
import pyarrow as pa
import pyarrow.parquet as pq

from mmcore.interfaces import SyntheticContent
from mmcore.kit.drawing import Picture
from mmcore_blip3.made_up import draw_row, row_generator, shard_ranges, write_whole
from mmcore_blip3.made_up_captions import describe, encoded, write_tar

MOST_PICTURES: Final = 4
DEAD_SHARE: Final = 0.2
"""How many of a document's pictures, beside the first, cannot be had: links rot."""

ROW_GROUP: Final = 32

STRINGS: Final = pa.list_(pa.string())


@attrs.frozen
class Drawn:
    """A picture at its place in a document.

    Attributes:
        picture: what it shows.
        alive: whether its bytes are there.
    """

    picture: Picture
    alive: bool


Slot = str | Drawn


def document(row: int, content: SyntheticContent, source: str) -> list[Slot]:
    """Paragraphs and pictures in reading order; what is said of a picture stands beside it."""
    rng = row_generator(source, content, row)
    pictures = draw_row(content, rng.randint(1, MOST_PICTURES), rng)
    slots: list[Slot] = [f"Page {row + 1}"] if rng.random() < 0.5 else []
    for number, picture in enumerate(pictures):
        drawn = Drawn(picture, alive=number == 0 or rng.random() >= DEAD_SHARE)
        said = describe(picture)
        slots += [drawn, said] if rng.random() < 0.6 else [f"Below: {said}", drawn]
        if rng.random() < 0.3:
            slots.append(f"So much of picture {number + 1}.")
    return slots


def make_up_obelics(folder: Path, content: SyntheticContent, *, bytes_column: str) -> None:
    """Write parquet files with OBELICS' columns, and the pictures' bytes beside them.

    Raises:
        ValueError: ``folder`` holds anything else, or a topic is not known.
    """

    def about(row: int, slots: Sequence[Slot]) -> dict[str, object]:
        metadata = [{"src": "made up"} if isinstance(one, Drawn) else None for one in slots]
        page = {"url": f"https://example.org/pages/{row}"}
        return {"metadata": json.dumps(metadata), "general_metadata": json.dumps(page)}

    columns = {"metadata": pa.string(), "general_metadata": pa.string()}
    _write_parquet(folder, content, "obelics", bytes_column, columns, about)


def make_up_mint_html(folder: Path, content: SyntheticContent, *, bytes_column: str) -> None:
    """Write parquet files with MINT-1T HTML's columns, and the pictures' bytes beside them. The
    hashes are those of the pictures in order, without the slots of texts.

    Raises:
        ValueError: ``folder`` holds anything else, or a topic is not known.
    """

    def about(row: int, slots: Sequence[Slot]) -> dict[str, object]:
        pictures = [one for one in slots if isinstance(one, Drawn)]
        return {
            "url": f"https://example.org/pages/{row}",
            "cc_dump": "CC-MAIN-2020-05",
            "image_hashes": [hashlib.sha256(_png(one)).hexdigest()[:16] for one in pictures],
        }

    columns = {"url": pa.string(), "cc_dump": pa.string(), "image_hashes": STRINGS}
    _write_parquet(folder, content, "mint1t-html", bytes_column, columns, about)


def make_up_mint_pdf(folder: Path, content: SyntheticContent, *, image_member: str) -> None:
    """Write tars of JSON and a TIFF with a frame for every picture that is there.

    Raises:
        ValueError: ``folder`` holds anything else, or a topic is not known.
    """

    def members(slots: Sequence[Slot]) -> dict[str, bytes]:
        names = _numbered(slots, lambda number: f"page_{number // 2}_image_{10 + number}")
        alive = [
            (number, slot.picture.image)
            for number, slot in enumerate(one for one in slots if isinstance(one, Drawn))
            if slot.alive
        ]
        metadata = [
            {
                "page": number // 2,
                "xref": 10 + number,
                "width": image.width,
                "height": image.height,
                "sha256": hashlib.sha256(image.tobytes()).hexdigest(),
            }
            for number, image in alive
        ]
        table = {
            "pdf_name": "made-up.pdf",
            "texts": _texts(slots),
            "images": names,
            "image_metadata": metadata,
            "language_id_whole_page_fasttext": {"en": 1.0},
        }
        tiff = io.BytesIO()
        first, *others = (image for _, image in alive)
        first.save(tiff, "tiff", save_all=True, append_images=others)
        return {"json": json.dumps(table).encode(), image_member: tiff.getvalue()}

    _write_tars(folder, content, "mint1t-pdf", {"image_member": image_member}, members)


def make_up_mint_arxiv(
    folder: Path, content: SyntheticContent, *, json_member: str, texts_key: str, images_key: str
) -> None:
    """Write tars of JSON and a PNG member for every figure that is there.

    Raises:
        ValueError: ``folder`` holds anything else, or a topic is not known.
    """

    def members(slots: Sequence[Slot]) -> dict[str, bytes]:
        names = _numbered(slots, lambda number: f"fig{number + 1}.png")
        table = {texts_key: _texts(slots), images_key: names}
        figures = {
            name: _png(slot)
            for name, slot in zip(names, slots, strict=True)
            if name is not None and isinstance(slot, Drawn) and slot.alive
        }
        return {json_member: json.dumps(table).encode(), **figures}

    keys = {"json_member": json_member, "texts_key": texts_key, "images_key": images_key}
    _write_tars(folder, content, "mint1t-arxiv", keys, members)


def _write_parquet(
    folder: Path,
    content: SyntheticContent,
    source: str,
    bytes_column: str,
    columns: Mapping[str, pa.DataType],
    about: Callable[[int, Sequence[Slot]], dict[str, object]],
) -> None:
    schema = pa.schema(
        {"texts": STRINGS, "images": STRINGS, bytes_column: pa.list_(pa.binary()), **columns}
    )

    def values(row: int) -> dict[str, object]:
        slots = document(row, content, source)
        return {
            "texts": _texts(slots),
            "images": _numbered(slots, lambda n: f"https://example.org/{source}/{row}/{n}.png"),
            bytes_column: [
                _png(slot) if isinstance(slot, Drawn) and slot.alive else None for slot in slots
            ],
            **about(row, slots),
        }

    def write(scratch: Path) -> None:
        for number, rows in enumerate(shard_ranges(content.rows)):
            table = pa.Table.from_pylist([values(row) for row in rows], schema=schema)
            pq.write_table(table, scratch / f"{number:05}.parquet", row_group_size=ROW_GROUP)

    write_whole(folder, source, content, {"bytes_column": bytes_column}, write)


def _write_tars(
    folder: Path,
    content: SyntheticContent,
    source: str,
    keys: Mapping[str, object],
    members: Callable[[Sequence[Slot]], Mapping[str, bytes]],
) -> None:
    def write(scratch: Path) -> None:
        for number, rows in enumerate(shard_ranges(content.rows)):
            named = ((f"{row:032x}", members(document(row, content, source))) for row in rows)
            write_tar(scratch / f"{number:05}.tar", named)

    write_whole(folder, source, content, keys, write)


def _texts(slots: Sequence[Slot]) -> list[str | None]:
    return [slot if isinstance(slot, str) else None for slot in slots]


def _numbered(slots: Sequence[Slot], name: Callable[[int], str]) -> list[str | None]:
    """The pictures' names in their slots, numbered from 0."""
    names: list[str | None] = []
    count = 0
    for slot in slots:
        names.append(name(count) if isinstance(slot, Drawn) else None)
        count += isinstance(slot, Drawn)
    return names


def _png(drawn: Drawn) -> bytes:
    return encoded(drawn.picture.image, "png")
