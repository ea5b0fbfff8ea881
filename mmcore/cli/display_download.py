"""What a person sees of a download: a line for each part, and on a terminal a bar over a file."""

from __future__ import annotations

from typing import Self

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
)

from mmcore.cli.fetch import sized
from mmcore.downloading import Record


class DownloadDisplay:
    """A listener that writes to stderr."""

    def __init__(self) -> None:
        self._console = Console(stderr=True)
        self._bar: TaskID | None = None
        self._progress = Progress(
            SpinnerColumn(),
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TextColumn("rows"),
            TextColumn("{task.fields[facts]}"),
            TimeElapsedColumn(),
            console=self._console,
            disable=not self._console.is_terminal,
        )

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def file(self, name: str, number: int, files: int, rows: int | None, done: int) -> None:
        if self._bar is not None:
            self._progress.remove_task(self._bar)
        place = f"{number:,} of {files:,}: {name}"
        self._bar = self._progress.add_task(place, total=rows, completed=done, facts="")

    def fetching(self, links: int, arrived: int) -> None:
        assert self._bar is not None
        facts = f"{links:,} links are asked for, {sized(arrived)} are here"
        self._progress.update(self._bar, facts=facts)

    def part(self, name: str, record: Record) -> None:
        assert self._bar is not None
        counts = record.counts
        self._progress.update(self._bar, advance=counts.rows)
        alive = f", {counts.alive / counts.links:.0%} of them alive" if counts.links else ""
        self._console.print(
            f"{name}: {counts.rows:,} rows, {counts.links:,} links{alive}, "
            f"{sized(counts.picture_bytes)} in {record.seconds:.1f} s",
            highlight=False,
            markup=False,
            soft_wrap=True,
        )
