"""Workers die, and nothing is lost: they are started again, and a row that kills is left out."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from multiprocessing import active_children
from pathlib import Path
from typing import Any

import attrs
import pytest
import torch

from mmcore.data import lanes, workers
from mmcore.data.black_box import SIZE, BlackBox
from mmcore.data.faults import DataFault
from mmcore.data.loader import PackLoader, StepData
from mmcore.interfaces import PackedBatch, SampleKey


@pytest.fixture
def load(memory: Any, preparer: Any) -> Any:
    """Makes loaders over one source and two lanes, two packs a step; or as changed."""

    def make(*, source: Any = None, **changes: Any) -> PackLoader:
        settings = {
            "sources": [("a", memory(**{"pictures": 1, "bad": 0.1, **(source or {})}))],
            "preparer": preparer(),
            "seed": 0,
            "lanes": 2,
            "packs_per_step": 2,
            "look_ahead": 4,
            "block_rows": 4,
        }
        return PackLoader(**{**settings, **changes})

    return make


def content(step: StepData) -> Any:
    packs = [[getattr(b, one.name) for one in attrs.fields(PackedBatch)] for b in step.batches]
    listed = [[v.tolist() if isinstance(v, torch.Tensor) else v for v in p] for p in packs]
    counts = {name: n for name, n in step.counts.items() if name != workers.DEATHS}
    return listed, step.rejected, counts


def keys(steps: list[StepData]) -> list[str]:
    return [str(one.key) for step in steps for b in step.batches for one in b.segments]


def kill(process: Any) -> None:
    os.kill(process.pid, signal.SIGKILL)


def test_a_killed_worker_goes_on_where_its_packs_end(load: Any) -> None:
    whole = load()
    wanted = [content(whole.next_step()) for _ in range(12)]
    whole.close()
    loader = load(workers=1, prefetch=1)
    steps = [loader.next_step()]
    for _ in range(2):
        kill(active_children()[0])
        with pytest.warns(UserWarning, match=r"worker 0 \(process \d+\) was killed by SIGKILL"):
            steps += [loader.next_step() for _ in range(4)]
    steps += [loader.next_step() for _ in range(3)]
    loader.close()
    assert [content(step) for step in steps] == wanted
    assert sum(step.counts.get(workers.DEATHS, 0) for step in steps) == 2


def test_a_row_that_kills_twice_is_rejected_and_nothing_else_is_lost(load: Any) -> None:
    """Row 9 of a shard ends its process as a decoder with a bug would."""
    whole = load(source={"rows": (12,)})
    plain = [whole.next_step() for _ in range(8)]
    whole.close()
    loader = load(source={"rows": (12,), "kills_at": 9}, workers=2)
    again = pytest.warns(UserWarning, match=r"at sample a:s0:9, for the second time")
    with pytest.warns(UserWarning, match="a:s0:9; it is started again after"), again:
        steps = [loader.next_step() for _ in range(8)]
    loader.close()
    rejected = [row for step in steps for row in step.rejected if row.reason == "deadly-row"]
    assert {row.key for row in rejected} == {SampleKey("a", "s0", 9)}
    assert "a:s0:9" in keys(plain)
    assert set(keys(plain)) - set(keys(steps)) == {"a:s0:9"}
    assert sum(step.counts.get("rejected/deadly-row", 0) for step in steps) == len(rejected)


def test_rows_that_kill_without_end_are_a_fault(load: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workers, "MOST_DEADLY", 2)
    loader = load(source={"kills_at": -2}, workers=1)
    died = pytest.warns(UserWarning, match="started again after its last pack")
    with died, pytest.raises(DataFault) as caught:
        loader.next_step()
    loader.close()
    assert "ended with exit code 7 while it was at sample a:" in str(caught.value)
    assert "2 rows at which it died twice, without a pack in between" in str(caught.value)


def test_an_error_between_rows_is_told_as_it_is(load: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def collate(*_: Any, **__: Any) -> None:
        raise MemoryError("no room for pixels")

    monkeypatch.setattr(lanes, "collate", collate)
    loader = load()
    with pytest.raises(DataFault, match=r"^lane 0: MemoryError: no room for pixels$"):
        loader.next_step()
    loader.close()


def test_a_worker_that_is_waited_for_says_what_it_does(
    load: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(workers, "SLOW_SECONDS", 0.1)
    loader = load(workers=1)
    with pytest.warns(UserWarning, match="data worker 0 gave nothing for .*; it is starting"):
        loader.next_step()
    loader.close()


def test_signals_to_the_whole_group_are_for_the_parent(load: Any) -> None:
    loader = load(workers=1)
    loader.next_step()
    [worker] = active_children()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1):
        os.kill(worker.pid, number)
    for _ in range(5):
        loader.next_step()
    assert active_children() == [worker]
    loader.close()
    assert active_children() == []


def test_a_forgotten_loader_leaves_no_processes(load: Any) -> None:
    loader = load(workers=1)
    loader.next_step()
    assert active_children()
    del loader
    assert active_children() == []


@pytest.mark.parametrize("place", ["", "starting", "a" * 2 * SIZE, SampleKey("a", "é", 7, 2)])
def test_a_box_holds_what_was_noted(place: SampleKey | str) -> None:
    box = BlackBox(workers._CONTEXT)
    assert box.read() == ""
    box.note("something longer before")
    box.note(place)
    if len(str(place)) < SIZE:
        assert box.read() == place
    else:
        assert box.read() == f'"{place}'[: SIZE - 1]


ORPHANS = """
import sys, time
sys.path.insert(0, {folder!r})
import conftest
from mmcore.data.loader import PackLoader
from multiprocessing import active_children

if __name__ == "__main__":
    loader = PackLoader(sources=[("a", conftest.MemorySpec())], preparer=conftest.make_preparer(),
        seed=0, lanes=2, packs_per_step=2, look_ahead=4, block_rows=4, workers=1)
    loader.next_step()
    print(active_children()[0].pid, flush=True)
    time.sleep(120)
"""


def alive(pid: int) -> bool:
    """Whether the process runs; one that nobody has waited for yet does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


@pytest.mark.skipif(not Path("/proc").exists(), reason="looks into /proc")
def test_workers_die_with_their_parent(tmp_path: Path) -> None:
    script = tmp_path / "parent.py"
    script.write_text(ORPHANS.format(folder=str(Path(__file__).parent)))
    parent = subprocess.Popen([sys.executable, script], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    worker = int(parent.stdout.readline())
    assert alive(worker)
    parent.kill()
    parent.wait()
    deadline = time.monotonic() + 30
    while alive(worker) and time.monotonic() < deadline:
        time.sleep(0.2)
    assert not alive(worker)


@pytest.mark.skipif(not Path("/proc").exists(), reason="looks into /proc")
def test_a_parent_that_ends_without_closing_does_not_wait(tmp_path: Path) -> None:
    script = tmp_path / "parent.py"
    text = ORPHANS.format(folder=str(Path(__file__).parent))
    script.write_text(text.replace("time.sleep(120)", "sys.exit(3)"))
    done = subprocess.run([sys.executable, script], stdout=subprocess.PIPE, text=True, timeout=60)
    assert done.returncode == 3
    assert not alive(int(done.stdout))
