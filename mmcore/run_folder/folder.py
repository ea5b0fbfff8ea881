"""The folder of a run: made for one recipe, entered by one process at a time."""

from __future__ import annotations

import fcntl
import json
import os
import platform
import re
import sys
import time
import tomllib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib import metadata
from pathlib import Path
from typing import Any, Literal

from mmcore.recipe import RecipeError, load_recipe, to_toml
from mmcore.training.checkpoint_format import sync_folder, write_file
from mmcore_registry import discover

Resume = Literal["auto", "never"]

RECIPE = "recipe.toml"
ENVIRONMENT = "environment.json"
CHECKPOINTS = "checkpoints"
LOCK = ".lock"
STAGE_FILE = "stage-{}.json"
"""What a finished stage was trained on: its progress."""

FREE_TO_CHANGE = (
    "engine",
    "trackers",
    "checkpoints",
    "guards",
    "data.workers",
    "data.prefetch",
    "data.max_rejected_share",
    "model.attention",
    "measures",
    "validation.rows",
    "validation.every_steps",
    "validation.tasks",
    "validation.keep_best",
)
"""Keys that may differ when a run goes on: they say where and how it runs, not what is trained.

Besides, all keys of stages that have not begun may, and such stages may come and go.
"""

_FEATURES = re.compile(r"stages\..+\.data\.\d+\.features")
"""Free too: of the same pictures features are the same, wherever they are made."""

PACKAGES = (
    "mmcore",
    "torch",
    "transformers",
    "timm",
    "torchdata",
    "deepspeed",
    "xformers",
    "numpy",
)


class RunFolderError(ValueError):
    """The folder cannot be used for this run; the message says why and what can be done."""


@contextmanager
def locked(
    folder: Path,
    name: str = LOCK,
    *,
    otherwise: str = "give this run another name with --set name=...",
) -> Iterator[None]:
    """Keep other processes out of the folder while the work in it goes on.

    Args:
        name: of the file in it that is locked.
        otherwise: what helps where another process is in it, and it is not to be waited for.

    Raises:
        RunFolderError: another process is in it, or it cannot be made.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = (folder / name).open("a+")
    except OSError as error:
        raise RunFolderError(
            f"the folder {folder.absolute()} cannot be made or written to: {error.strerror}; "
            "start mmcore in a folder that you may write to"
        ) from None
    with lock as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            owner = file.read().strip() or "unknown"
            raise RunFolderError(
                f"{folder} is in use by process {owner}; wait for it, or {otherwise}"
            ) from None
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        yield


def prepare(folder: Path, recipe: str, resume: Resume, begun: int | None = None) -> None:
    """Make the folder for this resolved recipe (TOML text), or check that it was made for it.

    With ``never``, what is there is moved aside, not deleted.

    Args:
        begun: how many stages have begun; those after them may be other ones. None: all.

    Raises:
        RunFolderError: the folder was made for another recipe; the message lists what differs.
    """
    stored = folder / RECIPE
    if resume == "never" and stored.exists():
        _move_aside(folder)
    if stored.exists():
        old, new = _completed(stored), tomllib.loads(recipe)
        faults = differences(_of_begun(old, begun), _of_begun(new, begun))
        if faults:
            listing = "\n".join(f"  {fault}" for fault in faults)
            raise RunFolderError(
                f"{folder} was made for another recipe:\n{listing}\n"
                f"what may change when a run goes on: {', '.join(FREE_TO_CHANGE)}, and stages that "
                "have not begun\n"
                "give this run another name with --set name=..., or start anew with "
                "--resume never (the old folder is kept beside it)"
            )
    folder.mkdir(parents=True, exist_ok=True)
    write_whole(stored, recipe)


def _of_begun(recipe: dict[str, object], begun: int | None) -> dict[str, object]:
    stages = recipe.get("stages")
    return {**recipe, "stages": stages[:begun]} if isinstance(stages, list) else recipe


def _completed(stored: Path) -> dict[str, object]:
    """The stored recipe, with defaults for keys that did not exist yet when it was written.

    One that this mmcore cannot read as a recipe is compared as it is.

    Raises:
        RunFolderError: it is no TOML.
    """
    try:
        return tomllib.loads(to_toml(load_recipe(stored)))
    except RecipeError:
        pass
    try:
        return tomllib.loads(stored.read_text(encoding="utf-8"))
    except ValueError as error:
        raise RunFolderError(
            f"{stored} is damaged ({error}); start anew with --resume never (the old folder is "
            "kept beside it)"
        ) from None


def differences(
    before: Mapping[str, object], after: Mapping[str, object], path: str = ""
) -> list[str]:
    """Keys at which two recipes train something else, as ``key: old -> new`` lines."""
    found = []
    for key in [*before, *(key for key in after if key not in before)]:
        here = f"{path}.{key}" if path else key
        if here in FREE_TO_CHANGE or _FEATURES.fullmatch(here):
            continue
        old, new = before.get(key), after.get(key)
        if isinstance(old, dict) and isinstance(new, dict):
            found += differences(old, new, here)
        elif isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
            found += differences(_numbered(old), _numbered(new), here)
        elif old != new:
            found.append(f"{here}: {_shown(old)} -> {_shown(new)}")
    return found


def write_environment(
    folder: Path,
    ranks: int,
    device: str,
    *,
    after_step: int = 0,
    began: tuple[str, Path] | None = None,
) -> None:
    """Record where and with which versions the run (or this part of it) was made.

    Args:
        after_step: where this part begins.
        began: the stage that begins with it, and the weights that were named for it; None where
            it begins from the stage before, or goes on.

    Raises:
        RunFolderError: the record of earlier starts is damaged.
    """
    plugins = {
        f"{plugin.distribution}:{plugin.name}": plugin.version for plugin in discover().plugins()
    }
    now = {
        "started": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        "python": platform.python_version(),
        "platform": platform.platform(),
        "cores": os.cpu_count(),
        "ranks": ranks,
        "device": device,
        "packages": {name: version for name in PACKAGES if (version := _version(name))},
        "plugins": plugins,
        "after_step": after_step,
        "stage": began[0] if began else None,
        "from": str(began[1].absolute()) if began else None,
        "command": [Path(sys.argv[0]).name, *sys.argv[1:]],
    }
    path = folder / ENVIRONMENT
    earlier = _starts(path) if path.exists() else []
    write_whole(path, json.dumps([*earlier, now], indent=1) + "\n")


def start_at(folder: Path, step: int) -> Mapping[str, Any] | None:
    """The record of the start that brought the run beyond this step; None where there is none.

    Raises:
        RunFolderError: the record of earlier starts is damaged.
    """
    path = folder / ENVIRONMENT
    starts = _starts(path) if path.exists() else []
    before = [one for one in starts if one.get("after_step", 0) <= step]
    return before[-1] if before else None


def _starts(path: Path) -> list[dict[str, Any]]:
    try:
        starts = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        starts, reason = None, str(error)
    else:
        reason = "it holds no list"
    if not isinstance(starts, list):
        raise RunFolderError(
            f"{path} is damaged ({reason}): move it aside and start again; it only records earlier "
            "starts"
        )
    return starts


def write_whole(path: Path, text: str) -> None:
    """The file with this text, or, killed at any moment or without power, as it was before."""
    whole = path.with_name(f"{path.name}.new")
    write_file(whole, [text.encode()])
    whole.replace(path)
    sync_folder(path.parent)


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _move_aside(folder: Path) -> None:
    number = 1
    while (aside := folder.with_name(f"{folder.name}.old-{number}")).exists():
        number += 1
    aside.mkdir()
    for entry in folder.iterdir():
        if entry.name != LOCK:
            entry.rename(aside / entry.name)


def _numbered(values: list[object]) -> dict[str, object]:
    return {str(number): value for number, value in enumerate(values)}


def _shown(value: object) -> str:
    text = "nothing" if value is None else json.dumps(value, default=str)
    return text if len(text) <= 60 else text[:57] + "..."
