"""Signatures of known failures over the cells of a sweep, against what their recipes declare."""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Mapping, Sequence

from mmcore.reporting import diagnosis
from mmcore.reporting.diagnosis import FINER, Diagnosis, pictures_a_sample, terms
from mmcore.reporting.statistics import rank_correlation
from mmcore.reporting.sweep.cells import Ran, numeric
from mmcore.reporting.sweep.differences import Compared, compared
from mmcore.reporting.sweep.learning import yardstick
from mmcore.reporting.sweep.measures import Grid
from mmcore.reporting.sweep.reading import listed
from mmcore.reporting.sweep.trends import Trend, trend, trends

TOGETHER = 0.8
"""Rank correlation from which a source's share and the pictures a sample are one thing."""

LEAST_RATIO = 1.5
"""Of compressions, the largest over the smallest: of 9 tokens and 8, something else tells."""


def diagnoses(grid: Grid) -> list[Diagnosis]:
    """Of a sweep, and those of its runs; nothing of what there is no evidence for."""
    pairs = compared(grid)
    return [
        *_compression(grid, pairs),
        *_views(grid, pairs),
        *_shares(grid, pairs),
        *_balance(grid, pairs),
        *_of_runs(grid),
    ]


def _compression(grid: Grid, pairs: Sequence[Compared]) -> Iterator[Diagnosis]:
    """Errors rise with the patches that one token stands for."""
    declared = {
        run.cell.id: run.facts.compression
        for run in grid.story.ran
        if run.facts.compression is not None
    }
    if not declared:
        return
    low, high = min(declared.values()), max(declared.values())
    found = trends(grid, declared, pairs)
    worse = [one for one in found if one.side < 0]
    if high < LEAST_RATIO * low or not worse:
        return
    others = [one.name for one in found if one not in worse]
    tail = f" Not with it: {listed(others)}." if others else ""
    changed = _changed_with(grid, declared)
    if changed:
        tail += f" Along with the compression, the cells differ in {listed(changed)}."
    yield Diagnosis(
        "Errors rise with compression",
        f"From {low:.3g} to {high:.3g} patches a token, right answers fall in "
        f"{listed([str(one) for one in worse])}.{tail}",
        f"{FINER}.",
    )


def _views(grid: Grid, pairs: Sequence[Compared]) -> Iterator[Diagnosis]:
    """Errors rise where a picture may become fewer views; of stages that go together, the first."""
    told: list[Mapping[str, int]] = []
    for stage in dict.fromkeys(name for run in grid.story.ran for name in run.facts.stages):
        declared = {
            run.cell.id: views
            for run in grid.story.ran
            if (known := run.facts.stages.get(stage)) is not None
            and (views := known.views) is not None
        }
        found = trends(grid, declared, pairs)
        better = [one for one in found if one.side > 0]
        if not better or declared in told:
            continue
        told.append(declared)
        others = [one.name for one in found if one not in better]
        tail = f" Not with it: {listed(others)}." if others else ""
        yield Diagnosis(
            "Errors rise with fewer views of a picture",
            f"In {stage} a picture becomes at most {min(declared.values())} to "
            f"{max(declared.values())} views, by cell; with more of them right answers rise in "
            f"{listed([str(one) for one in better])}.{tail}",
            f"more tiles (`max_tiles`) in the `tiler` of {stage}.",
        )


def _changed_with(grid: Grid, declared: Mapping[str, float]) -> list[str]:
    """Axes of words: a sampler's name says more than its compression."""
    axes = [axis for axis in grid.story.sweep.axes if not numeric(axis.values)]
    return [axis.name for axis in axes if _moves(grid, axis.name, declared)]


def _moves(grid: Grid, axis: str, declared: Mapping[str, float]) -> bool:
    """Whether cells of other labels of the axis have another value."""
    by_label: dict[str, set[float]] = {}
    for run in grid.story.ran:
        if run.cell.id in declared:
            by_label.setdefault(run.cell.labels[axis], set()).add(declared[run.cell.id])
    return len({frozenset(values) for values in by_label.values()}) > 1


def _shares(grid: Grid, pairs: Sequence[Compared]) -> Iterator[Diagnosis]:
    """Accuracy goes with a source's share; of several, those with most pictures a sample."""
    pictures = {
        run.cell.id: shown
        for run in grid.story.ran
        if (shown := pictures_a_sample(run.story)) is not None
    }
    told: list[Sequence[float]] = []
    for stage, source in _sources(grid):
        declared = {
            run.cell.id: run.facts.stages[stage].shares.get(source, 0.0)
            for run in grid.story.ran
            if stage in run.facts.stages
        }
        with_pictures = _together(declared, pictures) if _grows(pictures) else 0.0
        several = with_pictures > TOGETHER
        if with_pictures < -TOGETHER:
            continue  # its complement is the one to look at
        values = list(declared.values())
        if any(abs(rank_correlation(values, other)) > 0.99 for other in told):
            continue  # shares add up to one: it was said already
        found = list(_share(grid, pairs, stage, source, declared, pictures if several else {}))
        told += [values] * len(found)
        yield from found


def _together(one: Mapping[str, float], other: Mapping[str, float]) -> float:
    """Rank correlation over the cells that have both."""
    both = [cell for cell in one if cell in other]
    return rank_correlation([one[cell] for cell in both], [other[cell] for cell in both])


def _sources(grid: Grid) -> list[tuple[str, str]]:
    """Of every stage, the sources whose share is not the same in all cells."""
    shares: dict[tuple[str, str], list[float]] = {}
    for run in grid.story.ran:
        for stage, facts in run.facts.stages.items():
            for source, share in facts.shares.items():
                shares.setdefault((stage, source), []).append(round(share, 6))
    cells = len(grid.story.ran)
    return [key for key, found in shares.items() if len(set(found)) > 1 or len(found) < cells]


def _grows(values: Mapping[str, float]) -> bool:
    return bool(values) and max(values.values()) > 1.1 * min(values.values())


def _share(
    grid: Grid,
    pairs: Sequence[Compared],
    stage: str,
    source: str,
    declared: Mapping[str, float],
    pictures: Mapping[str, float],
) -> Iterator[Diagnosis]:
    found = trends(grid, declared, pairs)
    better = [one for one in found if one.side > 0]
    worse = [one for one in found if one.side < 0]
    if not better and not worse:
        return
    words = []
    if better:
        words.append(f"right answers rise in {listed([str(one) for one in better])}")
    if worse:
        words.append(f"they fall in {listed([str(one) for one in worse])}")
    low, high = min(declared.values()), max(declared.values())
    name = f"{source} ({'/'.join(dict.fromkeys(_asks(grid, stage, source)))})"
    told = name if _asks(grid, stage, source) else source
    shown = ""
    if pictures:
        least, most = min(pictures.values()), max(pictures.values())
        shown = f", which made {least:.2f} to {most:.2f} pictures a sample"
    title = "several pictures" if pictures else "a source"
    advice = []
    if better:
        advice.append(f"a larger `share` of {source} in {stage} for {_names(better)}")
    if worse:
        advice.append(f"a smaller one for {_names(worse)}")
    yield Diagnosis(
        f"Accuracy goes with the share of {title}",
        f"The share of {told} in {stage} from {low:.0%} to {high:.0%}{shown}: {'; '.join(words)}.",
        f"{', '.join(advice)}.",
    )


def _names(trends: Sequence[Trend]) -> str:
    return listed([one.name for one in trends])


def _asks(grid: Grid, stage: str, source: str) -> tuple[str, ...]:
    for run in grid.story.ran:
        facts = run.facts.stages.get(stage)
        if facts is not None and facts.kinds.get(source):
            return facts.kinds[source]
    return ()


def _balance(grid: Grid, pairs: Sequence[Compared]) -> Iterator[Diagnosis]:
    """The gradient is less steady where other terms make up more of the loss."""
    yard = yardstick(grid.story)
    if yard is None or not yard.objective:
        return
    declared = {
        run.cell.id: share
        for run in grid.story.ran
        if (share := _other_share(run, yard.stage, yard.objective)) is not None
    }
    found = trend(grid, "variance", declared, pairs, "gradient variance")
    if found is None or found.side < 1:
        return
    leapt = trend(grid, "spikes", declared, pairs)
    also = f" and {leapt}" if leapt is not None and leapt.side > 0 else ""
    low, high = min(declared.values()), max(declared.values())
    yield Diagnosis(
        "Less steady with more other terms in the loss",
        f"Terms beside {yard.objective} make up {low:.0%} to {high:.0%} of the weighted loss in "
        f"{yard.stage}; with that share rises {found}{also}.",
        f"smaller `weight`s of the terms beside {yard.objective} in the stage's `objectives`, or a "
        "lower `lr`.",
    )


def _other_share(run: Ran, stage: str, objective: str) -> float | None:
    facts = run.facts.stages.get(stage)
    if facts is None:
        return None
    if len(facts.objectives) == 1:
        return 0.0
    found = terms(run.story, stage, run.facts)
    if not found:
        return None
    others = [one for one in found if one.name != objective]
    return statistics.fmean(
        [sum(one.first_share for one in others), sum(one.last_share for one in others)]
    )


def _of_runs(grid: Grid) -> Iterator[Diagnosis]:
    """What single runs show, once for all of them, with the words of the first."""
    found: dict[str, list[tuple[str, Diagnosis]]] = {}
    for run in grid.story.ran:
        for one in diagnosis.diagnoses(run.story, run.facts):
            found.setdefault(one.title, []).append((run.cell.id, one))
    cells = len(grid.story.ran)
    for title, told in found.items():
        named, first = list(dict.fromkeys(cell for cell, _ in told)), told[0][1]
        where = f"In {len(named)} of {cells} cells"
        if len(named) < cells:
            where += f": {listed(named)}"
        yield Diagnosis(title, f"{where}. In {named[0]}, {first.evidence}", first.advice)
