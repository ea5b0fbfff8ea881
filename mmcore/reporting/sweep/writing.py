"""Writes what is said of a sweep: the page, pictures, numbers, and a page for a manual."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from mmcore.reporting.sweep.document import document
from mmcore.reporting.sweep.drawing import Picture
from mmcore.reporting.sweep.files import files
from mmcore.reporting.sweep.markdown import markdown
from mmcore.reporting.sweep.page import render
from mmcore.run_folder.folder import write_whole

FIGURES = "figures"


def write(folder: Path, page: Path, manual: Path | None = None) -> list[Path]:
    """What was written: the page, and the page for the manual if one was asked for. CSV files and
    pictures lie beside the page.

    Raises:
        SweepFolderError: no sweep lies in the folder.
    """
    told, grid = document(folder)
    page.parent.mkdir(parents=True, exist_ok=True)
    for name, text in files(grid).items():
        write_whole(page.parent / name, text)
    _pictures(told.pictures, page.parent / FIGURES)
    write_whole(page, render(told))
    written = [page]
    if manual is not None:
        manual.mkdir(parents=True, exist_ok=True)
        _pictures(told.pictures, manual / told.name)
        write_whole(manual / f"{told.name}.md", markdown(told, told.name))
        written.append(manual / f"{told.name}.md")
    return written


def _pictures(pictures: Sequence[Picture], folder: Path) -> None:
    """These and no others: one that an earlier report drew may be of what is no longer there."""
    folder.mkdir(parents=True, exist_ok=True)
    names = {f"{one.name}.png" for one in pictures}
    for old in folder.glob("*.png"):
        if old.name not in names:
            old.unlink()
    for one in pictures:
        (folder / f"{one.name}.png").write_bytes(one.png)
