"""What is kept of files: the last used, bounded, also among threads and after a fork."""

import os
from concurrent.futures import ThreadPoolExecutor

import pytest

from mmcore.kit.kept import Kept


def test_the_last_used_are_kept_within_the_bound():
    made = []

    def get(kept, key, size=40):
        return kept.get(key, lambda: made.append(key) or key, lambda _: size)

    kept = Kept(100)
    assert [get(kept, key) for key in "aba"] == ["a", "b", "a"]
    assert made == ["a", "b"]
    get(kept, "c")  # b was used longest ago
    assert kept.held_bytes == 80
    get(kept, "a")
    assert made == ["a", "b", "c"]
    get(kept, "b")
    assert made == ["a", "b", "c", "b"]
    get(kept, "large", size=1000)
    assert kept.held_bytes == 1000
    get(kept, "large", size=1000)
    assert made[4:] == ["large"], "what was used last is kept whatever its size"


def test_a_failed_value_is_made_again():
    kept = Kept(10)
    with pytest.raises(OSError, match="disk"):
        kept.get("a", lambda: (_ for _ in ()).throw(OSError("disk")), lambda _: 1)
    assert kept.get("a", lambda: 3, lambda _: 1) == 3


def test_threads_share_it():
    kept = Kept(50)
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda n: kept.get(n % 9, lambda: n % 9, lambda _: 10), range(2000)))
    assert found == [n % 9 for n in range(2000)]
    assert kept.held_bytes <= 50


def test_a_fork_goes_on_though_a_thread_held_the_lock():
    kept = Kept(10)
    with kept._lock:
        child = os.fork()
        if child == 0:
            os._exit(kept.get("a", lambda: 7, lambda _: 1))
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 7
