"""What a person sees of a run: stages, a progress line, tables; plain lines in a log file."""

from __future__ import annotations

import time

from rich.console import Console
from rich.progress import (
    BarColumn,
    Progress,
    SpinnerColumn,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
)

from mmcore.interfaces import (
    Evaluation,
    Incident,
    RunInfo,
    StageInfo,
    StepReport,
    ValidationReport,
)
from mmcore.reporting.durations import duration
from mmcore_registry import hookimpl

SECONDS_BETWEEN_LINES = 10.0
"""How often a plain line is written where the output is no terminal."""

BY_SOURCE = "loss_by_source/"
"""Prefix of the sources' losses."""


class RunDisplay:
    """A tracker that prints. On a terminal a live line per stage, elsewhere a line now and then."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._progress: Progress | None = None
        self._bar: TaskID | None = None
        self._last_line = 0.0
        self._pace = Pace()

    @hookimpl
    def mmcore_run_start(self, run: RunInfo) -> None:
        resumed = f", going on after step {run.step}" if run.step else ""
        self._console.print(f"[bold]{run.name}[/bold] in {run.folder}{resumed}")

    @hookimpl
    def mmcore_activity(self, text: str) -> None:
        self._end_bar()
        self._console.print(f"[dim]{text}[/dim]", highlight=False)

    @hookimpl
    def mmcore_stage_start(self, stage: StageInfo) -> None:
        self._end_bar()
        self._console.rule(f"stage {stage.number} of {stage.stages}: {stage.name}", align="left")
        for line in stage.summary:
            self._console.print(line, highlight=False)
        self._pace = Pace()
        if self._console.is_terminal:
            self._start_bar(stage.name)

    @hookimpl
    def mmcore_stage_end(self, stage: StageInfo) -> None:
        self._end_bar()
        for line in stage.summary:
            self._console.print(line, highlight=False)

    @hookimpl
    def mmcore_step_end(self, report: StepReport) -> None:
        left = self._pace.left(report.progress, time.monotonic())
        told = facts(report) if left is None else f"{facts(report)}  {duration(left)} left"
        if self._progress is not None and self._bar is not None:
            self._progress.update(self._bar, completed=report.progress, facts=told, refresh=True)
        elif time.monotonic() - self._last_line >= SECONDS_BETWEEN_LINES:
            self._last_line = time.monotonic()
            self._console.print(f"{report.stage}  {report.progress:6.1%}  {told}", highlight=False)

    @hookimpl
    def mmcore_incident(self, incident: Incident) -> None:
        sources = ", ".join(f"{name} {loss:.3f}" for name, loss in incident.sources.items())
        self._console.print(
            f"[yellow]step {incident.step}[/yellow]: {incident.detail}"
            f"{f'; by source: {sources}' if sources else ''}",
            highlight=False,
        )

    @hookimpl
    def mmcore_validated(self, report: ValidationReport) -> None:
        # Above the live line, which goes on.
        console = self._console if self._progress is None else self._progress.console
        console.print(validation_line(report), highlight=False)

    @hookimpl
    def mmcore_evaluated(self, evaluation: Evaluation) -> None:
        self._end_bar()
        kinds = ", ".join(
            f"{score.kind} {score.accuracy:.0%} (luck {score.luck:.0%})"
            for score in evaluation.scores
            if not score.level
        )
        moment = f"after {evaluation.after}" if evaluation.after else "before training"
        self._console.print(f"{moment}: {evaluation.task}: {kinds}", highlight=False)

    @hookimpl
    def mmcore_run_end(self, status: str) -> None:
        self._end_bar()

    def _start_bar(self, name: str) -> None:
        self._progress = Progress(
            SpinnerColumn(),
            TextColumn(name),
            BarColumn(bar_width=24),
            TextColumn("{task.percentage:>3.0f}%"),
            TextColumn("{task.fields[facts]}"),
            TimeElapsedColumn(),
            console=self._console,
            auto_refresh=False,
        )
        self._progress.start()
        self._bar = self._progress.add_task(name, total=1.0, facts="")

    def _end_bar(self) -> None:
        if self._progress is not None:
            self._progress.stop()
        self._progress = self._bar = None


class Pace:
    """How long a stage will go on, judged by all of it that this process has seen; what an earlier
    one did is not counted as done in no time."""

    def __init__(self) -> None:
        self._began: tuple[float, float] | None = None

    def left(self, progress: float, now: float) -> float | None:
        """Seconds until ``progress`` is 1; None until two different ones are known."""
        if self._began is None:
            self._began = progress, now
        before, then = self._began
        if progress <= before:
            return None
        return (1.0 - progress) * (now - then) / (progress - before)


def facts(report: StepReport) -> str:
    """The measured values worth a glance, on one line."""
    values = report.values
    mfu = f"MFU {values['mfu']:.1%}  " if "mfu" in values else ""
    return (
        f"step {report.stage_step}  loss {values['loss']:.3f}  "
        f"{values['tokens_per_second']:,.0f} tokens/s  {mfu}"
        f"waiting for data {values['data_wait_share']:.0%}"
    )


def validation_line(report: ValidationReport) -> str:
    """A validation on one line: the loss, the sources' where there are several, and scores."""
    values = {name.removeprefix("validation/"): one for name, one in report.values.items()}
    sources = {
        name.removeprefix(BY_SOURCE): one
        for name, one in values.items()
        if name.startswith(BY_SOURCE)
    }
    apart = ", ".join(f"{name} {one:.3f}" for name, one in sources.items())
    scores = [
        f"{name} {one:.0%}"
        for name, one in values.items()
        if name not in ("loss", "labels", "samples", "seconds") and "/" not in name
    ]
    told = [
        f"step {report.step}: validation loss {values['loss']:.3f}",
        *([f"({apart})"] if len(sources) > 1 else []),
        *scores,
        *(["best so far"] if report.best else []),
    ]
    return "  ".join(told)
