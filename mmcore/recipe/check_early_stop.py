"""Whether what ends a stage early is measured: in every step, or by a validation in the stage."""

from __future__ import annotations

from collections.abc import Collection, Iterator

from mmcore.interfaces import ObjectiveSpec, TaskSpec
from mmcore.recipe.check import Facts, Remark
from mmcore.recipe.schema import EarlyStopTable, Stage, ValidationTable, labels, task_labels
from mmcore.recipe.tree import KeyPath
from mmcore_registry import nearest

KINDS = ("loss", "validation", "score")
"""How the name of a measure begins."""

LOSS, BY_SOURCE = "loss", "loss_by_source/"
"""What a validation measures, and the beginning of what it measures of every source."""


def check_early_stops(facts: Facts) -> Iterator[Remark]:
    """Every early stop that would watch what nobody measures."""
    for stage in facts.stages:
        table = facts.at(*stage, "early_stop")
        if isinstance(table, EarlyStopTable):
            yield from _check(facts, stage, table.measure)


def _check(facts: Facts, stage: KeyPath, measure: str) -> Iterator[Remark]:
    path = (*stage, "early_stop", "measure")
    kind, _, name = measure.partition("/")
    if kind not in KINDS:
        wanted = "loss, loss/OBJECTIVE, validation/NAME or score/TASK"
        close = nearest(kind, KINDS)
        hint = f"did you mean {close!r}?" if close else ""
        yield Remark(path, f"is {measure!r}, wanted {wanted}", hint)
    elif kind == "loss":
        yield from _loss(facts, stage, path, name)
    elif kind == "validation":
        yield from _validation(facts, stage, path, name)
    else:
        yield from _score(facts, path, name)


def _validation(facts: Facts, stage: KeyPath, path: KeyPath, name: str) -> Iterator[Remark]:
    """What is held out has a loss; each source's rows have, and each objective of several."""
    measure, of_source = f"validation/{name}", f"validation/{BY_SOURCE}{name}"
    table = facts.at(*stage)
    sources = [label for label, _ in labels(table)] if isinstance(table, Stage) else None
    if name in _tasks(facts):
        message = f"is {measure!r}, and {name!r} is a task, of which more is better"
        yield Remark(path, message, f"write 'score/{name}'")
    elif facts.at("validation") is None:
        yield _unmeasured(path, measure)
    elif sources is not None and name not in (
        known := [LOSS, *(BY_SOURCE + one for one in sources), *_losses(facts, stage)]
    ):
        message = f"is {measure!r}, which a validation of this stage does not measure"
        hint = _meant(name, known, "validation/", "it measures")
        yield Remark(path, message, f"write '{of_source}'" if name in sources else hint)


def _score(facts: Facts, path: KeyPath, name: str) -> Iterator[Remark]:
    """A task's, or that of one of its kinds of question, which only the task knows."""
    measure, task = f"score/{name}", name.partition("/")[0]
    tasks, table = _tasks(facts), facts.at("validation")
    if task not in tasks:
        message = f"is {measure!r}, and no evaluation is called {task!r}"
        yield Remark(path, message, _meant(task, tasks, "score/", "tasks"))
    elif table is None:
        yield _unmeasured(path, measure)
    elif isinstance(table, ValidationTable) and task not in table.tasks:
        message = f"is {measure!r}, and validation does not ask {task!r}"
        yield Remark(path, message, f"add {task!r} to validation.tasks")


def _tasks(facts: Facts) -> list[str]:
    found = [task for _, task in facts.below("evaluations") if isinstance(task, TaskSpec)]
    return [label for label, _ in task_labels(found)]


def _unmeasured(path: KeyPath, measure: str) -> Remark:
    message = f"is {measure!r}, which only a validation inside the stage measures"
    return Remark(path, message, "add a [validation] table, or watch the loss")


def _loss(facts: Facts, stage: KeyPath, path: KeyPath, name: str) -> Iterator[Remark]:
    """An objective's own loss is told apart where there are several."""
    objectives = _objectives(facts, stage)
    if not name or not objectives:
        return
    if name not in objectives:
        message = f"is 'loss/{name}', and no objective is called {name!r}"
        yield Remark(path, message, _meant(name, objectives, "loss/", "objectives"))
    elif len(objectives) == 1:
        yield Remark(path, f"is 'loss/{name}', and the stage has one objective", "write 'loss'")


def _losses(facts: Facts, stage: KeyPath) -> list[str]:
    """What is told apart of them."""
    objectives = _objectives(facts, stage)
    return [f"{LOSS}/{name}" for name in objectives] if len(objectives) > 1 else []


def _objectives(facts: Facts, stage: KeyPath) -> list[str]:
    below = facts.below(*stage, "objectives")
    return [one.name for _, one in below if isinstance(one, ObjectiveSpec)]


def _meant(name: str, known: Collection[str], prefix: str, kind: str) -> str:
    close = nearest(name, known)
    if close:
        return f"did you mean '{prefix}{close}'?"
    return f"{kind}: {', '.join(sorted(known)) or 'none'}"
