"""Open parquet files are shared, bounded, renewed when a file changes, and safe in any process."""

import os
import threading
from concurrent.futures import ThreadPoolExecutor

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mmcore.kit import parquet_files
from mmcore.kit.parquet_files import Pool, opened
from mmcore.kit.parquet_rows import column_names, count_rows, read_rows


@pytest.fixture
def pool(monkeypatch):
    pool = Pool(3)
    monkeypatch.setattr(parquet_files, "POOL", pool)
    return pool


@pytest.fixture
def files(tmp_path):
    """Five files of 50 rows each, in row groups of 10."""
    for number in range(5):
        values = [number * 1000 + row for row in range(50)]
        pq.write_table(pa.table({"n": values}), tmp_path / f"{number}.parquet", row_group_size=10)
    return [str(tmp_path / f"{number}.parquet") for number in range(5)]


@pytest.fixture
def opens(monkeypatch):
    """The files that were opened, and whether with a footer that was kept."""
    opens = []
    whole = pq.ParquetFile.__init__

    def watched(self, source, *args, metadata=None, **options):
        opens.append((os.path.basename(source), metadata is not None))
        whole(self, source, *args, metadata=metadata, **options)

    monkeypatch.setattr(pq.ParquetFile, "__init__", watched)
    return opens


def numbers(path, start, stop):
    return [row["n"] for row in read_rows(path, ["n"], start, stop)]


def test_a_file_is_opened_once_and_its_footer_read_once(pool, files, opens):
    for _ in range(3):
        assert numbers(files[0], 18, 31) == list(range(18, 31))
        assert count_rows(files[0]) == 50
        assert column_names(files[0]) == ["n"]
    assert opens == [("0.parquet", False)]
    for path in files[1:]:
        count_rows(path)
    assert len(pool) == 3
    assert numbers(files[0], 3, 5) == [3, 4]
    assert opens[-1] == ("0.parquet", True)


def test_a_file_that_is_read_in_is_closed_when_its_reader_has_finished(pool, files):
    reading = read_rows(files[0], ["n"], 0, 50)
    first = next(reading)
    with opened(files[0]) as file:
        pass
    for path in files[1:]:
        count_rows(path)
    assert len(pool) == 3
    assert [first, *reading] == [{"n": n} for n in range(50)]
    assert file.closed


def test_an_abandoned_reader_gives_its_file_back(pool, files):
    reading = read_rows(files[0], ["n"], 0, 50)
    next(reading)
    reading.close()
    (entry,) = pool._entries.values()
    assert entry.users == 0


def test_a_file_that_was_written_anew_is_opened_anew(pool, files):
    assert numbers(files[0], 0, 2) == [0, 1]
    with opened(files[0]) as old:
        pass
    pq.write_table(pa.table({"n": [7, 8, 9]}), files[0])
    os.utime(files[0], ns=(1, 1))
    assert count_rows(files[0]) == 3
    assert numbers(files[0], 0, 3) == [7, 8, 9]
    assert old.closed
    assert len(pool) == 1


def test_a_handle_that_failed_is_not_used_again(pool, files, opens, monkeypatch):
    assert count_rows(files[0]) == 50
    with monkeypatch.context() as patch:

        def stale(self, **_):
            raise OSError(116, "Stale file handle")

        patch.setattr(pq.ParquetFile, "iter_batches", stale)
        with pytest.raises(OSError, match="Stale"):
            numbers(files[0], 0, 1)
    assert numbers(files[0], 0, 1) == [0]
    assert opens == [("0.parquet", False), ("0.parquet", True)]


def test_threads_read_in_the_same_files(pool, files):
    def work(n):
        number, start = n % 5, n * 7 % 40
        return numbers(files[number], start, start + 10) == [
            number * 1000 + row for row in range(start, start + 10)
        ]

    with ThreadPoolExecutor(8) as threads:
        assert all(threads.map(work, range(300)))
    assert len(pool) == 3
    assert all(entry.users == 0 for entry in pool._entries.values())


def test_a_forked_process_opens_its_own(pool, files):
    assert count_rows(files[0]) == 50
    held = threading.Event()
    done = threading.Event()

    def hold():
        with pool._lock:
            held.set()
            done.wait()

    thread = threading.Thread(target=hold)
    thread.start()
    held.wait()
    child = os.fork()
    if child == 0:
        os._exit(0 if len(pool) == 0 and numbers(files[0], 11, 13) == [11, 12] else 1)
    done.set()
    thread.join()
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 0
    assert numbers(files[0], 1, 2) == [1]


@pytest.mark.parametrize("remote", [False, True])
def test_damage_is_an_error_that_names_the_file(remote, tmp_path):
    import fsspec

    values = [os.urandom(3000) for _ in range(100)]
    pq.write_table(pa.table({"data": values}), tmp_path / "x.parquet", row_group_size=20)
    whole = (tmp_path / "x.parquet").read_bytes()
    damaged = whole[:100_000] + b"\xff" * 60_000 + whole[160_000:]
    for name, data in (("cut", whole[:-50_000]), ("damaged", damaged), ("html", b"<html>" * 99)):
        path = str(tmp_path / name)
        (tmp_path / name).write_bytes(data)
        if remote:
            fsspec.filesystem("memory").pipe(f"/damage/{name}", data)
            path = f"memory://damage/{name}"
        with pytest.raises(ValueError, match=f"{name} cannot be read as parquet: "):
            list(read_rows(path, ["data"], 0, count_rows(path)))


def test_a_missing_column_is_said_with_those_there_are(files):
    said = r"0\.parquet has no column 'm' and no column 'k'; it has: n"
    with pytest.raises(ValueError, match=said):
        list(read_rows(files[0], ["m", "n", "k"], 0, 1))


def test_a_short_run_does_not_read_its_row_group_to_the_end(tmp_path):
    import fsspec

    values = [os.urandom(150_000) for _ in range(120)]
    table = pa.table({"caption": ["x"] * 120, "junk": values, "picture": values})
    pq.write_table(
        table, tmp_path / "x", row_group_size=120, compression="none", write_batch_size=8
    )
    fsspec.filesystem("memory").pipe("/run/x", (tmp_path / "x").read_bytes())
    read = []
    whole = parquet_files.store.RemoteFile.read

    def watched(self, size=-1):
        data = whole(self, size)
        read.append(len(data))
        return data

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(parquet_files.store.RemoteFile, "read", watched)
        rows = list(read_rows("memory://run/x", ["caption", "picture"], 20, 27))
    assert [row["picture"] for row in rows] == values[20:27]
    assert sum(read) < 10_000_000
    assert len(read) < 10
