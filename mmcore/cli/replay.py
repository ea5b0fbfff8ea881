"""`mmcore replay`: make one step of a run again, and show what happened in it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from mmcore.replaying.results import Replay

SHOWN_SAMPLES = 8
DEPTH = 4
"""Modules deeper in the model are shown only where something in them is not finite."""


@click.command()
@click.argument("run", type=click.Path(path_type=Path))
@click.option(
    "--step", required=True, type=click.IntRange(min=1), help="Number of the step within the run."
)
@click.option("--device", help="cpu, cuda, cuda:1, ...; by default the first GPU, else the CPU.")
@click.option(
    "--ranks", type=click.IntRange(min=1), help="Processes of the run then, if not as last time."
)
@click.option(
    "--before-rollback",
    is_flag=True,
    help="With the data that the run's last roll-back left out.",
)
@click.option("--json", "as_json", is_flag=True, help="Print all of it as one JSON object.")
def command(
    run: Path,
    step: int,
    device: str | None,
    ranks: int | None,
    before_rollback: bool,
    as_json: bool,
) -> None:
    """Make one step of a run again, watched: norms of all modules, losses, samples.

    It begins at the nearest checkpoint before the step, makes the steps in between, and changes
    nothing in the folder RUN.
    """
    from mmcore.replaying.replay import replay

    found = replay(
        run,
        step,
        device=device,
        ranks=ranks,
        before_rollback=before_rollback,
        say=lambda text: click.echo(text, err=True),
    )
    if as_json:
        click.echo(json.dumps(_table(found)))
    else:
        _show(found)


def _table(found: Replay) -> dict[str, object]:
    """As JSON has it: null for a number that is not finite."""
    import attrs

    told: dict[str, object] = _sayable(attrs.asdict(found))  # type: ignore[assignment]
    first = found.first_not_finite
    return told | {"first_not_finite": first.name if first else None}


def _sayable(value: object) -> object:
    if isinstance(value, dict):
        return {key: _sayable(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_sayable(one) for one in value]
    if isinstance(value, float) and not -float("inf") < value < float("inf"):
        return None
    return value


def _show(found: Replay) -> None:
    from rich.console import Console
    from rich.table import Column, Table

    console = Console()
    told = [
        f"step {found.step}, step {found.stage_step} of stage {found.stage}",
        f"from {found.start or 'the initial weights'}, {len(found.before)} steps in between"
        + _agreement(found),
        f"loss {found.loss:.6f}{_recorded(found, 'loss', found.loss)}",
        f"gradient norm {found.grad_norm:.6f}{_recorded(found, 'grad_norm', found.grad_norm)}",
        "by source: " + ", ".join(f"{name} {loss:.4f}" for name, loss in found.sources.items()),
    ]
    for line in told:
        console.print(line, highlight=False)
    columns = ("output rms", "output max", "its gradient", "parameters' gradient")
    numeric = (Column(name, min_width=9, justify="right") for name in columns)
    table = Table(Column("module", overflow="fold"), *numeric)
    shown = [one for one in found.modules if one.not_finite or one.name.count(".") < DEPTH]
    for one in shown:
        bad = f": {one.not_finite:,} numbers not finite" if one.not_finite else ""
        numbers = (one.output_gradient, one.parameter_gradient)
        gradients = ["-" if number is None else f"{number:.3e}" for number in numbers]
        table.add_row(
            f"{one.name}{bad}", f"{one.output_rms:.3e}", f"{one.output_max:.3e}", *gradients
        )
    console.print(table)
    if len(shown) < len(found.modules):
        deeper = len(found.modules) - len(shown)
        console.print(f"{deeper} modules within these: see --json", highlight=False)
    if (first := found.first_not_finite) is not None:
        words = (
            f"the first module to give what is not finite: {first.name}, pack {first.first_pack}"
        )
        console.print(words, highlight=False)
    _show_packs(found, console.print)


def _show_packs(found: Replay, say: object) -> None:
    assert callable(say)
    for number, pack in enumerate(found.packs, start=1):
        say(
            f"pack {number} (rank {pack.rank}, lane {pack.lane}): {pack.tokens:,} tokens, "
            f"{pack.views} views, {len(pack.samples)} samples",
            highlight=False,
        )
        for one in pack.samples[:SHOWN_SAMPLES]:
            mean = one.total / one.labels if one.labels else 0.0
            say(f"  {one.key}: {mean:.4f} over {one.labels} labels", highlight=False)
        if len(pack.samples) > SHOWN_SAMPLES:
            say(f"  and {len(pack.samples) - SHOWN_SAMPLES} more; see --json", highlight=False)


def _recorded(found: Replay, name: str, now: float) -> str:
    if name not in found.recorded:
        return ", not recorded"
    then = found.recorded[name]
    if then is None:
        return ", recorded as not finite"
    return (
        ", as recorded" if then == now else f", recorded {then:.6f} (differs by {now - then:.1e})"
    )


def _agreement(found: Replay) -> str:
    known = [one for one in found.before if one.recorded is not None]
    if not known:
        return ""
    largest = max(abs(one.loss - one.recorded) for one in known if one.recorded is not None)
    same = "all with the recorded losses" if largest == 0 else f"losses within {largest:.1e}"
    return f", {same}"
