"""`rollbacks.json`: which steps' data a run leaves out because its loss leapt there."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from pathlib import Path

import attrs

from mmcore.run_folder.folder import CHECKPOINTS, RunFolderError, write_whole
from mmcore.training.checkpoint_format import latest
from mmcore.training.spikes import RollBack

FILE = "rollbacks.json"


@attrs.frozen
class Discarded:
    """The data of steps ``first`` to ``last`` of a stage, numbered like the steps of a run that
    never went back, and when that was decided.

    Attributes:
        checkpoint: name of the one that the run went back to; empty for its beginning.
    """

    stage: str
    first: int
    last: int
    time: str
    checkpoint: str = ""


def read(folder: Path) -> list[Discarded]:
    """All roll-backs of the run so far, oldest first.

    Raises:
        RunFolderError: the file is damaged.
    """
    path = folder / FILE
    if not path.exists():
        return []
    try:
        return [Discarded(**entry) for entry in json.loads(path.read_text(encoding="utf-8"))]
    except (ValueError, TypeError) as error:
        raise RunFolderError(
            f"{path} is damaged ({error}): without it the run would meet data again that it was "
            "to leave out"
        ) from None


def numbers(entries: Sequence[Discarded], stage: str) -> frozenset[int]:
    """The numbers of the data that a stage leaves out."""
    mine = (one for one in entries if one.stage == stage)
    return frozenset(n for one in mine for n in range(one.first, one.last + 1))


def append(folder: Path, back: RollBack) -> None:
    """Write down one more, so that also a run that is killed now leaves the data out; the run goes
    on from its newest checkpoint."""
    now = time.strftime("%Y-%m-%dT%H:%M:%S%z")
    newest = latest(folder / CHECKPOINTS)
    name = newest.name if newest else ""
    entries = [*read(folder), Discarded(back.stage, back.first, back.last, now, name)]
    write_whole(folder / FILE, json.dumps([attrs.asdict(one) for one in entries], indent=1) + "\n")
