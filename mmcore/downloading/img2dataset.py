"""img2dataset as a command: what it is told, and how it is run so that it cannot outlive us."""

from __future__ import annotations

import contextlib
import glob
import json
import math
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Final, Literal

import attrs
import pyarrow as pa
import pyarrow.parquet as pq

from mmcore.downloading.answers import LINK, Answers, read_answers

_LEASH: Final = Path(__file__).with_name("leash.py")

_SECONDS_BETWEEN_LOOKS: Final = 0.2

_WORDS_SHOWN: Final = 12
"""Lines of its output that an error repeats."""


class Img2datasetError(Exception):
    """img2dataset did not do its work."""


@attrs.frozen(kw_only=True)
class Fetching:
    """How img2dataset fetches.

    Attributes:
        processes: that fetch and, where pictures are made smaller, decode; fewer where their
            threads have nothing to do.
        threads: of each process; so many links are open at once.
        timeout: seconds without a byte after which a link is dead.
        retries: after a failed try.
        resize_mode: ``no`` keeps the bytes as they come; ``keep_ratio`` makes the shorter side
            ``image_size`` pixels, ``keep_ratio_largest`` the longer one, of larger pictures only,
            and all become JPEG.
        image_size: pixels.
        user_agent_token: added to the user agent, and compared with those of X-Robots-Tag.
        patience: seconds in which nothing arrives and nothing ends, after which what is still
            open is given up: ``timeout`` lets a server send a byte now and then, for ever.
        ignore_opt_outs: fetch also what X-Robots-Tag keeps from use by AI or from indexing.
    """

    processes: int = 4
    threads: int = 64
    timeout: int = 10
    retries: int = 1
    resize_mode: Literal["no", "keep_ratio", "keep_ratio_largest"] = "no"
    image_size: int = 1024
    user_agent_token: str = ""
    ignore_opt_outs: bool = False
    patience: float = attrs.field()

    @patience.default
    def _longer_than_any_tries(self) -> float:
        return max(300.0, 3.0 * self.timeout * (self.retries + 1))


def fetch_links(
    command: Sequence[str],
    fetching: Fetching,
    addresses: Sequence[str],
    order: Sequence[int],
    folder: Path,
    progress: Callable[[int], None],
) -> Answers:
    """Let img2dataset fetch all addresses into a new folder, and read what it says of each.

    Args:
        command: the program.
        fetching: how.
        addresses: what is fetched.
        order: in which, as indices of ``addresses``.
        folder: made here; holds everything that it writes.
        progress: told now and then how many bytes have arrived.

    Raises:
        Img2datasetError: it failed, or ended without an answer for a whole batch of links.
    """
    folder.mkdir(parents=True)
    if not order:
        return Answers({}, {}, [], given_up=False)
    links, out, log = folder / "links.parquet", folder / "fetched", folder / "log.txt"
    table = pa.table({LINK: list(order), "url": [addresses[number] for number in order]})
    pq.write_table(table, links)
    processes = min(fetching.processes, math.ceil(len(order) / fetching.threads))
    # A process is done with a batch when its slowest link is: one batch each wastes least.
    batch = math.ceil(len(order) / processes)
    words = [*command, *_arguments(fetching, links, out, processes, batch)]
    try:
        code = _run(words, log, _Watch(out, progress, fetching.patience))
    except _Stalled:
        return read_answers(out)
    batches = math.ceil(len(order) / batch)
    finished = len(glob.glob(f"{glob.escape(str(out))}/*_stats.json"))
    if code or finished != batches:
        said = "\n".join(log.read_text(errors="replace").splitlines()[-_WORDS_SHOWN:])
        ended = f"ended with code {code}" if code else "ended"
        raise Img2datasetError(
            f"img2dataset {ended} after {finished} of {batches} batches of links; its last words:"
            f"\n{said}"
        )
    return read_answers(out)


def _arguments(
    fetching: Fetching, links: Path, out: Path, processes: int, batch: int
) -> Iterator[str]:
    keep = fetching.resize_mode == "no"
    said: dict[str, object] = {
        "output_folder": out,
        "input_format": "parquet",
        "url_col": "url",
        "save_additional_columns": json.dumps([LINK]),
        "output_format": "webdataset",
        "number_sample_per_shard": batch,
        "processes_count": processes,
        "thread_count": fetching.threads,
        "timeout": fetching.timeout,
        "retries": fetching.retries,
        "resize_mode": fetching.resize_mode,
        "image_size": fetching.image_size,
        "resize_only_if_bigger": True,
        "disable_all_reencoding": keep,
        "encode_format": "jpg",
        "extract_exif": False,
        "compute_hash": None,
        "enable_wandb": False,
    }
    if fetching.user_agent_token:
        # In quotes, for the command takes its values for Python's where it can.
        said["user_agent_token"] = json.dumps(fetching.user_agent_token)
    if fetching.ignore_opt_outs:
        said["disallowed_header_directives"] = "[]"
    yield str(links)
    for name, value in said.items():
        yield f"--{name}={value}"


class _Stalled(Exception):
    """Nothing has happened for too long."""


class _Watch:
    """Tells of the progress, by the sizes of what is written.

    Raises:
        _Stalled: when called after ``patience`` seconds without any.
    """

    def __init__(self, out: Path, progress: Callable[[int], None], patience: float) -> None:
        self._out, self._progress, self._patience = out, progress, patience
        self._sizes: dict[str, int] = {}
        self._changed = time.monotonic()

    def __call__(self) -> None:
        with os.scandir(self._out) if self._out.is_dir() else nullcontext(()) as entries:
            sizes = {one.name: one.stat().st_size for one in entries if one.is_file()}
        self._progress(sum(size for name, size in sizes.items() if name.endswith(".tar")))
        now = time.monotonic()
        if sizes != self._sizes or not sizes:
            self._sizes, self._changed = sizes, now
        elif now - self._changed > self._patience:
            raise _Stalled


def _run(words: Sequence[str], log: Path, look: Callable[[], None]) -> int:
    """The exit code. Whatever ends this process, or this function, ends the command."""
    environment = {**os.environ, "NO_ALBUMENTATIONS_UPDATE": "1", "PYTHONUNBUFFERED": "1"}
    with log.open("wb") as output:
        leash = subprocess.Popen(
            [sys.executable, str(_LEASH), *words],
            stdin=subprocess.PIPE,
            stdout=output,
            stderr=subprocess.STDOUT,
            env=environment,
            start_new_session=True,  # Ctrl-C reaches us alone
        )
    try:
        while True:
            with contextlib.suppress(subprocess.TimeoutExpired):
                return leash.wait(_SECONDS_BETWEEN_LOOKS)
            look()
    finally:
        _end(leash)


def _end(leash: subprocess.Popen[bytes]) -> None:
    """Kill the whole group, if it is not at its end, and wait for it."""
    if leash.poll() is None:
        os.killpg(leash.pid, signal.SIGKILL)
    assert leash.stdin is not None
    leash.stdin.close()
    leash.wait()
