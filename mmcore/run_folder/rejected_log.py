"""`rejected.jsonl`: every row that could not be used, with its key and the reason."""

from __future__ import annotations

import json
from pathlib import Path

from mmcore.interfaces import RunInfo
from mmcore.kit.json_lines import keep
from mmcore_registry import hookimpl

FILE = "rejected.jsonl"


class RejectedLog:
    """A tracker that every run has. On resume it drops what the run is about to read again."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / FILE

    @hookimpl
    def mmcore_run_start(self, run: RunInfo) -> None:
        keep(self._path, until=run.step)

    @hookimpl
    def mmcore_sample_rejected(self, step: int, key: str, reason: str, detail: str) -> None:
        line = {"step": step, "key": key, "reason": reason, "detail": detail}
        with self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line, ensure_ascii=False) + "\n")
