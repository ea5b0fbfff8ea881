"""Train a checked recipe before a person's eyes, on one process or several."""

from __future__ import annotations

import os
import signal
import socket
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from multiprocessing import connection, get_context, parent_process
from multiprocessing.process import BaseProcess
from pathlib import Path
from types import FrameType

import attrs
import click
from rich.console import Console

from mmcore.cli.display import RunDisplay
from mmcore.cli.errors import exit_code
from mmcore.evaluation.table import final_table, stage_table
from mmcore.interfaces import Tracker
from mmcore.recipe import Recipe
from mmcore.run_folder.folder import Resume
from mmcore.running.run import RunResult, check_processes, run
from mmcore.training.launched import processes_launched
from mmcore.training.launcher_watch import VARIABLE, end_with_launcher
from mmcore.training.lost_ranks import LostRankError
from mmcore.training.profiling import StepProfiler
from mmcore.training.stopping import ASKS, SIGNALS

ASKING = (*SIGNALS, ASKS)
"""Signals that ask a run to stop."""

GRACE_SECONDS = 10.0
"""How long ranks may take to end after another one failed."""

LOST = 76
"""Exit code of a rank that ended because another one had."""


@attrs.frozen(kw_only=True)
class Wish:
    """How a recipe is to be run.

    Attributes:
        resume: "auto" or "never".
        stage: the only stage to train; None for all.
        until: the stage after which to stop; None for the last one.
        begin_from: whose weights the stage begins from; None for those of the one before.
        max_steps: stop and save after so many steps; None for any number.
        tables: whether the run's tables are printed at its end.
        profile: steps of which a trace is written; None for none.
        folder: the run folder; None for runs/NAME.
    """

    resume: Resume = "auto"
    stage: str | None = None
    until: str | None = None
    begin_from: Path | None = None
    max_steps: int | None = None
    tables: bool = True
    profile: int | None = None
    folder: Path | None = None


def train(recipe: Recipe, wish: Wish, *, procs: int, apart: bool = False) -> bool:
    """Run the recipe and print its progress.

    Args:
        procs: how many processes run it.
        apart: whether even a single one is a process of its own, as it must be for a run that
            others follow: engines hold on to what a process group was.

    Returns:
        False where processes of their own were asked to stop, and have saved.

    Raises:
        click.ClickException: a process failed; it has said why, or was killed.
        KeyboardInterrupt: they were asked to stop, and could not save.
    """
    if procs > 1 and (launched := processes_launched()) > 1:
        raise click.ClickException(
            f"--procs {procs} starts processes on this machine, and this one is one of {launched} "
            "that a launcher has started; leave --procs out"
        )
    if procs == 1 and not apart:
        _train_here(recipe, wish)
        return True
    check_processes(recipe, procs)
    end_with_launcher()  # a sweep that was killed; the ranks see to it that they end with this one
    port = _free_port()
    context = get_context("spawn")  # a fork would inherit threads, and CUDA
    ranks = [
        context.Process(target=_rank, args=(rank, procs, port, recipe, wish))
        for rank in range(procs)
    ]
    with _passed_on(ranks) as asked:
        failed = _wait(ranks)
    if failed and asked:
        raise KeyboardInterrupt
    if failed:
        raise click.ClickException(_failed(failed))
    return not asked


def _wait(ranks: Sequence[BaseProcess]) -> dict[int, int]:
    """Until all have ended. Where one fails, the others, which would wait for it, are ended.

    Returns:
        the exit codes of those that failed by themselves; of all that did, if none is known.
    """
    alive = dict(enumerate(ranks))
    failed: dict[int, int] = {}
    patience: float | None = None
    while alive and connection.wait([one.sentinel for one in alive.values()], patience):
        ended = {rank: one for rank, one in alive.items() if not one.is_alive()}
        alive = {rank: one for rank, one in alive.items() if rank not in ended}
        failed |= {rank: one.exitcode for rank, one in ended.items() if one.exitcode}
        if set(failed.values()) - {LOST}:
            break
        # One that was left alone may be here before the one that left it has had its say.
        patience = GRACE_SECONDS if failed else None
    _end(list(alive.values()))
    return {rank: code for rank, code in failed.items() if code != LOST} or failed


def _end(ranks: Sequence[BaseProcess]) -> None:
    for one in ranks:
        one.terminate()
    deadline = time.monotonic() + GRACE_SECONDS
    for one in ranks:
        one.join(max(0.0, deadline - time.monotonic()))
        if one.is_alive():
            one.kill()
            one.join()


def _rank(rank: int, size: int, port: int, recipe: Recipe, wish: Wish) -> None:
    """One of the processes: an error that speaks to users is a message here, too."""
    launcher = parent_process()
    assert launcher is not None, "made for processes that `train` starts"
    os.environ[VARIABLE] = str(launcher.pid)
    if size > 1:
        names = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": size, "MASTER_PORT": port}
        os.environ.update({name: str(value) for name, value in names.items()})
        os.environ["MASTER_ADDR"] = "localhost"
    try:
        _train_here(recipe, wish)
    except (Exception, KeyboardInterrupt) as error:
        code = exit_code(error)
        if code is None:
            raise
        sys.exit(LOST if isinstance(error, LostRankError) else code)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("localhost", 0))
        port: int = probe.getsockname()[1]
        return port


@contextmanager
def _passed_on(ranks: Sequence[BaseProcess]) -> Iterator[list[int]]:
    """Start the ranks; within, what asks this process to stop is theirs to heed.

    The first signal asks them, and so does every SIGUSR1, which never ends a run; another one that
    comes after it ends them.

    Returns:
        the signals that came, as they come.
    """
    asked: list[int] = []

    def forward(number: int, frame: FrameType | None) -> None:
        # A terminal or a cluster may tell them, too: what we send must not be their second signal.
        ends = number != ASKS and any(one != ASKS for one in asked)
        for one in ranks:
            if one.pid is not None and one.is_alive():
                os.kill(one.pid, signal.SIGTERM if ends else ASKS)
        asked.append(number)

    for one in ranks:
        one.start()
    usual = {number: signal.signal(number, forward) for number in ASKING}
    try:
        yield asked
    finally:
        for one_signal, handler in usual.items():
            signal.signal(one_signal, handler)


def _failed(codes: Mapping[int, int]) -> str:
    """Which ranks failed, by their exit codes; one that a signal ended could not say why."""
    killed = {rank: signal.Signals(-code).name for rank, code in codes.items() if code < 0}
    if killed:
        told = ", ".join(f"rank {rank} by {name}" for rank, name in sorted(killed.items()))
        hint = "; SIGKILL is most often the machine's memory running out"
        return f"killed: {told}{hint if 'SIGKILL' in killed.values() else ''}"
    ranks = ", ".join(str(rank) for rank in sorted(codes))
    if set(codes.values()) == {LOST}:
        return f"rank {ranks} lost the connection to the others, none of which has failed"
    return f"rank {ranks} failed; its message is above"


def _train_here(recipe: Recipe, wish: Wish) -> None:
    console = Console()
    listeners: list[Tracker] = [RunDisplay(console)]
    if wish.profile is not None:
        listeners.append(
            StepProfiler(wish.profile, lambda text: console.print(text, soft_wrap=True))
        )
    result = run(
        recipe,
        resume=wish.resume,
        stage=wish.stage,
        until=wish.until,
        begin_from=wish.begin_from,
        max_steps=wish.max_steps,
        listeners=listeners,
        folder=wish.folder,
    )
    if result.is_main and wish.tables:
        show(console, result)


def show(console: Console, result: RunResult) -> None:
    """The tables of a run, and where it lies."""
    if result.evaluations:
        console.print(stage_table(result.evaluations, result.stages))
        console.print(final_table(result.evaluations))
    ended = "finished" if result.finished else "stopped; run the same command to go on"
    console.print(f"{ended}: {result.folder}", highlight=False)
