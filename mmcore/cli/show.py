"""`mmcore show`: the keys of a component, the tables of a recipe, or a recipe written out."""

from __future__ import annotations

from pathlib import Path

import click

from mmcore_registry import Component, UnknownComponent, discover


@click.command()
@click.argument("words", nargs=-1, required=True, metavar="[KIND] NAME | RECIPE | recipe")
@click.option(
    "--set",
    "overrides",
    multiple=True,
    metavar="KEY=VALUE",
    help="Change a recipe first, as in stages.sft.optimizer.lr=2e-5.",
)
def command(words: tuple[str, ...], overrides: tuple[str, ...]) -> None:
    """Show the keys of a component, or a recipe with every default filled in.

    NAME is a component's name; KIND is wanted where several kinds have one of that name. RECIPE
    is a TOML file. The word "recipe" shows the tables that recipes are made of.
    """
    if len(words) > 2:
        raise click.UsageError("wanted a component's NAME, KIND NAME, or a recipe")
    name = words[-1]
    if len(words) == 1 and (name.endswith(".toml") or Path(name).is_file()):
        from mmcore.recipe import load_recipe, to_toml

        click.echo(to_toml(load_recipe(name, overrides)), nl=False)
        return
    if overrides:
        raise click.UsageError(f"--set changes a recipe, and {name!r} is none")
    from mmcore.cli.describe import describe_component, describe_schema

    if words == ("recipe",):
        click.echo(describe_schema())
        return
    found = _find(name, words[0] if len(words) == 2 else None)
    click.echo("\n\n".join(describe_component(component) for component in found))


def _find(name: str, kind: str | None) -> list[Component]:
    registry = discover()
    if kind is not None:
        spec = registry.get(kind, name)
        return [one for one in registry.components(kind) if one.spec is spec]
    everything = registry.components()
    found = [one for one in everything if name in (one.name, f"{one.distribution}:{one.name}")]
    if not found:
        raise UnknownComponent("component", name, sorted({one.name for one in everything}))
    return found
