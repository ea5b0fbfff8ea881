"""`mmcore data index`: write an index beside each tar, so that training reads no header of it."""

from __future__ import annotations

import click


@click.command()
@click.argument("pattern")
def command(pattern: str) -> None:
    """Write an index beside each tar of PATTERN, so that no run reads its headers.

    PATTERN is a local path or a glob pattern in quotes, such as 'data/**/*.tar'. The index of 0.tar
    is 0.idx, in the form of NVIDIA DALI's wds2idx. Upload both to a store: without an index, the
    first visit of a tar there reads it from one end to the other.
    """
    from rich.console import Console
    from rich.progress import track

    from mmcore.kit import store
    from mmcore.kit.files import find_shards
    from mmcore.kit.tar_index import index_path, write_index

    if store.is_url(pattern):
        raise ValueError(f"{pattern!r} is in a store; write the indexes before the tars go there")
    shards = [shard for shard in find_shards(pattern) if shard.path != index_path(shard.path)]
    console = Console(stderr=True)
    members = 0
    for shard in track(shards, "tars", console=console, disable=not console.is_terminal):
        members += write_index(shard.path)
    click.echo(f"{len(shards)} indexes of {members:,} members written")
