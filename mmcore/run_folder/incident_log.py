"""`incidents.jsonl`: every step at which something was wrong, with the samples that it had."""

from __future__ import annotations

import json
import math
import time
from pathlib import Path

import attrs

from mmcore.interfaces import Incident, RunInfo
from mmcore.kit.json_lines import keep
from mmcore_registry import hookimpl

FILE = "incidents.jsonl"


class IncidentLog:
    """A tracker that every run has. It keeps all lines, also those of steps that are made again
    after a roll-back or a kill: they are why it happened."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / FILE

    @hookimpl
    def mmcore_run_start(self, run: RunInfo) -> None:
        """Drop a line that was torn when an earlier process was killed."""
        keep(self._path)

    @hookimpl
    def mmcore_incident(self, incident: Incident) -> None:
        told = {"time": time.strftime("%Y-%m-%dT%H:%M:%S%z"), **attrs.asdict(incident)}
        told["sources"] = {
            name: loss if math.isfinite(loss) else None for name, loss in incident.sources.items()
        }
        with self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(told, ensure_ascii=False, allow_nan=False) + "\n")
