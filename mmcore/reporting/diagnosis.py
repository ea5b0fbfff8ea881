"""Signatures of known failures in one run: told where its numbers show them, and only there."""

from __future__ import annotations

import math
import re
import statistics
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise

import attrs

from mmcore.evaluation.scores import apart
from mmcore.evaluation.table import last_of_each_task, with_interval
from mmcore.interfaces import KindScore
from mmcore.reporting.facts import Facts
from mmcore.reporting.statistics import rank_correlation
from mmcore.reporting.steadiness import after_warmup, gradient_variance, spikes
from mmcore.reporting.story import Story

PART = 10
"""The loss terms at a stage's beginning and end are means over one so-many-th of it."""

GROWN = 1.1
"""A term has grown where its end is beyond so many times its beginning."""

STRONG = 0.3
"""A rank correlation over the steps of a run below this is not told."""


@attrs.frozen
class Diagnosis:
    """A signature that was found.

    Attributes:
        title: what it is.
        evidence: the numbers.
        advice: what they suggest to try, with the keys of a recipe.
    """

    title: str
    evidence: str
    advice: str


def diagnoses(story: Story, facts: Facts) -> list[Diagnosis]:
    """Of a run; nothing of what it has no evidence for."""
    return [*_fine_detail(story, facts), *_several_pictures(story), *_terms(story, facts)]


FINER = (
    "more tokens a picture: more `queries` or less pooling in `model.token_sampler`, or more tiles "
    "(`max_tiles`) in the stage's `tiler`"
)


def _fine_detail(story: Story, facts: Facts) -> Iterator[Diagnosis]:
    """Smaller things are answered worse than larger ones of the same kind."""
    for task, levels in _levels(story, r"(\d+(?:\.\d+)?) ?px\b"):
        small, large = levels[0], levels[-1]
        if not apart(small, large) or large.low <= large.luck:
            continue
        at = f", at {facts.compression:.3g} patches a token" if facts.compression else ""
        yield Diagnosis(
            "Fine detail is lost",
            f"{task}: {small.kind} {with_interval(small)} against {large.kind} "
            f"{with_interval(large)} (% right, 95 % interval){at}.",
            f"{FINER}; the same level with each tells which of them it is.",
        )


def _several_pictures(story: Story) -> Iterator[Diagnosis]:
    """A question about several pictures stays at chance, while others are answered."""
    scores = [
        (one.task, score) for one in last_of_each_task(story.evaluations) for score in one.scores
    ]
    able = [score for _, score in scores if not score.level and score.low > score.luck]
    shown = pictures_a_sample(story)
    for task, levels in _levels(story, r"(\d+) pictures\b"):
        many = levels[-1]
        if many.low > many.luck or not able or shown is None:
            continue
        yield Diagnosis(
            "Several pictures are not told from one another",
            f"{task}: {many.kind} {with_interval(many)}, luck {100 * many.luck:.0f}, while "
            f"{able[0].kind} is at {with_interval(able[0])} (luck {100 * able[0].luck:.0f}). "
            f"Training showed {shown:.2f} pictures a sample.",
            "a larger `share` of sources whose samples show several pictures, or a longer stage "
            "of them.",
        )


def pictures_a_sample(story: Story) -> float | None:
    """Over all steps of a run; None where it was not measured."""
    steps = [step for step in story.steps if "pictures" in step and "samples" in step]
    samples = sum(step["samples"] for step in steps)
    return sum(step["pictures"] for step in steps) / samples if samples else None


def _levels(story: Story, pattern: str) -> Iterator[tuple[str, list[KindScore]]]:
    """Levels of a kind that are ordered by a number and differ in nothing else: smallest first."""
    for evaluation in last_of_each_task(story.evaluations):
        groups: dict[tuple[str, str], list[tuple[float, KindScore]]] = {}
        for score in evaluation.scores:
            told = re.search(pattern, score.level)
            if told:
                rest = score.level[: told.start()] + score.level[told.end() :]
                kind = score.kind.removesuffix(score.level)
                groups.setdefault((kind, rest), []).append((float(told[1]), score))
        for found in groups.values():
            if len(found) > 1:
                yield evaluation.task, [one for _, one in sorted(found, key=lambda one: one[0])]


@attrs.frozen
class Term:
    """A term of a stage's loss.

    Attributes:
        name: of the objective.
        first, last: its weighted loss at the stage's beginning, after warm-up, and at its end.
        first_share, last_share: of the sum of the sizes of all terms.
        with_norm: rank correlation of its change with the gradient's norm, over the steps.
    """

    name: str
    first: float
    last: float
    first_share: float
    last_share: float
    with_norm: float


def terms(story: Story, stage: str, facts: Facts) -> list[Term]:
    """Of a stage with several objectives; none of one, or of a recipe that is not known."""
    known = facts.stages.get(stage)
    steps = after_warmup(story, stage, facts)
    names = list(known.objectives) if known else []
    whole = [
        step
        for step in steps
        if all(math.isfinite(step.get(f"loss/{name}", math.nan)) for name in names)
        and math.isfinite(step["grad_norm"])
    ]
    if known is None or len(names) < 2 or len(whole) < 2 * PART:
        return []
    size = len(whole) // PART
    weighed = {
        name: [known.objectives[name] * step[f"loss/{name}"] for step in whole] for name in names
    }
    first = {name: statistics.fmean(values[:size]) for name, values in weighed.items()}
    last = {name: statistics.fmean(values[-size:]) for name, values in weighed.items()}
    norms = [step["grad_norm"] for step in whole]
    return [
        Term(
            name, first[name], last[name], _share(first, name), _share(last, name),
            rank_correlation(_steps_of(weighed[name]), _steps_of(norms)),
        )
        for name in names
    ]  # fmt: skip


def _share(sizes: Mapping[str, float], name: str) -> float:
    whole = math.fsum(abs(one) for one in sizes.values())
    return abs(sizes[name]) / whole if whole else 0.0


def _steps_of(values: Sequence[float]) -> list[float]:
    """From every value to the next: what two falling curves have in common is taken out."""
    return [later - earlier for earlier, later in pairwise(values)]


def unsteady(story: Story, facts: Facts) -> str:
    """What was unsteady in the run, in words; empty of a steady one."""
    told = []
    leapt = sum(len(spikes(story, stage, facts)) for stage in story.stages)
    if leapt:
        told.append(f"the loss leapt {leapt} time{'s' if leapt > 1 else ''}")
    skipped = sum(int(story.of_stage(stage)[-1]["skipped"]) for stage in story.stages)
    if skipped:
        told.append(f"{skipped} step{'s' if skipped > 1 else ''} had no finite gradient")
    variance = gradient_variance(story, facts)
    if variance > 1:
        told.append(f"the gradient's norm varies by {variance:.2g} of its mean squared")
    return " and ".join(told)


def _terms(story: Story, facts: Facts) -> Iterator[Diagnosis]:
    """Unsteadiness, beside the terms of the loss that it goes with."""
    wrong = unsteady(story, facts)
    if not wrong:
        return
    for stage in story.stages:
        found = terms(story, stage, facts)
        if not found:
            continue
        grown = [one for one in found if abs(one.last) > GROWN * abs(one.first)]
        linked = max(found, key=lambda one: one.with_norm)
        words = "; ".join(
            f"{one.name} {one.first:.3g} ({one.first_share:.0%}) to {one.last:.3g} "
            f"({one.last_share:.0%})"
            for one in found
        )
        evidence = (
            f"{wrong[0].upper()}{wrong[1:]}. Weighted terms of the loss in {stage}, from its "
        )
        evidence += f"first tenth after warm-up to its last: {words}."
        if grown:
            evidence += f" Grown: {', '.join(one.name for one in grown)}."
        if linked.with_norm >= STRONG:
            evidence += (
                f" The gradient's norm rises and falls with {linked.name}: rank correlation of "
                f"their changes {linked.with_norm:.2f}."
            )
        blamed = linked if linked.with_norm >= STRONG else max(found, key=lambda o: o.last_share)
        yield Diagnosis(
            "Unsteady, with several terms in the loss",
            evidence,
            f"a smaller `weight` of {blamed.name} in the stage's `objectives`, or a lower `lr`.",
        )
