"""Checkpoints of a cell that has finished: many cells would fill a disk."""

from __future__ import annotations

import shutil
from pathlib import Path

from mmcore.run_folder.folder import CHECKPOINTS
from mmcore.sweeps.schema import Keep
from mmcore.training.checkpoint_format import latest


def prune(run: Path, keep: Keep) -> None:
    """Leave those that are to be kept; metrics, evaluations and answers stay whatever is said.

    Args:
        run: folder of a run that has finished.
        keep: all of them, the last one, or nothing.
    """
    checkpoints = run / CHECKPOINTS
    if keep == "all" or not checkpoints.is_dir():
        return
    if keep == "nothing":
        shutil.rmtree(checkpoints)
        return
    newest = latest(checkpoints)
    for path in checkpoints.iterdir():
        if path.is_dir() and path != newest:
            shutil.rmtree(path)
