"""The lock file beside a recipe: which commit and which bytes every hub id of it means."""

from __future__ import annotations

import os
import tomllib
from collections.abc import Mapping
from pathlib import Path

import attrs
import tomli_w
from cattrs import Converter
from cattrs.errors import BaseValidationError

from mmcore.recipe.tree import Node

SUFFIX = ".lock.toml"
HUB = "hf://"

HEADER = """\
# Written by `mmcore fetch`: the commit that every hub id of the recipe means, and the size (bytes)
# and SHA-256 of every file. Keep it with the recipe; `mmcore fetch RECIPE --update` renews it.

"""


class LockError(ValueError):
    """A lock file cannot be read; the message names it."""


@attrs.frozen
class LockedFile:
    """What a file's content must be."""

    size: int
    sha256: str


@attrs.frozen
class LockedRepository:
    """What a hub id means.

    Attributes:
        commit: full hash.
        patterns: file names that were asked for.
        files: what they matched, by name.
    """

    commit: str
    patterns: tuple[str, ...]
    files: dict[str, LockedFile]


Lock = Mapping[str, LockedRepository]
"""By hub id as the recipe writes it."""

_converter = Converter(forbid_extra_keys=True)


def lock_path(recipe: str | os.PathLike[str]) -> Path:
    """``recipes/a.toml`` has its lock in ``recipes/a.lock.toml``."""
    return Path(recipe).with_suffix(SUFFIX)


def read_lock(recipe: str | os.PathLike[str]) -> Lock:
    """The lock of a recipe; empty if it has none.

    Raises:
        LockError: there is one, and it is damaged.
    """
    path = lock_path(recipe)
    if not path.is_file():
        return {}
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
        return _converter.structure(table, dict[str, LockedRepository])
    except (ValueError, BaseValidationError, KeyError, TypeError) as error:
        raise LockError(
            f"{path} is no lock file ({type(error).__name__}): restore it, or delete it and run "
            f"`mmcore fetch {recipe}` again"
        ) from error


def lock_text(lock: Lock) -> str:
    """The lock as TOML."""
    return HEADER + tomli_w.dumps(_converter.unstructure(dict(sorted(lock.items()))))


def pinned(root: Node, lock: Lock) -> Node:
    """The tree with every locked hub id written out with its commit."""
    value = root.value
    if isinstance(value, dict):
        return attrs.evolve(root, value={key: pinned(one, lock) for key, one in value.items()})
    if isinstance(value, list):
        return attrs.evolve(root, value=[pinned(one, lock) for one in value])
    if isinstance(value, str) and value.startswith(HUB) and value in lock:
        bare = value.partition("@")[0]
        return attrs.evolve(root, value=f"{bare}@{lock[value].commit}")
    return root
