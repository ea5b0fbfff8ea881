"""What a person sees while a sweep runs: a line a cell, live on a terminal; else lines in a log."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from mmcore.cli.display import Pace
from mmcore.reporting.durations import duration
from mmcore.sweeps.folder import Cell, SweepFolder
from mmcore.sweeps.pool import Ended, Job
from mmcore.sweeps.watching import Follower

SECONDS_BETWEEN_LOOKS = 1.0
SECONDS_BETWEEN_LINES = 60.0
"""How often a line is written of cells that run, where the output is no terminal."""


class SweepDisplay:
    """A watcher that prints; within its ``with``, what runs is shown live on a terminal.

    Args:
        folder: of the sweep, as it was before.
        todo: cells that are to be run.
    """

    def __init__(self, console: Console, folder: SweepFolder, todo: Sequence[Cell]) -> None:
        self._console, self._folder = console, folder
        self._cells = {cell.id: cell for cell in todo}
        self._running: dict[str, _Running] = {}
        self._ended: list[Ended] = []
        self._looked = self._told = time.monotonic()
        self._live = Live(console=console, auto_refresh=False, transient=True)

    def __enter__(self) -> SweepDisplay:
        if self._console.is_terminal:
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._console.is_terminal:
            self._live.stop()

    def started(self, job: Job) -> None:
        self._running[job.id] = _Running(self._cells[job.id], Follower(self._folder.run(job.id)))
        if not self._console.is_terminal:
            self._print(f"{self._counts()}  {job.id} starts; log: {job.log}")

    def ended(self, ended: Ended) -> None:
        del self._running[ended.job.id]
        self._ended.append(ended)
        style = {"finished": "green", "failed": "red"}.get(ended.how, "yellow")
        told = Text.assemble(
            f"{self._counts()}  {ended.job.id} ",
            (ended.how, style),
            f" after {duration(ended.seconds)}",
            f": {ended.reason}; log: {ended.job.log}" if ended.reason else "",
        )
        self._console.print(told, soft_wrap=True)

    def looked(self) -> None:
        now = time.monotonic()
        if now - self._looked < SECONDS_BETWEEN_LOOKS:
            return
        self._looked = now
        if self._console.is_terminal:
            self._live.update(self._screen(now), refresh=True)
        elif now - self._told >= SECONDS_BETWEEN_LINES:
            self._told = now
            for name, one in self._running.items():
                self._print(f"{self._counts()}  {name}  {'  '.join(one.facts(now))}")

    def _counts(self) -> str:
        return f"[{len(self._ended)}/{len(self._cells)}]"

    def _screen(self, now: float) -> RenderableType:
        table = Table.grid(padding=(0, 2))
        for name, one in self._running.items():
            table.add_row(Text(name), *one.facts(now))
        failed = sum(one.how == "failed" for one in self._ended)
        waiting = len(self._cells) - len(self._ended) - len(self._running)
        words: Mapping[str, int] = {
            "finished": sum(one.how == "finished" for one in self._ended),
            "failed": failed,
            "running": len(self._running),
            "to do": waiting,
        }
        counts = ", ".join(f"{number} {word}" for word, number in words.items())
        return Group(table, Text(counts, style="red" if failed else "dim"))

    def _print(self, text: str) -> None:
        self._console.print(Text(text), soft_wrap=True)


class _Running:
    """A cell that runs, and how fast it does."""

    def __init__(self, cell: Cell, follower: Follower) -> None:
        self._cell, self._follower = cell, follower
        self._pace = Pace()

    def facts(self, now: float) -> tuple[str, ...]:
        reached = self._follower.look()
        if reached is None:
            return ("starting",)
        loss = "no loss" if reached.loss is None else f"loss {reached.loss:.3f}"
        where = f"{reached.stage} step {reached.step:,}"
        if not self._cell.tokens:
            return (where, loss)
        share = min(1.0, reached.tokens / self._cell.tokens)
        left = self._pace.left(share, now)
        told = "" if left is None else f"{duration(left)} left"
        return (where, loss, f"{share:.0%}", told)
