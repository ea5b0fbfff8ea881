"""Folders of made-up rows: whole or not there at all, and marked with what they hold."""

from __future__ import annotations

import itertools
import json
import os
import random
import secrets
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

import attrs

from mmcore.interfaces import SyntheticContent
from mmcore.kit.drawing import TOPICS, Picture, draw_picture

MARKER: Final = ".made-up.json"
"""Tells what a folder holds. Hidden, so that no pattern of data files matches it."""

SHARDS: Final = 4


def write_whole(
    folder: Path,
    source: str,
    content: SyntheticContent,
    keys: Mapping[str, object],
    write: Callable[[Path], None],
) -> None:
    """Let ``write`` fill a scratch folder beside ``folder``, then give it that name in one go.

    A folder that already holds the same content is left as it is, so several processes may ask
    at once.

    Args:
        source: name of the source whose format is written.
        content: what is made up.
        keys: the source's own keys that change what is written.
        write: fills the folder that it is given.

    Raises:
        ValueError: the folder holds anything else.
    """
    folder = folder.resolve()
    # Through JSON, so that it compares equal to what is read back.
    marker = json.loads(json.dumps({"source": source, **attrs.asdict(content), **keys}))
    if _holds(folder, marker):
        return
    scratch = folder.with_name(f".{folder.name}-{os.getpid()}-{secrets.token_hex(4)}")
    scratch.mkdir(parents=True)
    try:
        write(scratch)
        (scratch / MARKER).write_text(json.dumps(marker, indent=1))
        try:
            scratch.rename(folder)
        except OSError:
            # Another process was faster; what it wrote must be the same.
            if not _holds(folder, marker):
                raise
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def row_generator(source: str, content: SyntheticContent, row: int) -> random.Random:
    """The random numbers of one row, which do not depend on how many rows there are."""
    held = "held-out" if content.held_out else "training"
    return random.Random(f"{source}/{content.seed}/{held}/{row}")


def draw_row(content: SyntheticContent, count: int, rng: random.Random) -> list[Picture]:
    """``count`` pictures, each of one of the topics.

    Raises:
        ValueError: a topic is not known.
    """
    topics = content.topics or tuple(TOPICS)
    return [draw_picture(rng.choice(topics), rng, held_out=content.held_out) for _ in range(count)]


def shard_ranges(rows: int) -> list[range]:
    """Row numbers of the shards: as many in each as can be, and no shard empty."""
    shards = min(SHARDS, rows)
    borders = [rows * shard // shards for shard in range(shards + 1)]
    return [range(start, stop) for start, stop in itertools.pairwise(borders)]


def _holds(folder: Path, marker: object) -> bool:
    """Whether the folder holds this content; False where there is none, or nothing in it."""
    if not folder.exists() or (folder.is_dir() and not any(folder.iterdir())):
        return False
    try:
        held = json.loads((folder / MARKER).read_text())
    except (FileNotFoundError, NotADirectoryError):
        raise ValueError(
            f"{str(folder)!r} is there and was not made up; wanted a folder that does not exist, "
            "for made-up rows are never mixed with others"
        ) from None
    if held != marker:
        raise ValueError(
            f"{str(folder)!r} holds made-up rows of {held}, wanted {marker}; "
            "delete the folder or name another"
        )
    return True
