"""From the path or pattern of a recipe to the files it means."""

from __future__ import annotations

import glob
from pathlib import Path

from mmcore.interfaces import Shard


def folder_of(pattern: str) -> Path:
    """The deepest folder that a path or glob pattern names without a wildcard."""
    parts = Path(pattern).parts
    plain = next((n for n, part in enumerate(parts) if glob.has_magic(part)), len(parts) - 1)
    return Path(*parts[:plain])


def find_shards(pattern: str) -> tuple[Shard, ...]:
    """The files that a path or glob pattern means, in the order of their names.

    Raises:
        FileNotFoundError: it means none.
    """
    folder = folder_of(pattern)
    found = sorted(Path(match) for match in glob.glob(pattern, recursive=True))
    files = [path for path in found if path.is_file()]
    if not files:
        hint = ", it is a folder; name its files with a pattern" if Path(pattern).is_dir() else ""
        raise FileNotFoundError(f"no file matches {pattern!r} below {str(Path.cwd())!r}{hint}")
    return tuple(Shard(path.relative_to(folder).as_posix(), str(path)) for path in files)


def pictures_root(images: str, shard: Shard) -> str:
    """The folder below which a shard's pictures lie: ``images``, or the shard's own folder."""
    return images or str(Path(shard.path).parent)
