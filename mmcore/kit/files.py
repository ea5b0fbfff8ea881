"""From the path, URL or pattern of a recipe to the files it means."""

from __future__ import annotations

import glob
from pathlib import Path, PurePosixPath

from mmcore.interfaces import Shard
from mmcore.kit import store


def folder_of(pattern: str) -> str:
    """The deepest folder that a path, URL or glob pattern names without a wildcard."""
    if store.is_url(pattern):
        scheme, _, rest = pattern.partition("://")
        parts = PurePosixPath(rest).parts
        return f"{scheme}://{'/'.join(parts[: _plain_parts(parts)]).removeprefix('/')}"
    parts = Path(store.local(pattern)).parts
    return str(Path(*parts[: _plain_parts(parts)]))


def find_shards(pattern: str) -> tuple[Shard, ...]:
    """The files that a path, URL or glob pattern means, in the order of their names.

    Their names are those below ``folder_of(pattern)``, so they are the same wherever the files
    lie.

    Raises:
        FileNotFoundError: it means none.
    """
    if store.is_url(pattern):
        return _of_store(pattern)
    pattern = store.local(pattern)
    folder = folder_of(pattern)
    found = sorted(Path(match) for match in glob.glob(pattern, recursive=True))
    files = [path for path in found if path.is_file()]
    if not files:
        where = f"below {str(Path.cwd())!r}"
        raise _none(pattern, where, is_folder=Path(pattern).is_dir())
    return tuple(Shard(path.relative_to(folder).as_posix(), str(path)) for path in files)


def pictures_root(images: str, shard: Shard) -> str:
    """The folder below which a shard's pictures lie: ``images``, or the shard's own folder."""
    if images or not store.is_url(shard.path):
        return images or str(Path(shard.path).parent)
    return shard.path.rpartition("/")[0]


def _of_store(pattern: str) -> tuple[Shard, ...]:
    """One listing below the pattern's plain folder."""
    files, inner = store.filesystem(pattern)
    folder = PurePosixPath(store.filesystem(folder_of(pattern))[1])
    if glob.has_magic(inner):
        # The names of object stores change in no listing that is asked for anew.
        files.invalidate_cache()
        found = files.glob(inner, detail=True)
        names = [name for name, info in found.items() if info["type"] == "file"]
    else:
        names = [inner] if files.isfile(inner) else []
    below = sorted((PurePosixPath(name).relative_to(folder), name) for name in names)
    # As on the local disk: what begins with a dot matches no pattern.
    shown = [(short, name) for short, name in below if not _is_hidden(short, pattern)]
    if not shown:
        is_folder = not glob.has_magic(inner) and files.isdir(inner)
        raise _none(pattern, "in the store", is_folder=is_folder)
    return tuple(Shard(short.as_posix(), files.unstrip_protocol(name)) for short, name in shown)


def _none(pattern: str, where: str, *, is_folder: bool) -> FileNotFoundError:
    hint = ", it is a folder; name its files with a pattern" if is_folder else ""
    return FileNotFoundError(f"no file matches {pattern!r} {where}{hint}")


def _is_hidden(path: PurePosixPath, pattern: str) -> bool:
    return "/." not in pattern and any(part.startswith(".") for part in path.parts)


def _plain_parts(parts: tuple[str, ...]) -> int:
    return next((n for n, part in enumerate(parts) if glob.has_magic(part)), len(parts) - 1)
