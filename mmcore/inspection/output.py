"""Files that a look leaves: whether they can be written is found out before the work."""

from __future__ import annotations

import tempfile
from pathlib import Path

from mmcore.inspection.stages import InspectionError


def check_file(path: Path) -> None:
    """Whether a file can be written there.

    Raises:
        InspectionError: it cannot; the message says why.
    """
    if path.is_dir():
        raise InspectionError(f"{str(path)!r} is a folder; wanted the name of a file")
    if not path.parent.is_dir():
        raise InspectionError(f"{str(path)!r}: there is no folder {str(path.parent)!r}")
    _check_room(path.parent)


def check_folder(path: Path) -> None:
    """Make the folder, and see whether files can be written into it.

    Raises:
        InspectionError: they cannot; the message says why.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InspectionError(f"{str(path)!r} cannot be a folder: {error.strerror}") from error
    _check_room(path)


def _check_room(folder: Path) -> None:
    try:
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise InspectionError(f"{str(folder)!r} cannot be written to: {error.strerror}") from error
