"""A sweep as one document, of which the page, the Markdown and the files are made."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import attrs

from mmcore.reporting.diagnosis import Diagnosis
from mmcore.reporting.durations import duration
from mmcore.reporting.story import Line
from mmcore.reporting.sweep import tables
from mmcore.reporting.sweep.cells import SweepStory, read
from mmcore.reporting.sweep.diagnosis import diagnoses
from mmcore.reporting.sweep.drawing import Picture
from mmcore.reporting.sweep.figures import pictures
from mmcore.reporting.sweep.measures import Grid, grid
from mmcore.reporting.sweep.origin import origin
from mmcore.reporting.sweep.reading import reading
from mmcore.reporting.sweep.tables import Table, spanned, thousands


@attrs.frozen
class Document:
    """What is to be said of a sweep.

    Attributes:
        name: of the sweep.
        title: the question that it asks, or else its name.
        facts: how it was run: what and the words, in their order.
        reading: sentences.
        diagnoses: signatures of known failures.
        tables: of numbers.
        pictures: of curves and axes.
        ends: tables of cells, at the end.
        commands: that make it again.
        file: text of the sweep's own file, fit to make it again elsewhere.
        whole: whether every cell finished.
    """

    name: str
    title: str
    facts: Sequence[tuple[str, str]]
    reading: Sequence[str]
    diagnoses: Sequence[Diagnosis]
    tables: Sequence[Table]
    pictures: Sequence[Picture]
    ends: Sequence[Table]
    commands: Sequence[str]
    file: str
    whole: bool


def document(folder: Path) -> tuple[Document, Grid]:
    """The document, and the numbers that it is made of.

    Raises:
        SweepFolderError: no sweep lies there.
    """
    found = grid(read(folder))
    story = found.story
    left_out = tables.left_out(story)
    asked = origin(folder, story.file)
    made = Document(
        name=story.sweep.name,
        title=asked.question or story.sweep.name,
        facts=list(_facts(story)),
        reading=reading(found),
        diagnoses=diagnoses(found),
        tables=[*([left_out] if left_out else []), *tables.tables(found)],
        pictures=pictures(found),
        ends=[tables.cells(story)] if story.ran else [],
        commands=_commands(story),
        file=asked.file,
        whole=story.whole,
    )
    return made, found


def _facts(story: SweepStory) -> Iterator[tuple[str, str]]:
    sweep = story.sweep
    yield "sweep", sweep.name
    for axis in sweep.axes:
        yield f"axis {axis.name}", ", ".join(axis.values)
    yield "seeds", ", ".join(map(str, sweep.seeds))
    yield "cells", f"{len(story.ran)} finished of {len(sweep.cells)}"
    if not story.ran:
        return
    starts = [start for run in story.ran for start in run.story.starts]
    outcomes = [run.outcome for run in story.ran]
    yield "date", _span(sorted(start["started"][:10] for start in starts))
    yield "processor", _each(_machine(one.environment) for one in outcomes)
    yield "cores", _each(str(start["cores"]) for start in starts if "cores" in start)
    yield "device", _each(f"{start['device']}, {start['ranks']} process(es)" for start in starts)
    yield "versions", _each(_versions(start) for start in starts)
    yield "budget of a cell", _budget(story)
    yield "time", f"{duration(sum(one.seconds for one in outcomes))} over all cells"


def _commands(story: SweepStory) -> list[str]:
    at_a_time = {run.outcome.environment.get("parallel", 1) for run in story.ran}
    parallel = f" --parallel {max(at_a_time)}" if max(at_a_time, default=1) > 1 else ""
    name = story.sweep.name
    return [f"mmcore sweep {name}.toml{parallel}", f"mmcore report sweeps/{name}"]


def _machine(told: Mapping[str, Any]) -> str:
    words = [str(told.get("cpu", "unknown"))]
    if "threads" in told:
        words.append(f"{told['threads']} thread(s) a cell")
    if "parallel" in told:
        words.append(f"{told['parallel']} cell(s) at a time")
    return ", ".join(words)


def _versions(start: Line) -> str:
    packages = start["packages"]
    shown = ("mmcore", "torch", "transformers", "numpy")
    words = [f"{name} {packages[name]}" for name in shown if packages.get(name)]
    if start.get("python"):
        words.append(f"Python {start['python']}")
    return ", ".join(words)


def _budget(story: SweepStory) -> str:
    tokens = [run.cell.tokens for run in story.ran if run.cell.tokens is not None]
    flops = [run.cell.flops for run in story.ran if run.cell.flops is not None]
    words = []
    if tokens:
        words.append(f"{spanned(tokens, thousands)} tokens")
    if flops:
        words.append(f"{spanned(flops, '{:.3g}'.format)} FLOPs")
    return ", ".join(words) or "not known before the run"


def _span(days: Sequence[str]) -> str:
    return days[0] if days[0] == days[-1] else f"{days[0]} to {days[-1]}"


def _each(words: Iterable[str]) -> str:
    """Every one once."""
    return "; ".join(dict.fromkeys(words)) or "unknown"
