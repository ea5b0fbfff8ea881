"""What a sweep asks, and its file as it makes the same sweep on another machine."""

from __future__ import annotations

import os
import tomllib
from pathlib import Path
from typing import Any

import attrs
import tomli_w

from mmcore.sweeps.schema import without_empty


@attrs.frozen
class Origin:
    """What the file of a sweep says to a reader.

    Attributes:
        question: that is asked; empty where the file has none.
        file: its text, the recipe as seen from the folder that the sweep was started in, or from
            the root of the recipe's repository: no path of this machine. Empty where there is no
            file.
    """

    question: str = ""
    file: str = ""


def origin(folder: Path, text: str) -> Origin:
    """Of the sweep in this folder.

    Args:
        text: of its ``sweep.toml``.
    """
    try:
        table: dict[str, Any] = tomllib.loads(text)
    except tomllib.TOMLDecodeError:  # somebody has been at it by hand: it is shown as it is
        return Origin(file=text)
    if not table:
        return Origin()
    if isinstance(table.get("recipe"), str):
        table["recipe"] = _shown(folder, table["recipe"])
    return Origin(str(table.get("question", "")), tomli_w.dumps(without_empty(table)))


def _shown(folder: Path, recipe: str) -> str:
    """The path of the recipe for readers; where nothing is known of its place, its name alone."""
    path = Path(os.path.normpath(folder.absolute() / recipe))
    started_in = folder.absolute().parent.parent
    repository = (one for one in path.parents if (one / ".git").exists())
    for root in (*repository, started_in):
        if path.is_relative_to(root):
            return path.relative_to(root).as_posix()
    return path.name
