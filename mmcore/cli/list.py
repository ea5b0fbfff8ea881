"""`mmcore list`: the components that the installed plugins provide."""

from __future__ import annotations

import click

from mmcore.cli.layout import columns, heading
from mmcore_registry import discover, nearest


@click.command()
@click.option("--kind", metavar="KIND", help="Only this kind, such as token_sampler.")
def command(kind: str | None) -> None:
    """List the components that the installed plugins provide."""
    registry = discover()
    kinds = registry.kinds()
    if kind is not None and kind not in kinds:
        close = nearest(kind, kinds)
        hint = f" Did you mean {close!r}?" if close else ""
        raise click.BadParameter(
            f"{kind!r} is no kind of component.{hint} Kinds: {', '.join(kinds)}.",
            param_hint="--kind",
        )
    for one in [kind] if kind else kinds:
        click.echo(heading(one))
        rows = [
            (registry.use(component.spec), component.summary, component.distribution)
            for component in registry.components(one)
        ]
        click.echo(columns(rows, indent="  "))
    absent = [plugin for plugin in registry.plugins() if plugin.status != "loaded"]
    for plugin in absent:
        click.echo(f"plugin {plugin.name} is {plugin.status}: {plugin.reason}", err=True)
