"""A sweep folder made by hand: three samplers, three seeds, known scores."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from itertools import product
from pathlib import Path

import attrs
import pytest

from mmcore.evaluation.scores import wilson
from mmcore.interfaces import Evaluation, KindScore
from mmcore.recipe import load_recipe, to_toml
from mmcore.sweeps.folder import Axis, Cell, Outcome, Sweep, cells_text

STEPS = 60
SEEDS = (1, 2, 3)
START = {
    "started": "2026-11-25T10:00:00+0000", "python": "3.11.7", "cores": 2, "ranks": 1,
    "device": "cpu", "command": ["mmcore", "run", "x.toml"],
    "packages": {"mmcore": "0.1.0", "torch": "2.10.0", "numpy": "2.4.6", "transformers": "5.23.0"},
}  # fmt: skip

Right = Callable[[str, int], int]
"""Of the point's labels, with commas between, and the seed: right answers of a hundred."""


@attrs.frozen(kw_only=True)
class Made:
    """How a sweep is made.

    Attributes:
        axes: names, and their values.
        overrides: of the tiny puzzles' recipe, by value.
        kinds: how many of a hundred are right, by kind or ``kind|level``.
        luck: in every kind.
        step: what a step has of its own, by value and step.
        states: cells that did not finish: ``failed``, ``unfinished`` or ``waiting``, by id.
    """

    axes: tuple[tuple[str, tuple[str, ...]], ...]
    overrides: Mapping[str, Sequence[str]]
    kinds: Mapping[str, Right]
    luck: float = 0.2
    seeds: tuple[int, ...] = SEEDS
    step: Callable[[str, int], Mapping[str, float]] = lambda value, number: {}
    states: Mapping[str, str] = attrs.field(factory=dict)
    measures: tuple[str, ...] = ()


def score(kind: str, right: int, luck: float) -> KindScore:
    kind, _, level = kind.partition("|")
    share = right / 100
    name = f"{kind} {level}" if level else kind
    return KindScore(name, 100, share, *wilson(share, 100), luck, 0.0, level)


def lines(path: Path, entries: Sequence[Mapping[str, object]]) -> None:
    path.write_text("".join(f"{json.dumps(one)}\n" for one in entries))


def step(number: int, seed: int, value: str, more: Mapping[str, float]) -> dict[str, object]:
    noise = 0.05 * math.sin(7 * number + seed + len(value)) + 0.01 * len(value)
    return {
        "step": number, "stage": "single", "stage_step": number,
        "loss": 1 + 3 * math.exp(-number / 12) + noise, "grad_norm": 1 + noise, "lr": 1e-3,
        "tokens": 100.0, "seconds": 2.0, "tokens_per_second": 50.0, "data_wait_share": 0.0,
        "skipped": 0.0, "samples": 4.0, "pictures": 4.0, "time/other": 2.0, **more,
    }  # fmt: skip


def run_folder(folder: Path, made: Made, value: str, seed: int, recipe: str) -> None:
    folder.mkdir(parents=True)
    (folder / "recipe.toml").write_text(recipe)
    (folder / "environment.json").write_text(json.dumps([START]))
    steps = [step(n, seed, value, made.step(value, n)) for n in range(1, STEPS + 1)]
    lines(folder / "metrics.jsonl", steps)
    scores = tuple(score(kind, right(value, seed), made.luck) for kind, right in made.kinds.items())
    told = Evaluation("puzzle", "single", "single", STEPS, scores)
    lines(folder / "evaluations.jsonl", [attrs.asdict(told)])


def make(folder: Path, root: Path, made: Made) -> Path:
    """The folder of the sweep."""
    folder.mkdir()
    cells, outcomes = [], []
    names = [name for name, _ in made.axes]
    for point in product(*(values for _, values in made.axes)):
        keys = [key for label in point for key in made.overrides.get(label, ())]
        labels, value = dict(zip(names, point, strict=True)), ",".join(point)
        named = ",".join(f"{axis}={label}" for axis, label in labels.items())
        recipe = to_toml(load_recipe(root / "recipes" / "puzzles_tiny.toml", keys))
        for seed in made.seeds:
            cell = Cell(
                id=f"{named},seed={seed}", labels=labels, seed=seed,
                overrides=(*keys, f"seed={seed}"), tokens=6000.0, flops=1.2e12, trainable=1_200_000,
                steps=STEPS,
            )  # fmt: skip
            cells.append(cell)
            state = made.states.get(cell.id, "finished")
            if state == "waiting":
                continue
            run_folder(folder / "cells" / cell.id, made, value, seed, recipe)
            machine = {"cpu": "AMD EPYC 9B14", "threads": 1, "parallel": 1}
            if state == "failed":
                reason = "the loss was nan | <b> at step 7"
                outcomes.append(Outcome(id=cell.id, outcome="failed", seconds=3.0, reason=reason))
            elif state == "finished":
                outcomes.append(
                    Outcome(id=cell.id, outcome="finished", seconds=130.0, environment=machine)
                )
    sweep = Sweep(
        name=folder.name, axes=tuple(Axis(*axis) for axis in made.axes), seeds=made.seeds,
        measures=made.measures, cells=tuple(cells),
    )  # fmt: skip
    (folder / "cells.json").write_text(cells_text(sweep))
    (folder / "sweep.toml").write_text(
        'question = "Which connector?"\nrecipe = "../../../puzzles_tiny.toml"\n'
    )
    lines(folder / "outcomes.jsonl", [attrs.asdict(one) for one in outcomes])
    return folder


READ = {"mlp": (80, 62, 95), "perceiver": (60, 40, 80), "pooled": (40, 22, 60)}
"""Of a hundred texts, of small ones, and of large ones."""

SAMPLERS = Made(
    axes=(("sampler", ("mlp", "perceiver", "pooled")),),
    overrides={
        "mlp": ["model.token_sampler.use=mlp"],
        "perceiver": ["model.token_sampler.use=perceiver", "model.token_sampler.queries=4"],
        "pooled": ["model.token_sampler.use=perceiver", "model.token_sampler.queries=2"],
    },
    kinds={
        "colour": lambda value, seed: 96 + seed,
        "reading": lambda value, seed: READ[value][0] + seed * len(value) % 5,
        "reading|8px": lambda value, seed: READ[value][1] + seed,
        "reading|20px": lambda value, seed: READ[value][2] + seed,
        "compare": lambda value, seed: 19 + seed,
    },
)  # fmt: skip


@pytest.fixture(scope="module")
def sweep_of_samplers(tmp_path_factory, request) -> Path:
    """The whole sweep, not to be changed."""
    return make(tmp_path_factory.mktemp("sweeps") / "samplers", request.config.rootpath, SAMPLERS)


@pytest.fixture
def make_sweep(tmp_path, request) -> Callable[..., Path]:
    """Makes the sweep of samplers, or another, in a new folder."""

    def made(name: str = "samplers", base: Made = SAMPLERS, **changes: object) -> Path:
        return make(tmp_path / name, request.config.rootpath, attrs.evolve(base, **changes))

    return made
