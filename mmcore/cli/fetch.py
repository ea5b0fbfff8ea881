"""`mmcore fetch`: bring the weights and tokenizers of a recipe, and pin them."""

from __future__ import annotations

import shutil
from pathlib import Path

import click

from mmcore.cli.layout import columns


@click.command()
@click.argument("recipe", type=click.Path(path_type=Path))
@click.option(
    "--set",
    "overrides",
    multiple=True,
    metavar="KEY=VALUE",
    help="Change the recipe first, as in model.llm.weights=hf://owner/name.",
)
@click.option("--dry-run", is_flag=True, help="List what would be fetched, and how large it is.")
@click.option("--update", is_flag=True, help="Take what the hub has now, and renew the lock file.")
def command(recipe: Path, overrides: tuple[str, ...], dry_run: bool, update: bool) -> None:
    """Bring the weights and tokenizers of RECIPE from the hub, and pin them.

    A download that was cut off goes on where it ended. The first fetch of recipes/NAME.toml writes
    recipes/NAME.lock.toml with commits, sizes and hashes; later ones check every byte against it.
    """
    from mmcore.fetching import Hub, fetch, items, outline
    from mmcore.recipe import load_recipe, lock_path

    hub = Hub()
    loaded = load_recipe(recipe, overrides, locked=False)
    repositories = outline(loaded, recipe, hub=hub, update=update)
    if not repositories:
        click.echo(f"{recipe} wants nothing from a hub")
        return
    listed = items(hub, repositories)
    rows = [
        (one.hub_id, one.name, sized(one.size), "here" if one.here else "to fetch")
        for one in listed
    ]
    click.echo(columns(rows))
    missing = sum(one.size for one in listed if not one.here)
    click.echo(f"{sized(missing)} to fetch, {sized(sum(one.size for one in listed))} in all")
    if dry_run:
        return
    _check_room(hub.folder(repositories[0].hub_id.repository).parent, missing)
    done = fetch(recipe, repositories, hub=hub, say=click.echo)
    lock = lock_path(recipe)
    count = "1 file" if len(done.items) == 1 else f"{len(done.items)} files"
    told = f"written to {lock}" if done.lock_changed else f"as {lock} says"
    click.echo(f"{count} checked, {told}")


def sized(count: int) -> str:
    """Bytes for people: powers of ten."""
    for unit, size in (("GB", 10**9), ("MB", 10**6), ("kB", 10**3)):
        if count >= size:
            return f"{count / size:.1f} {unit}"
    return f"{count} B"


def _check_room(cache: Path, missing: int) -> None:
    there = next(one for one in (cache, *cache.parents) if one.exists())
    free = shutil.disk_usage(there).free
    if free < missing:
        raise click.ClickException(
            f"{cache} has {sized(free)} free, {sized(missing)} are to be fetched: make room, or "
            "set HF_HUB_CACHE to a folder on a larger disk"
        )
