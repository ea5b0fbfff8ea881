"""A run folder belongs to one recipe and one process; nothing in it is ever overwritten."""

import os
import stat
import subprocess
import sys

import pytest

from mmcore.recipe import load_recipe, to_toml
from mmcore.run_folder.folder import (
    RunFolderError,
    differences,
    locked,
    prepare,
    write_environment,
    write_whole,
)

RECIPE = """
name = "a"
[engine]
use = "torch"
[[stages]]
name = "one"
tokens = 1000.0
"""


def test_first_use_stores_the_recipe(tmp_path):
    prepare(tmp_path / "run", RECIPE, "auto")
    assert (tmp_path / "run" / "recipe.toml").read_text() == RECIPE


def test_another_recipe_is_refused_with_what_differs(tmp_path):
    prepare(tmp_path, RECIPE, "auto")
    with pytest.raises(RunFolderError, match=r"stages\.0\.tokens: 1000\.0 -> 2000\.0"):
        prepare(tmp_path, RECIPE.replace("1000.0", "2000.0"), "auto")
    assert (tmp_path / "recipe.toml").read_text() == RECIPE


def test_another_engine_is_no_other_recipe(tmp_path):
    prepare(tmp_path, RECIPE, "auto")
    prepare(tmp_path, RECIPE.replace("torch", "deepspeed"), "auto")
    assert "deepspeed" in (tmp_path / "recipe.toml").read_text()


def test_never_moves_the_old_run_aside_and_keeps_it(tmp_path):
    folder = tmp_path / "run"
    prepare(folder, RECIPE, "auto")
    (folder / "metrics.jsonl").write_text("1\n")
    prepare(folder, RECIPE, "never")
    assert not (folder / "metrics.jsonl").exists()
    assert (tmp_path / "run.old-1" / "metrics.jsonl").read_text() == "1\n"
    prepare(folder, RECIPE, "never")
    assert (tmp_path / "run.old-2" / "recipe.toml").exists()


def test_differences_name_added_and_removed_keys():
    before, after = {"a": {"x": 1, "y": [1, 2]}}, {"a": {"y": [1, 3], "z": None}, "b": 1}
    assert differences(before, after) == ["a.x: 1 -> nothing", "a.y.1: 2 -> 3", "b: nothing -> 1"]


def test_a_second_process_is_kept_out_and_let_in_afterwards(tmp_path):
    program = (
        "import sys; from pathlib import Path; from mmcore.run_folder.folder import *\n"
        "try:\n"
        "    with locked(Path(sys.argv[1])): print('in')\n"
        "except RunFolderError as error: print(error)"
    )

    def enter():
        command = [sys.executable, "-c", program, str(tmp_path)]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout

    with locked(tmp_path):
        assert "in use by process" in enter()
    assert enter().strip() == "in"


def test_environment_grows_by_one_entry_per_start(tmp_path):
    write_environment(tmp_path, ranks=1, device="cpu")
    write_environment(tmp_path, ranks=2, device="cpu")
    import json

    entries = json.loads((tmp_path / "environment.json").read_text())
    assert [entry["ranks"] for entry in entries] == [1, 2]
    assert entries[0]["packages"]["torch"]


def test_a_start_that_is_killed_while_it_writes_leaves_what_was_there(tmp_path, monkeypatch):
    prepare(tmp_path, RECIPE, "auto")
    write_environment(tmp_path, 1, "cpu")
    before = {one.name: one.read_bytes() for one in tmp_path.iterdir()}

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("pathlib.Path.replace", killed)
    for start in (
        lambda: prepare(tmp_path, RECIPE.replace("torch", "deepspeed"), "auto"),
        lambda: write_environment(tmp_path, 2, "cpu"),
    ):
        with pytest.raises(KeyboardInterrupt):
            start()
    assert {name: (tmp_path / name).read_bytes() for name in before} == before


def test_a_folder_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / "runs").write_text("a file in its place")
    with (
        pytest.raises(RunFolderError, match=r"runs/x cannot be made .*Not a directory"),
        locked(tmp_path / "runs" / "x"),
    ):
        pass


@pytest.mark.parametrize("damage", ["", "{", '{"a": 1}'])
def test_a_damaged_environment_is_named(tmp_path, damage):
    (tmp_path / "environment.json").write_text(damage)
    with pytest.raises(RunFolderError, match=r"environment\.json is damaged"):
        write_environment(tmp_path, 1, "cpu")
    assert (tmp_path / "environment.json").read_text() == damage


def test_a_damaged_recipe_is_named(tmp_path):
    (tmp_path / "recipe.toml").write_text("name = ")
    with pytest.raises(RunFolderError, match=r"recipe\.toml is damaged"):
        prepare(tmp_path, RECIPE, "auto")


def test_a_key_that_is_newer_than_the_folder_has_its_default(tmp_path, request):
    path = request.config.rootpath / "tests/end_to_end/mini.toml"
    text = to_toml(load_recipe(path))
    key = "head_bias = false\n"
    assert key in text
    (tmp_path / "recipe.toml").write_text(text.replace(key, ""))
    prepare(tmp_path, text, "auto")
    (tmp_path / "recipe.toml").write_text(text.replace(key, ""))
    with pytest.raises(RunFolderError, match=r"model\.llm\.head_bias: false -> true"):
        prepare(tmp_path, text.replace(key, "head_bias = true\n"), "auto")


def test_a_file_is_on_the_disk_before_it_has_its_name_and_the_name_after(
    tmp_path, monkeypatch
) -> None:
    path, seen = tmp_path / "rollbacks.json", []
    path.write_text("before")
    usual = os.fsync

    def fsync(handle: int) -> None:
        kind = "folder" if stat.S_ISDIR(os.fstat(handle).st_mode) else "file"
        seen.append((kind, path.read_text(encoding="utf-8")))
        usual(handle)

    monkeypatch.setattr(os, "fsync", fsync)
    write_whole(path, "ä\n")
    assert seen == [("file", "before"), ("folder", "ä\n")]
    assert [one.name for one in tmp_path.iterdir()] == ["rollbacks.json"]
