"""The command `mmcore`: which verbs there are, without importing any before it is called."""

from __future__ import annotations

import click

from mmcore import __version__
from mmcore.cli.verbs import Verbs

VERBS = {
    "run": "Train what RECIPE describes; the results go to runs/NAME.",
    "sweep": "Run the cells of SWEEP: a recipe with axes of changes and seeds; into sweeps/NAME.",
    "replay": "Make one step of a run again, watched: norms of all modules, losses, samples.",
    "fetch": "Bring the weights and tokenizers of RECIPE from the hub, and pin them.",
    "report": "Write a page of FOLDER, a run or a sweep: curves, scores, time, what went wrong.",
    "generate": "Ask the model of the folder RUN a QUESTION, and print its answer.",
    "check": "Find what is wrong with a recipe before anything is loaded.",
    "plan": "Say what a recipe costs: parameters, memory, FLOPs, steps and hours.",
    "list": "List the components that the installed plugins provide.",
    "show": "Show the keys of a component, or a recipe with every default filled in.",
    "plugins": "List the plugins, also those that could not be loaded, and why.",
    "import": "Make the model folder OUT of the checkpoint at PATH, and a receipt of it all.",
    "export": "Write the model of RUN (a run folder or a model folder) to the new folder OUT.",
    "data": "Look at a recipe's data: check, show, count or encode it; or fetch what is linked.",
    "bench": "Measure what is reached on this machine: by the verbs, by steps, by the data.",
}
"""Verb to the first line of its help."""


@click.command(
    cls=Verbs,
    verbs=VERBS,
    modules="mmcore.cli.",
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.version_option(__version__, prog_name="mmcore")
def main() -> None:
    """Train vision-language models that are composed, part by part, in a TOML recipe."""
