"""`mmcore bench scaling`: a step on many GPUs, by a model fed with measured packs."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import attrs
import click

from mmcore.cli.layout import columns, heading

if TYPE_CHECKING:
    from mmcore.benchmarks.scaling import Scaling, StepCosts
    from mmcore.planning.report import Plan, StagePlan


@click.command()
@click.argument("recipe", type=click.Path(path_type=Path))
@click.argument("pace", type=click.Path(path_type=Path))
@click.option(
    "--set", "overrides", multiple=True, metavar="KEY=VALUE", help="Change a key of the recipe."
)
@click.option(
    "--gpus",
    multiple=True,
    type=click.IntRange(min=1),
    default=(1, 8, 64, 512),
    show_default=True,
    help="How many GPUs; may be repeated.",
)
@click.option(
    "--zero",
    type=click.IntRange(0, 3),
    help="Stage of ZeRO.  [default: the recipe's, or 2 where its engine has none]",
)
@click.option("--gpu", help="Scale the measured packs to this kind, such as h100-80g.")
@click.option(
    "--mfu",
    default=0.4,
    show_default=True,
    type=click.FloatRange(min=0, max=1, min_open=True),
    help="Share of the kind's peak rate.",
)
@click.option("--stage", "wanted", help="Simulate this stage, with packs as the first in PACE.")
@click.option("--node", default=8, show_default=True, type=click.IntRange(min=1), help="Its GPUs.")
@click.option(
    "--inside",
    default=450.0,
    show_default=True,
    type=click.FloatRange(min=0, min_open=True),
    help="GB/s of a GPU to others of its node.",
)
@click.option(
    "--between",
    default=50.0,
    show_default=True,
    type=click.FloatRange(min=0, min_open=True),
    help="GB/s of a GPU to other nodes.",
)
@click.option(
    "--hidden",
    default=0.8,
    show_default=True,
    type=click.FloatRange(0, 1),
    help="Share of the computing behind which exchanges can hide.",
)
@click.option("--json", "as_json", is_flag=True, help="One object a stage, for programs.")
def command(
    recipe: Path,
    pace: Path,
    overrides: tuple[str, ...],
    gpus: tuple[int, ...],
    zero: int | None,
    gpu: str | None,
    mfu: float,
    wanted: str | None,
    node: int,
    inside: float,
    between: float,
    hidden: float,
    as_json: bool,
) -> None:
    """Simulate the steps of RECIPE on many GPUs from what its packs cost on one.

    PACE is what `mmcore bench RECIPE --json` printed. This is a model, not a measurement: what it
    assumes is in docs/performance.md.
    """
    from mmcore.benchmarks.scaling import Fabric, simulate
    from mmcore.benchmarks.scaling_costs import Exchange, read_paces, step_costs
    from mmcore.planning.planner import plan
    from mmcore.recipe import load_recipe

    loaded = load_recipe(recipe, overrides)
    fabric = Fabric(node=node, inside=inside * 1e9, between=between * 1e9, hidden=hidden)
    paces = read_paces(pace)
    by_stage = {wanted: paces[0]} if wanted else {one["stage"]: one for one in paces}
    planned = plan(loaded, gpu=gpu, mfu=mfu)
    stages = {stage.name: stage for stage in planned.stages}
    tables = []
    for name, measured in by_stage.items():
        if name not in stages:
            raise click.UsageError(f"no stage {name!r}; the recipe's are {', '.join(stages)}")
        stage = stages[name]
        exchanged = Exchange.of(
            getattr(loaded.engine, "zero", 2) if zero is None else zero,
            learning=sum(part.trainable for part in stage.parts),
            frozen=sum(part.frozen for part in stage.parts),
            precision=loaded.engine.precision,
        )
        costs = step_costs(
            measured,
            packs=stage.packs_per_step,
            exchanged=exchanged,
            pack_seconds=_pack_seconds(stage, planned),
        )
        found = [simulate(costs, fabric, count) for count in gpus if count <= costs.packs]
        tables.append(
            {"stage": name, "zero": exchanged.zero, "gpus": [attrs.asdict(one) for one in found]}
        )
        if not as_json:
            for line in _lines(name, exchanged.zero, costs, found):
                click.echo(line)
    if as_json:
        click.echo(json.dumps(tables, indent=2))


def _pack_seconds(stage: StagePlan, planned: Plan) -> float | None:
    """Of a full pack on the kind of GPU that was named, if one was."""
    if planned.peak is None:
        return None
    return stage.flops.total / stage.packs_per_step / (planned.peak * planned.mfu)


def _lines(stage: str, zero: int, costs: StepCosts, found: list[Scaling]) -> Iterator[str]:
    yield heading(f"stage {stage}, a simulation")
    mean = sum(costs.pack_seconds) / len(costs.pack_seconds)
    yield (
        f"  {costs.packs} packs a step of {min(costs.pack_seconds):.3f} to "
        f"{max(costs.pack_seconds):.3f} s, {mean:.3f} s in the mean; ZeRO {zero}: a rank exchanges "
        f"{costs.pack_bytes / 1e9:.3g} GB a pack and {costs.step_bytes / 1e9:.3g} GB a step"
    )
    rows = [("GPUs", "step (s)", "waiting", "talking", "efficiency")]
    rows += [
        (
            f"{one.gpus}",
            f"{one.step_seconds:.3f}",
            f"{one.waiting:.1%}",
            f"{one.talking:.1%}",
            f"{one.efficiency:.1%}",
        )
        for one in found
    ]
    yield columns(rows, "  ", numbers=range(5))
