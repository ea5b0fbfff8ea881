"""What this machine lacks to run a recipe: packages, GPUs, weights, data."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from pathlib import Path

from mmcore.interfaces import EngineSpec, FilledSpec, SourceSpec, download_command
from mmcore.recipe.check import Facts, Remark, problems
from mmcore.recipe.gpus import BF16, visible_gpus
from mmcore.recipe.lock import HUB, Lock, LockedRepository
from mmcore.recipe.tree import KeyPath


def check_machine(facts: Facts, lock: Lock) -> Iterator[Remark]:
    """Everything that is missing here; nothing heavy is imported to find out."""
    yield from problems(facts, of_machine=True)
    yield from _attention(facts)
    yield from _precision(facts)
    yield from _data(facts)
    yield from _locked_files(facts, lock)


def _attention(facts: Facts) -> Iterator[Remark]:
    path = ("model", "attention")
    if facts.at(*path) != "xformers":
        return
    without = "--set model.attention=auto, which takes sdpa where xformers cannot run"
    if importlib.util.find_spec("xformers") is None:
        hint = f"pip install xformers (Linux, x86_64), or {without}"
        yield Remark(path, "is 'xformers', and the package xformers is not installed", hint)
    if not visible_gpus():
        message = "is 'xformers', which runs on CUDA only, and no NVIDIA GPU is to be seen here"
        yield Remark(path, message, without)


def _precision(facts: Facts) -> Iterator[Remark]:
    engine = facts.at("engine")
    if not isinstance(engine, EngineSpec) or engine.precision != "bf16":
        return
    for gpu in visible_gpus():
        if gpu.capability is not None and gpu.capability < BF16:
            major, minor = gpu.capability
            yield Remark(
                ("engine", "precision"),
                f"is 'bf16', which {gpu.name} (compute capability {major}.{minor}) does not have: "
                f"it begins with {BF16[0]}.{BF16[1]}",
                "--set engine.precision=fp32, or another GPU",
            )


def _data(facts: Facts) -> Iterator[Remark]:
    for path, source in facts.below():
        if not isinstance(source, SourceSpec) or source.synthetic is not None:
            continue
        local = source.path.removeprefix("file://")
        if "://" in local:
            yield from _store((*path, "path"), local)
        elif not source.has_files():
            yield Remark((*path, "path"), f"no file matches {source.path!r}", _origin(source))


def _origin(source: SourceSpec) -> str:
    """Where the dataset comes from; and, where it is published as links, how it is fetched."""
    hint = f"{source.name!r} comes from {source.origin}" if source.origin else ""
    if source.links is None or source.path.endswith(".tar"):  # which img2dataset itself writes
        return hint
    command = download_command(source.name, "FILES", str(source.folder))
    return f"{hint + '; ' if hint else ''}its pictures come by `{command}`"


def _store(path: KeyPath, url: str) -> Iterator[Remark]:
    """Whether files at this URL could be read here. They are not looked for: a store that does not
    answer would hold up the check, and the run says what it does not find."""
    from fsspec.registry import known_implementations, registry

    kind = url.partition("://")[0]
    if kind not in known_implementations:
        if kind not in registry:
            yield Remark(path, f"is {url!r}, and fsspec knows no {kind}://")
        return
    driver = known_implementations[kind]["class"].partition(".")[0]
    if importlib.util.find_spec(driver) is None:
        package = f"'mmcore[{kind}]'" if kind == "s3" else driver
        message = f"is {url!r}, and {driver}, which reads {kind}://, is not installed"
        yield Remark(path, message, f"pip install {package}")


def _locked_files(facts: Facts, lock: Lock) -> Iterator[Remark]:
    """Files of the lock that are missing or of another size; reading them all is `fetch`'s work.

    A snapshot that is not there at all is the component's own problem, and told by it.
    """
    by_commit = {
        f"{hub_id.partition('@')[0]}@{entry.commit}": entry for hub_id, entry in lock.items()
    }
    for path, spec in facts.below():
        for wanted in spec.wants() if isinstance(spec, FilledSpec) else ():
            entry = by_commit.get(wanted.hub_id)
            faults = [] if entry is None else _unlike(wanted.hub_id, entry)
            if faults:
                more = f" and {len(faults) - 3} more" if len(faults) > 3 else ""
                message = (
                    f"{wanted.hub_id} is not what the lock says: {'; '.join(faults[:3])}{more}"
                )
                yield Remark((*path, wanted.key), message, "`mmcore fetch RECIPE` completes it")


def _unlike(hub_id: str, entry: LockedRepository) -> list[str]:
    from huggingface_hub import try_to_load_from_cache

    repository = hub_id.removeprefix(HUB).partition("@")[0]
    found = {
        name: try_to_load_from_cache(repository, name, revision=entry.commit)
        for name in entry.files
    }
    if not any(isinstance(path, str) for path in found.values()):
        return []
    faults = []
    for name, path in found.items():
        size = entry.files[name].size
        if not isinstance(path, str):
            faults.append(f"{name} is missing")
        elif (has := Path(path).stat().st_size) != size:
            faults.append(f"{name} has {has:,} bytes, locked are {size:,}")
    return faults
