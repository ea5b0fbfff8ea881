"""Everything that a recipe wants of a hub: outlined, brought, checked against the lock, locked."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from fnmatch import fnmatchcase

import attrs

from mmcore.fetching.download import cached, download, sha256_of
from mmcore.fetching.hub import FetchError, Hub, HubFile, HubId
from mmcore.interfaces import FilledSpec, Wanted
from mmcore.recipe import (
    LockedFile,
    LockedRepository,
    Recipe,
    lock_path,
    lock_text,
    read_lock,
)


@attrs.frozen
class Item:
    """One file that belongs to a recipe.

    Attributes:
        hub_id: as the recipe writes it.
        name: of the file.
        size: bytes.
        here: whether the cache has it.
    """

    hub_id: str
    name: str
    size: int
    here: bool


@attrs.frozen
class Repository:
    """What one hub id means for this recipe: from the lock, from the hub, or from both.

    Attributes:
        hub_id: what the recipe writes.
        commit: full hash.
        patterns: file names that are wanted.
        files: name to size.
        announced: what the hub says of them; empty where the lock and the cache suffice.
        locked: what the lock says of them, by name.
    """

    hub_id: HubId
    commit: str
    patterns: tuple[str, ...]
    files: Mapping[str, int]
    announced: Mapping[str, HubFile]
    locked: Mapping[str, LockedFile]


@attrs.frozen
class Fetched:
    """How a fetch ended: the files, and whether the lock was written anew."""

    items: tuple[Item, ...]
    lock_changed: bool


def outline(
    recipe: Recipe, path: str | os.PathLike[str], *, hub: Hub, update: bool = False
) -> list[Repository]:
    """What ``fetch`` would bring, without bringing it.

    A hub id that is locked, and whose files are all in the cache, is not asked about.

    Args:
        recipe: loaded with ``locked=False``, so that its hub ids are as written.
        path: where it lies; its lock lies beside it.
        hub: where the files come from and go to.
        update: ask what the hub ids mean today, whatever the lock says.

    Raises:
        FetchError: the hub has not what is wanted, or has something else than the lock says.
        LockError: the lock is damaged.
    """
    lock = {} if update else read_lock(path)
    wanted: dict[str, list[Wanted]] = {}
    for one in _wants(recipe):
        wanted.setdefault(one.hub_id, []).append(one)
    return [_repository(hub, ones, lock.get(hub_id)) for hub_id, ones in wanted.items()]


def items(hub: Hub, repositories: Iterable[Repository]) -> list[Item]:
    """Their files, with what is here already."""
    return [
        Item(one.hub_id.written, name, size, cached(hub, one.hub_id, one.commit, name) is not None)
        for one in repositories
        for name, size in one.files.items()
    ]


def fetch(
    path: str | os.PathLike[str],
    repositories: Iterable[Repository],
    *,
    hub: Hub,
    say: Callable[[str], None] = lambda _: None,
) -> Fetched:
    """Bring what is outlined, check every byte, and write the lock.

    Args:
        path: of the recipe.
        repositories: from ``outline``.
        hub: where the files come from and go to.
        say: told what is being done.

    Raises:
        FetchError: a file cannot be had, or differs from the lock. The lock stays as it was; what
            had arrived whole is kept.
    """
    repositories = list(repositories)
    lock: dict[str, LockedRepository] = dict(read_lock(path))
    for one in repositories:
        files = {name: _one(hub, one, name, say) for name in one.files}
        known = {} if one.hub_id.written not in lock else lock[one.hub_id.written].files
        if one.locked:
            files = {**known, **files}
        lock[one.hub_id.written] = LockedRepository(one.commit, one.patterns, files)
        _point(hub, one)
    text = lock_text(lock)
    target = lock_path(path)
    changed = not target.exists() or target.read_text(encoding="utf-8") != text
    if changed and repositories:
        whole = target.with_name(f"{target.name}.new")
        whole.write_text(text, encoding="utf-8")
        whole.replace(target)
    return Fetched(tuple(items(hub, repositories)), changed and bool(repositories))


def _wants(recipe: Recipe) -> list[Wanted]:
    model = recipe.model
    parts: tuple[FilledSpec, ...] = (model.encoder, model.token_sampler, model.llm)
    return [wanted for part in parts for wanted in part.wants()]


def _repository(hub: Hub, wanted: list[Wanted], entry: LockedRepository | None) -> Repository:
    hub_id = HubId.parse(wanted[0].hub_id)
    patterns = tuple(dict.fromkeys(pattern for one in wanted for pattern in one.files))
    needed = tuple(dict.fromkeys(pattern for one in wanted for pattern in one.needed))
    if entry is not None and set(patterns) <= set(entry.patterns):
        known = {name: one.size for name, one in entry.files.items() if _matches(name, patterns)}
        if all(cached(hub, hub_id, entry.commit, name) for name in known):
            return Repository(hub_id, entry.commit, entry.patterns, known, {}, entry.files)
    commit, files = hub.listing(hub_id, entry.commit if entry else hub_id.revision)
    announced = {name: one for name, one in files.items() if _matches(name, patterns)}
    _check_needed(hub_id, needed, files)
    locked = entry.files if entry else {}
    if entry is not None:
        _check_announced(hub_id, entry, commit, announced)
        patterns = tuple(dict.fromkeys([*entry.patterns, *patterns]))
    sizes = {name: one.size for name, one in sorted(announced.items())}
    return Repository(hub_id, commit, patterns, sizes, announced, locked)


def _matches(name: str, patterns: Iterable[str]) -> bool:
    """Only files in the root: subfolders hold other forms of the same model."""
    return "/" not in name and any(fnmatchcase(name, pattern) for pattern in patterns)


def _check_needed(hub_id: HubId, needed: Iterable[str], files: Mapping[str, HubFile]) -> None:
    lacking = [one for one in needed if not any(_matches(name, (one,)) for name in files)]
    if lacking:
        pickles = sorted(name for name in files if name.endswith((".bin", ".pt", ".pth")))
        hint = f"; it has {pickles[0]}, a pickle, which mmcore does not read" if pickles else ""
        raise FetchError(f"{hub_id.written} has no file {', '.join(lacking)}{hint}")


def _check_announced(
    hub_id: HubId, entry: LockedRepository, commit: str, announced: Mapping[str, HubFile]
) -> None:
    faults = []
    if commit != entry.commit:
        faults.append(f"commit {commit}, locked is {entry.commit}")
    for name, locked in entry.files.items():
        now = announced.get(name)
        if now is not None and now.sha256 is not None and now.sha256 != locked.sha256:
            faults.append(f"{name} with SHA-256 {now.sha256}, locked is {locked.sha256}")
        elif now is not None and now.size != locked.size:
            faults.append(f"{name} with {now.size:,} bytes, locked are {locked.size:,}")
    if faults:
        raise FetchError(
            f"{hub_id.written} is not what the lock says; the hub has {'; '.join(faults)}. If you "
            "trust the new one: `mmcore fetch RECIPE --update`"
        )


def _one(hub: Hub, repository: Repository, name: str, say: Callable[[str], None]) -> LockedFile:
    """One file, here and checked."""
    hub_id, locked = repository.hub_id, repository.locked.get(name)
    path = cached(hub, hub_id, repository.commit, name)
    if path is None:
        say(f"fetching {hub_id.written} {name} ({repository.files[name]:,} bytes)")
        path = download(hub, hub_id, repository.commit, repository.announced[name])
    found = LockedFile(path.stat().st_size, sha256_of(path))
    announced = repository.announced.get(name)
    wanted = locked.sha256 if locked else announced.sha256 if announced else None
    if wanted is not None and found.sha256 != wanted:
        by = "the lock" if locked else "the hub"
        raise FetchError(
            f"{path.resolve()}, which is {name} of {hub_id.written}, has the SHA-256 "
            f"{found.sha256}, {by} says {wanted}: it was altered after it was fetched. Remove it "
            "and fetch again"
        )
    return found


def _point(hub: Hub, repository: Repository) -> None:
    """Let the branch or tag lead to the commit, as huggingface_hub does, for who loads by name."""
    hub_id = repository.hub_id
    ref = hub.folder(hub_id.repository) / "refs" / hub_id.revision
    if hub_id.is_commit or (repository.locked and ref.exists()):
        return
    ref.parent.mkdir(parents=True, exist_ok=True)
    ref.write_text(repository.commit, encoding="utf-8")
