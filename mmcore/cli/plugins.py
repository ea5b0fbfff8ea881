"""`mmcore plugins`: every plugin that is installed, how it fared, and why."""

from __future__ import annotations

import json

import attrs
import click

from mmcore.cli.layout import columns, heading
from mmcore_registry import discover

_COLOURS = {"loaded": "green", "blocked": "yellow", "broken": "red"}


@click.command()
@click.option("--json", "as_json", is_flag=True, help="As a JSON array, for programs.")
def command(as_json: bool) -> None:
    """List the plugins, also those that could not be loaded, and why."""
    plugins = discover().plugins()
    if as_json:
        click.echo(json.dumps([attrs.asdict(plugin) for plugin in plugins], indent=2))
        return
    titles = ("plugin", "distribution", "version", "status", "reason")
    rows = [
        (one.name, one.distribution, one.version, one.status, one.reason.replace("\n", " "))
        for one in plugins
    ]
    title, *lines = columns([titles, *rows]).splitlines()
    click.echo(heading(title))
    for plugin, line in zip(plugins, lines, strict=True):
        click.echo(line.replace(plugin.status, click.style(plugin.status, _COLOURS[plugin.status])))
