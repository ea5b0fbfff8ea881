"""Made-up folders of pictures with captions, in text files beside them or in metadata files."""

from __future__ import annotations

import csv
import json
from pathlib import Path

from mmcore.interfaces import SyntheticContent
from mmcore.kit.made_up import shard_ranges, write_whole
from mmcore_sources.folder_source import FILE_NAME, METADATA
from mmcore_sources.made_up_rows import row_maker
from mmcore_sources.names import Names
from mmcore_sources.samples import TEXT


def make_up_folder(
    folder: Path,
    content: SyntheticContent,
    source: str,
    *,
    metadata: bool,
    caption_suffix: str,
    text_column: str,
) -> None:
    """Write a few folders of PNG pictures; of metadata files, both kinds in turn.

    Raises:
        ValueError: ``folder`` holds anything else, or a topic is not known.
    """

    def write(scratch: Path) -> None:
        make = row_maker(content, source, Names(text=TEXT), pictures=1, turns=1)
        for number, rows in enumerate(shard_ranges(content.rows)):
            part = scratch / f"{number:03}"
            part.mkdir()
            captions = {}
            for row in rows:
                made, name = make(row), f"{row:06}.png"
                (part / name).write_bytes(made.pictures[0])
                captions[name] = str(made.values[TEXT])
            if metadata:
                _write_metadata(part / METADATA[number % len(METADATA)], text_column, captions)
                continue
            for name, caption in captions.items():
                beside = (part / name).with_suffix(f".{caption_suffix.lstrip('.')}")
                beside.write_text(caption + "\n", encoding="utf-8")

    keys = {"metadata": metadata, "caption_suffix": caption_suffix, "text_column": text_column}
    write_whole(folder, source, content, keys, write)


def _write_metadata(path: Path, text_column: str, captions: dict[str, str]) -> None:
    rows = [{FILE_NAME: name, text_column: caption} for name, caption in captions.items()]
    with path.open("w", encoding="utf-8", newline="") as file:
        if path.suffix == ".csv":
            writer = csv.DictWriter(file, [FILE_NAME, text_column])
            writer.writeheader()
            writer.writerows(rows)
            return
        for row in rows:
            file.write(json.dumps(row, ensure_ascii=False) + "\n")
