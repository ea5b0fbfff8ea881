"""A download that was cut off goes on where it ended; what is finished is never done again."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mmcore.downloading import Img2datasetError, TooManyDead

FAKE = Path(__file__).with_name("fake_img2dataset.py")


def links(count, name="p"):
    return {
        "url": [f"http://web/{name}{n}" for n in range(count)],
        "caption": [f"c{n}" for n in range(count)],
    }


def fill(web, count, name="p"):
    return [web.picture(f"{name}{n}") for n in range(count)]


def held(folder):
    paths = sorted((folder / "out").rglob("*.parquet"))
    tables = [pq.read_table(path, columns=["caption", "image_bytes"]) for path in paths]
    return pa.concat_tables(tables).to_pydict()


def test_parts_are_files_of_so_many_rows(web, published, fetch, tmp_path, heard):
    pictures = fill(web, 10)
    pattern = published(links(10), name="sub/x.parquet", row_group_size=3)
    records = fetch("blip3-kale", str(Path(pattern).parent.parent / "**/*.parquet"), part_rows=4)
    names = [f"sub/x-0000{n}.parquet" for n in range(3)]
    assert list(records) == heard.parts == names
    assert [one.counts.rows for one in records.values()] == [4, 4, 2]
    assert [one.last for one in records.values()] == [False, False, True]
    assert held(tmp_path) == {"caption": links(10)["caption"], "image_bytes": pictures}
    assert heard.files == [("sub/x.parquet", 1, 1, 10, 0)]


def test_second_run_fetches_nothing(web, published, fetch, tmp_path, heard):
    fill(web, 10)
    path = published(links(10))
    first = fetch("blip3-kale", path, part_rows=4)
    summary = (tmp_path / "out" / "download.json").read_bytes()
    calls = len(web.calls)
    assert fetch("blip3-kale", path, part_rows=4) == first
    assert len(web.calls) == calls
    assert heard.files[-1] == ("x.parquet", 1, 1, 10, 10)
    assert (tmp_path / "out" / "download.json").read_bytes() == summary


def test_after_a_crash_only_the_rest_is_fetched(web, published, fetch, tmp_path, heard):
    pictures = fill(web, 10)
    path = published(links(10))

    def crash_after_the_first(name, record):
        heard.parts.append(name)
        web.put(crash=True)

    heard.part = crash_after_the_first
    with pytest.raises(Img2datasetError, match=r"(?s)code 1 after 0 of 2.*no space left, says"):
        fetch("blip3-kale", path, part_rows=4)
    assert heard.parts == ["x-00000.parquet"]
    assert sorted(one.name for one in (tmp_path / "out").iterdir()) == [
        ".lock", "download.json", "x-00000.parquet",
    ]  # fmt: skip
    del heard.part
    before = len(web.calls)
    web.put(crash=False)
    fetch("blip3-kale", path, part_rows=4)
    asked = {url for call in web.calls[before:] for url in call["urls"]}
    assert asked == set(links(10)["url"][4:])
    assert held(tmp_path) == {"caption": links(10)["caption"], "image_bytes": pictures}
    assert json.loads((tmp_path / "out" / "download.json").read_text())["total"]["alive"] == 10


def test_a_part_that_was_removed_is_fetched_anew_and_no_other(web, published, fetch, tmp_path):
    pictures = fill(web, 10)
    path = published(links(10))
    fetch("blip3-kale", path, part_rows=4)
    (tmp_path / "out" / "x-00001.parquet").unlink()
    before = len(web.calls)
    records = fetch("blip3-kale", path, part_rows=4)
    asked = [url for call in web.calls[before:] for url in call["urls"]]
    assert sorted(asked) == links(10)["url"][4:8]
    assert sum(one.counts.rows for one in records.values()) == 10
    assert held(tmp_path)["image_bytes"] == pictures


def test_a_batch_without_an_end_is_an_error_and_a_lost_link_is_counted(web, published, fetch):
    fill(web, 6)
    web.put(cut=True, **{"http://web/p1": "lost"})
    path = published(links(6))
    with pytest.raises(Img2datasetError, match="ended after 1 of 2 batches"):
        fetch("blip3-kale", path)
    web.put(cut=False)
    (record,) = fetch("blip3-kale", path).values()
    assert record.counts.dead == {"no answer of img2dataset": 1}
    assert record.counts.alive == 5


def test_a_download_goes_on_only_as_it_began(web, published, fetch, tmp_path):
    path = published(links(3))
    fetch("blip3-kale", path)
    with pytest.raises(ValueError, match=r"x-00000.parquet was made with part_rows 20000, now 2;"):
        fetch("blip3-kale", path, part_rows=2)
    with pytest.raises(ValueError, match=r"made with source blip3-kale, now cc3m;"):
        fetch("cc3m", path)
    published(links(4))
    with pytest.raises(ValueError, match=r"made with published_bytes \d+, now \d+"):
        fetch("blip3-kale", path)
    published(links(3))
    pq.write_table(pa.table(links(1)), tmp_path / "out" / "x-00001.parquet")
    with pytest.raises(ValueError, match=r"x-00001.parquet is there, and .* did not write it"):
        fetch("blip3-kale", path)


def test_published_files_in_the_folder_are_refused(published, fetch, tmp_path):
    path = Path(published(links(1)))
    (tmp_path / "out").mkdir()
    inside = path.rename(tmp_path / "out" / "x.parquet")
    with pytest.raises(ValueError, match=r"lies in .*out; wanted another folder"):
        fetch("blip3-kale", str(inside))


def test_a_network_that_is_down_is_not_written_as_dead_links(web, published, fetch, tmp_path):
    path = published(links(150))
    web.put(**dict.fromkeys(links(150)["url"], "error: <urlopen error [Errno -3] Temporary "
                            "failure in name resolution>"))  # fmt: skip
    with pytest.raises(TooManyDead, match=r"rows 0 to 149: of 150 links 150 are dead \(name servi"):
        fetch("blip3-kale", path, max_dead_share=0.9)
    assert list((tmp_path / "out").rglob("*.parquet")) == []
    pictures = fill(web, 150)
    fetch("blip3-kale", path, max_dead_share=0.9)
    assert held(tmp_path)["image_bytes"] == pictures


@pytest.fixture
def typed(web, tmp_path):
    """Start the verb with the fake command in a process of its own."""
    program = tmp_path / "img2dataset"
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" "{FAKE}" "$@"\n')
    program.chmod(0o755)
    started = []

    def start(path):
        words = ["data", "download", "blip3-kale", path, "-o", str(tmp_path / "out")]
        options = ["--img2dataset", str(program), "--threads", "1", "--part-rows", "4"]
        process = subprocess.Popen(
            [sys.executable, "-m", "mmcore", *words, *options],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


def wait_for(what, seconds=20):
    end = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.02)


def is_alive(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return "Z" not in Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL], ids=["ctrl-c", "kill -9"])
def test_stopped_in_the_middle_it_leaves_no_process_and_goes_on(
    number, web, published, typed, tmp_path
):
    pictures = fill(web, 6)
    web.put(hang=True)
    path = published(links(6))
    process = typed(path)
    noted = web.path.with_suffix(".pid")
    wait_for(lambda: noted.exists() and noted.read_text())
    child = int(noted.read_text())
    assert is_alive(child)
    process.send_signal(number)
    _, said = process.communicate(timeout=20)
    wait_for(lambda: not is_alive(child))
    assert list((tmp_path / "out").glob("*.parquet")) == []
    if number == signal.SIGINT:
        assert process.returncode == 130
        assert said.endswith("interrupted\n")
        assert not (tmp_path / "out" / ".fetching").exists()
    web.put(hang=False)
    again = typed(path)
    told, said = again.communicate(timeout=60)
    assert again.returncode == 0, said
    assert "6 rows in 2 files" in told
    assert held(tmp_path)["image_bytes"] == pictures
    assert not (tmp_path / "out" / ".fetching").exists()


def test_two_downloads_into_one_folder_are_refused(web, published, typed, tmp_path):
    web.put(hang=True)
    path = published(links(6))
    typed(path)
    wait_for(web.path.with_suffix(".pid").exists)
    _, said = (second := typed(path)).communicate(timeout=20)
    assert second.returncode == 1
    assert "another `mmcore data download` is writing to" in said


@pytest.mark.parametrize(("cut_off", "lost"), [(0, 0), (2048, 0), (2560, 1)])
def test_a_server_that_never_ends_costs_its_own_link(
    cut_off, lost, web, published, fetch, tmp_path
):
    """Of a batch that is given up, every picture is kept that its tar holds whole."""
    pictures = fill(web, 6)
    web.put(drip="http://web/p3", cut_off=cut_off, **{"http://web/p3": "lost"})
    (record,) = fetch("blip3-kale", published(links(6)), processes=2, patience=1.0).values()
    assert record.counts.dead == {"no end in sight": 1 + lost}
    found = held(tmp_path)["image_bytes"]
    assert found[3] is None
    kept = [(one, picture) for one, picture in zip(found, pictures, strict=True) if one]
    assert len(kept) == 5 - lost
    assert all(one == picture for one, picture in kept)


def test_a_disk_that_is_full_leaves_no_part(web, published, fetch, tmp_path, monkeypatch):
    pictures = fill(web, 3)
    path = published(links(3))

    def full(*_):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("mmcore.downloading.prepared.os.fsync", full)
        with pytest.raises(OSError, match="No space"):
            fetch("blip3-kale", path)
    assert [one.name for one in (tmp_path / "out").iterdir()] == [".lock"]
    fetch("blip3-kale", path)
    assert held(tmp_path)["image_bytes"] == pictures
