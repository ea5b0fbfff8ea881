"""`mmcore bench`: what may be measured, without importing any of it."""

from __future__ import annotations

import click

from mmcore.cli.verbs import Verbs

VERBS = {
    "verbs": "Measure how long the light verbs take, beside an empty Python.",
    "steps": "Measure where the time of the steps of RECIPE goes.",
    "data": "Measure how fast the data of RECIPE is made ready.",
    "features": "Measure the steps of RECIPE with cached features and without.",
    "scaling": "Simulate the steps of RECIPE on many GPUs from what its packs cost on one.",
}
"""Verb to the first line of its help."""


@click.command(cls=Verbs, verbs=VERBS, modules="mmcore.cli.bench_", of_recipe="steps")
def command() -> None:
    """Measure what is reached on this machine: by the verbs, by steps, by the data.

    `mmcore bench RECIPE` means `mmcore bench steps RECIPE`. Every figure is printed as least,
    median and most over the repeats: machines are noisy.
    """
