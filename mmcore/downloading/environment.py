"""img2dataset's own environment: made on first use, for it and mmcore want different packages."""

from __future__ import annotations

import fcntl
import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import attrs

VERSION: Final = "1.47.0"

REQUIREMENTS: Final = (
    f"img2dataset=={VERSION}",
    "webdataset==0.2.111",
    "albumentations==1.4.24",
    "opencv-python-headless==4.14.0.94",
    "numpy==2.4.6",
    "pandas==2.3.3",
    "pyarrow==26.0.1",
    "fire==0.7.1",
    "fsspec==2026.9.0",
    "wandb==0.31.0",  # imported, and switched off
    "standard-imghdr==3.13.0; python_version >= '3.13'",  # Python had it until 3.12
)
"""What works together; img2dataset itself leaves most of it open."""

_READY: Final = "mmcore-ready"
"""Written last, so that a half-made environment is made anew."""


class EnvironmentFault(Exception):
    """img2dataset could not be installed."""


@attrs.frozen
class Img2dataset:
    """The command, and its version where that is known."""

    command: tuple[str, ...]
    version: str | None


def cache_folder() -> Path:
    """Where environments are kept."""
    base = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(base) / "mmcore"


def installed(command: str) -> Img2dataset:
    """An img2dataset that the user has installed.

    Raises:
        ValueError: there is no such command.
    """
    found = shutil.which(command)
    if found is None:
        raise ValueError(
            f"--img2dataset: {command!r} is no command; wanted an executable file, such as "
            "/path/to/environment/bin/img2dataset"
        )
    return Img2dataset((found,), _version_beside(Path(found)))


def provided(say: Callable[[str], None]) -> Img2dataset:
    """The img2dataset of its own environment, which is made if it is not there.

    Args:
        say: told what is being done.

    Raises:
        EnvironmentFault: it could not be installed; the message says how by hand.
    """
    folder = cache_folder() / f"img2dataset-{VERSION}"
    if not _is_ready(folder):
        with _locked(folder):
            if not _is_ready(folder):
                say(f"installing img2dataset {VERSION} into an environment of its own, {folder}")
                _install(folder)
    return Img2dataset((str(folder / "bin" / "img2dataset"),), VERSION)


def _is_ready(folder: Path) -> bool:
    try:
        return (folder / _READY).read_text() == _receipt()
    except OSError:
        return False


def _receipt() -> str:
    # The environment stands on this very Python: where it is gone, it does not start.
    return "\n".join([*REQUIREMENTS, sys.version, os.path.realpath(sys.executable)])


def _install(folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    pip = [str(folder / "bin" / "python"), "-m", "pip", "install", "--disable-pip-version-check"]
    steps = [[sys.executable, "-m", "venv", str(folder)], [*pip, "--quiet", *REQUIREMENTS]]
    for step in steps:
        done = subprocess.run(step, capture_output=True, text=True)
        if done.returncode:
            said = "\n".join((done.stdout + done.stderr).splitlines()[-6:])
            typed = "\n".join(f"  {shlex.join(one)}" for one in steps)
            raise EnvironmentFault(
                f"img2dataset could not be installed: {shlex.join(step[:5])} ... ended with code "
                f"{done.returncode}:\n{said}\nWhere there is a network, type\n{typed}\nand name "
                f"the command: --img2dataset {shlex.quote(str(folder / 'bin' / 'img2dataset'))}"
            )
    (folder / _READY).write_text(_receipt())


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Others who want the same environment wait until it is made."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    with folder.with_name(f"{folder.name}.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _version_beside(command: Path) -> str | None:
    """The version by the Python of the command's environment, if it has one."""
    python = command.resolve().with_name("python")
    if not python.exists():
        return None
    program = "from importlib.metadata import version; print(version('img2dataset'))"
    done = subprocess.run([str(python), "-c", program], capture_output=True, text=True)
    return done.stdout.strip() or None
