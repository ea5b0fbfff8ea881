"""Files of JSON lines that a kill, a full disk or a power loss may have torn."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

Entry = dict[str, Any]


def entries(path: Path) -> Iterator[Entry]:
    """The objects of a file, oldest first; nothing where there is no file.

    A line that is not whole is passed over, wherever it stands, within a letter or not: what comes
    after it was written by a later process.
    """
    if path.exists():
        yield from (entry for _, entry in _whole(path))


def keep(path: Path, until: float = math.inf) -> None:
    """Leave only whole lines, and of those with a ``step`` only the ones up to ``until``; they stay
    byte for byte as they are.

    Killed at any moment, the file is as it was before, or as it is to be.
    """
    if not path.exists():
        return
    kept = path.with_name(f".{path.name}.kept")
    with kept.open("wb") as new:
        new.writelines(line for line, entry in _whole(path) if entry.get("step", 0) <= until)
        new.flush()
        os.fsync(new.fileno())
    kept.replace(path)


def _whole(path: Path) -> Iterator[tuple[bytes, Entry]]:
    # Bytes, for one line that is no UTF-8 must not hide all others; and no other separator than
    # \n, for a key may hold any, such as U+2028 in a file's name.
    with path.open("rb") as file:
        for line in file:
            entry = _parsed(line)
            if entry is not None:
                yield line, entry


def _parsed(line: bytes) -> Entry | None:
    """None of a line that was cut off while it was written."""
    if not line.endswith(b"\n"):
        return None
    try:
        entry = json.loads(line.decode("utf-8"))
    except ValueError:
        return None
    return entry if isinstance(entry, dict) else None
