"""Whether what ends a stage early is measured: in every step, or by a validation in the stage."""

from __future__ import annotations

from collections.abc import Collection, Iterator

from mmcore.interfaces import ObjectiveSpec, TaskSpec
from mmcore.recipe.check import Facts, Remark
from mmcore.recipe.schema import EarlyStopTable
from mmcore.recipe.tree import KeyPath
from mmcore_registry import nearest

KINDS = ("loss", "validation", "score")
"""How the name of a measure begins."""


def check_early_stops(facts: Facts) -> Iterator[Remark]:
    """Every early stop that would watch what nobody measures."""
    for stage in facts.stages:
        table = facts.at(*stage, "early_stop")
        if isinstance(table, EarlyStopTable):
            yield from _check(facts, stage, table.measure)


def _check(facts: Facts, stage: KeyPath, measure: str) -> Iterator[Remark]:
    path = (*stage, "early_stop", "measure")
    kind, _, name = measure.partition("/")
    tasks = {task.name for _, task in facts.below("evaluations") if isinstance(task, TaskSpec)}
    if kind not in KINDS:
        wanted = "loss, loss/OBJECTIVE, validation/NAME or score/TASK"
        close = nearest(kind, KINDS)
        hint = f"did you mean {close!r}?" if close else ""
        yield Remark(path, f"is {measure!r}, wanted {wanted}", hint)
    elif kind == "loss":
        yield from _loss(facts, stage, path, name)
    elif kind == "validation" and name in tasks:
        message = f"is {measure!r}, and {name!r} is a task, of which more is better"
        yield Remark(path, message, f"write 'score/{name}'")
    elif kind == "score" and name not in tasks:
        message = f"is {measure!r}, and no evaluation is called {name!r}"
        yield Remark(path, message, _meant(name, tasks, "score/", "tasks"))
    elif facts.at("validation") is None:
        message = f"is {measure!r}, which only a validation inside the stage measures"
        yield Remark(path, message, "add a [validation] table, or watch the loss")


def _loss(facts: Facts, stage: KeyPath, path: KeyPath, name: str) -> Iterator[Remark]:
    """An objective's own loss is told apart where there are several."""
    objectives = [
        one.name for _, one in facts.below(*stage, "objectives") if isinstance(one, ObjectiveSpec)
    ]
    if not name or not objectives:
        return
    if name not in objectives:
        message = f"is 'loss/{name}', and no objective is called {name!r}"
        yield Remark(path, message, _meant(name, objectives, "loss/", "objectives"))
    elif len(objectives) == 1:
        yield Remark(path, f"is 'loss/{name}', and the stage has one objective", "write 'loss'")


def _meant(name: str, known: Collection[str], prefix: str, kind: str) -> str:
    close = nearest(name, known)
    if close:
        return f"did you mean '{prefix}{close}'?"
    return f"{kind}: {', '.join(sorted(known)) or 'none'}"
