"""What a run folder says of the run's past: its starts, its steps, and which stage had which."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import attrs

from mmcore.interfaces import METRICS
from mmcore.kit.json_lines import entries
from mmcore.recipe import Recipe
from mmcore.run_folder.folder import ENVIRONMENT, STAGE_FILE
from mmcore.training.progress import Progress

NEVER = 2**62

Recorded = Mapping[str, Any]
"""What was written down of a step, by name; None is a number that was not finite."""

Start = Mapping[str, Any]


@attrs.frozen
class Stretch:
    """The steps of a run that one stage had.

    Attributes:
        stage: its number in the recipe.
        name: its name.
        begins: the step of the run after which it began.
        ends: its last step; ``NEVER`` where it has not ended.
        weights: what was named for it to begin from; None for the stage before it, or the
            recipe's own.
    """

    stage: int
    name: str
    begins: int
    ends: int
    weights: Path | None


@attrs.frozen
class _Begin:
    after: int
    stage: str = ""
    weights: Path | None = None


class RunHistory:
    """Reads once, and changes nothing.

    Args:
        folder: of the run.
        recipe: of the run.
        until: the history is told as it was then, before the run went back; by default, now. The
            form is that of ``started`` in ``environment.json``.
        within: the stage that the run was in then.
    """

    def __init__(self, folder: Path, recipe: Recipe, *, until: str = "", within: str = "") -> None:
        names = [stage.name for stage in recipe.stages]
        starts = _starts(folder / ENVIRONMENT)
        self._starts = [one for one in starts if not until or one["started"] <= until]
        ends = {name: _end(folder / STAGE_FILE.format(name)) for name in names}
        if within:
            ends[within] = NEVER
        self.stretches: Sequence[Stretch] = list(_stretches(names, _begun(self._starts), ends))
        self.steps: Mapping[int, Recorded] = {} if until else recorded_steps(folder / METRICS)

    def ranks(self, step: int) -> int:
        """How many processes made this step."""
        before = [one for one in self._starts if one.get("after_step", 0) < step]
        return int(before[-1]["ranks"]) if before else 1

    def owner(self, step: int) -> Stretch | None:
        """Whose step it was, or, where it was not made yet, would be; None where no stage is
        left."""
        return next((one for one in self.stretches if one.begins < step <= one.ends), None)


def recorded_steps(path: Path) -> dict[int, Recorded]:
    """What the tracker `jsonl` wrote of every step; nothing where it did not listen."""
    return {entry["step"]: entry for entry in entries(path) if "loss" in entry}


def _begun(starts: Iterable[Start]) -> list[_Begin]:
    """Where stages were begun by name. A start takes back what was begun at its step or later: it
    was killed before it had a checkpoint."""
    found = [_Begin(0)]
    for one in starts:
        after = one.get("after_step", 0)
        found = [begin for begin in found if begin.after < after]
        if one.get("stage"):
            found.append(_Begin(after, one["stage"], Path(one["from"])))
        elif not found:
            found.append(_Begin(0))
    return found


def _stretches(
    names: Sequence[str], begun: Sequence[_Begin], ends: Mapping[str, int]
) -> Iterator[Stretch]:
    """From every stage that was begun by name, one after another up to the next such stage."""
    limits = [*(begin.after for begin in begun[1:]), NEVER]
    for begin, limit in zip(begun, limits, strict=True):
        at, weights = begin.after, begin.weights
        number = names.index(begin.stage) if begin.stage else 0
        while at < limit and number < len(names):
            name = names[number]
            end = min(ends[name] if ends[name] > at else NEVER, limit)
            yield Stretch(number, name, at, end, weights)
            at, weights, number = end, None, number + 1


def _starts(path: Path) -> list[Start]:
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else []


def _end(path: Path) -> int:
    if not path.exists():
        return NEVER
    return Progress.from_json(json.loads(path.read_text(encoding="utf-8"))).step
