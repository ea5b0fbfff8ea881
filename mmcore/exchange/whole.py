"""A folder that appears under its name whole, or not at all."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def new_folder(path: Path) -> Iterator[Path]:
    """Where to write; it gets the name ``path`` when all went well, and is removed otherwise.

    Raises:
        ValueError: there is something at ``path`` already.
    """
    if path.exists():
        raise ValueError(f"{str(path)!r} is there already; give another name, or remove it first")
    writing = path.with_name(f".writing-{path.name}")
    if writing.exists():
        shutil.rmtree(writing)  # left behind by a process that was killed
    writing.mkdir(parents=True)
    try:
        yield writing
        writing.rename(path)
    except BaseException:
        shutil.rmtree(writing)
        raise
