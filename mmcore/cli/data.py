"""`mmcore data`: what may be done with a recipe's data, without importing any of it."""

from __future__ import annotations

import click

from mmcore.cli.verbs import Verbs

VERBS: dict[str, str] = {
    "check": "Open every source of RECIPE, read some rows, and say what becomes of them.",
    "preview": "Show samples of RECIPE as the model gets them, on a page of their own.",
    "stats": "Count tokens, views and pictures of RECIPE's samples, and how packs are filled.",
    "download": "Fetch the pictures that the files INPUT of SOURCE name by links, into OUT.",
    "cache": "Keep what the frozen encoder of RECIPE makes of the pictures, for training.",
    "prepare-dpo": "Ask a model about RECIPE's preference pairs, and write them with what it says.",
    "index": "Write an index beside each tar of PATTERN, so that no run reads its headers.",
}
"""Verb to the first line of its help."""


@click.command(cls=Verbs, verbs=VERBS, modules="mmcore.cli.data_")
def command() -> None:
    """Look at a recipe's data: check, show, count or encode it; or fetch what is linked."""
