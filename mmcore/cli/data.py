"""`mmcore data`: what may be done with a recipe's data, without importing any of it."""

from __future__ import annotations

import click

from mmcore.cli.verbs import Verbs

VERBS: dict[str, str] = {
    "download": "Fetch the pictures that the files INPUT of SOURCE name by links, into OUT.",
}
"""Verb to the first line of its help."""


@click.command(cls=Verbs, verbs=VERBS, modules="mmcore.cli.data_")
def command() -> None:
    """Look at a recipe's data: check it, show it, count it; or fetch what is linked."""
