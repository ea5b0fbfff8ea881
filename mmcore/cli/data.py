"""`mmcore data`: what may be done with a recipe's data, without importing any of it."""

from __future__ import annotations

import click

from mmcore.cli.verbs import Verbs

VERBS: dict[str, str] = {
    "index": "Write an index beside each tar of PATTERN, so that no run reads its headers.",
}
"""Verb to the first line of its help."""


@click.command(cls=Verbs, verbs=VERBS, modules="mmcore.cli.data_")
def command() -> None:
    """Look at a recipe's data: check it, show it, count it; or fetch what is linked."""
