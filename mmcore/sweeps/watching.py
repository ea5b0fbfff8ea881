"""How far a run has come, from the lines that its tracker adds to ``metrics.jsonl``."""

from __future__ import annotations

import json
import os
from pathlib import Path

import attrs

from mmcore.interfaces import METRICS


@attrs.frozen(kw_only=True)
class Reached:
    """A moment of a run.

    Attributes:
        stage: its name.
        step: of the run.
        loss: of that step; None where it was not finite.
        tokens: positions trained on so far.
    """

    stage: str
    step: int
    loss: float | None
    tokens: float


class Follower:
    """Reads what was added since it last read; from the beginning where the file is another one,
    as after a start that dropped the steps it makes again.

    Args:
        run: the run folder.
    """

    def __init__(self, run: Path) -> None:
        self._path = run / METRICS
        self._file = 0
        self._read = 0
        self.reached: Reached | None = None

    def look(self) -> Reached | None:
        """Where the run is; None before its first step."""
        try:
            with self._path.open("rb") as file:
                self._rewound(file.fileno())
                file.seek(self._read)
                for line in file:
                    if not line.endswith(b"\n"):
                        break
                    self._read += len(line)
                    self._take(line)
        except FileNotFoundError:
            self._forget()
        return self.reached

    def _rewound(self, descriptor: int) -> None:
        status = os.fstat(descriptor)
        if status.st_ino != self._file or status.st_size < self._read:
            self._forget()
            self._file = status.st_ino

    def _forget(self) -> None:
        self._file = self._read = 0
        self.reached = None

    def _take(self, text: bytes) -> None:
        try:
            line = json.loads(text)
        except ValueError:  # torn by a kill; the next start drops it
            return
        tokens, step = line.get("tokens"), line.get("step")
        if not isinstance(tokens, float | int) or not isinstance(step, int):
            return
        loss = line.get("loss")
        before = self.reached.tokens if self.reached else 0.0
        self.reached = Reached(
            stage=str(line.get("stage", "")),
            step=step,
            loss=loss if isinstance(loss, float) else None,
            tokens=before + tokens,
        )
