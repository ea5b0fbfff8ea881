"""Made-up rows as webdataset tars, in members and fields as the recipe names them."""

from __future__ import annotations

import io
import json
from pathlib import Path

import attrs
from PIL import Image

from mmcore.interfaces import SyntheticContent
from mmcore.kit.made_up import shard_ranges, write_whole
from mmcore.kit.made_up_files import encoded, write_tar
from mmcore_sources.made_up_rows import MadeUpRow, row_maker
from mmcore_sources.names import Names
from mmcore_sources.samples import TEXT


def make_up_tars(
    folder: Path,
    content: SyntheticContent,
    source: str,
    *,
    image_member: str,
    text_member: str,
    json_member: str,
    names: Names,
    pictures: int,
    turns: int,
) -> None:
    """Write a few tars.

    Args:
        folder: where.
        content: what is made up.
        source: name of the source.
        image_member: suffix, and so the format, of the pictures; several are numbered.
        text_member: suffix of the text, where no field is named.
        json_member: suffix of the fields, where some are named.
        names: fields.
        pictures: of a row.
        turns: most questions of a conversation.

    Raises:
        ValueError: ``folder`` holds anything else, or a topic is not known.
    """
    form = image_member.rpartition(".")[2]

    def members(row: MadeUpRow) -> dict[str, bytes]:
        files = {
            image_member if len(row.pictures) == 1 else f"{number}.{image_member}": _as(data, form)
            for number, data in enumerate(row.pictures)
        }
        if not names.form:
            files[text_member] = str(row.values[TEXT]).encode()
        if names.given:
            fields = {name: row.values[what] for what, name in names.given.items()}
            files[json_member] = json.dumps(fields, ensure_ascii=False).encode()
        return files

    def write(scratch: Path) -> None:
        make = row_maker(content, source, names, pictures=pictures, turns=turns)
        for number, rows in enumerate(shard_ranges(content.rows)):
            named = ((f"{row:06}", members(make(row))) for row in rows)
            write_tar(scratch / f"{number:05}.tar", named)

    keys = {
        "members": [image_member, text_member, json_member],
        **attrs.asdict(names),
        "pictures": pictures,
        "turns": turns,
    }
    write_whole(folder, source, content, keys, write)


def _as(data: bytes, form: str) -> bytes:
    """The picture in another format."""
    with Image.open(io.BytesIO(data)) as image:
        return encoded(image, form)
