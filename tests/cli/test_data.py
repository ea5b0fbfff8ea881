"""The verbs that look at a recipe's data: tables, files, exit codes, messages."""

import json
import os

import pytest

from mmcore.cli.distributions import bars
from mmcore.cli.findings import SHOWN_FAULTS, printable

SMALLER = ("max_tokens = 1024", "max_tokens = 2048")


def table(stdout):
    """The lines of the first table by their first word, split where two spaces are."""
    rows = [line.split() for line in stdout.splitlines() if line.startswith("  ")]
    return {row[0]: row for row in rows}


def test_check_makes_up_rows_and_reports(mmcore, recipe):
    done = mmcore("data", "check", recipe(SMALLER), "--rows", "5")
    assert done.exit_code == 0, done.stderr
    assert done.stderr == ""  # the bar is for terminals
    assert "stage only: packs of 2,048 tokens and 16 views" in done.stdout
    rows = [line.split() for line in done.stdout.splitlines() if line.startswith("  llava-json")]
    assert rows[0][:4] == ["llava-json", "8", "5", "0"]
    assert rows[1] == ["llava-json", "4", "json", "data/*.json"]
    assert done.stdout.splitlines()[-1] == "no faults"


def test_check_in_json(mmcore, recipe):
    done = mmcore("data", "check", recipe(SMALLER), "--rows", "5", "--json")
    [stage] = json.loads(done.stdout)["stages"]
    assert stage["sources"][0]["read"] == 5
    assert stage["mixture"]["packs"] > 0


def test_check_fails_where_a_source_does(mmcore, recipe):
    name = recipe(SMALLER, ("synthetic = { rows = 8 }", ""))
    done = mmcore("data", "check", name)
    assert done.exit_code == 1
    assert "1 fault" in done.stdout
    assert "only: source 'llava-json', path 'data/*.json'" in done.stdout
    assert mmcore("data", "check", name, "--made-up", "--rows", "4").exit_code == 0
    assert not os.path.exists("data")


def test_many_faults_of_one_source_do_not_hide_another(mmcore, recipe, monkeypatch):
    from mmcore_blip3.llava_json import LlavaJsonSource

    def broken(self, row, key):
        raise KeyError("conversations")

    monkeypatch.setattr(LlavaJsonSource, "parse", broken)
    second = '[[stages.data]]\nuse = "cc3m"\npath = "gone/*.tar"\n'
    name = recipe(SMALLER, ("synthetic = { rows = 8 }", f"synthetic = {{ rows = 8 }}\n{second}"))
    done = mmcore("data", "check", name)
    assert done.exit_code == 1
    assert "4 faults" in done.stdout
    assert done.stdout.count("KeyError: 'conversations'") == SHOWN_FAULTS
    assert "source 'cc3m', path 'gone/*.tar'" in done.stdout


def test_messages_do_not_steer_a_terminal():
    assert printable("a\x1b[2Jb\nc") == "a\ufffd[2Jb\ufffdc"
    assert len(printable("x" * 1000)) < 310


def test_preview_writes_one_page(mmcore, recipe):
    done = mmcore("data", "preview", recipe(SMALLER), "-o", "page.html", "--samples", "2")
    assert done.exit_code == 0, done.stderr
    assert done.stdout.startswith("2 samples in page.html (")
    with open("page.html", encoding="utf-8") as page:
        assert page.read().count('<article class="sample') == 2


def test_stats_writes_plots(mmcore, recipe):
    done = mmcore("data", "stats", recipe(SMALLER), "--samples", "20", "-o", "some/where")
    assert done.exit_code == 0, done.stderr
    assert table(done.stdout)["llava-json"][-2:] == ["100.00%", "100.00%"]
    assert sorted(os.listdir("some/where")) == ["only.png", "stats.json"]


@pytest.mark.parametrize("verb", ["check", "preview", "stats"])
def test_an_unknown_stage_comes_with_the_nearest(mmcore, recipe, verb):
    done = mmcore("data", verb, recipe(SMALLER), "--stage", "onyl")
    assert done.exit_code == 1
    assert "no stage is called 'onyl'; did you mean 'only'?" in done.stderr


@pytest.mark.parametrize("verb", ["check", "preview", "stats"])
def test_faults_of_the_recipe_come_first(mmcore, recipe, verb):
    done = mmcore("data", verb, recipe(("queries = 8", "querys = 8")))
    assert done.exit_code == 1
    assert "querys" in done.stderr


def test_an_unknown_source_comes_with_the_nearest(mmcore, recipe):
    done = mmcore("data", "preview", recipe(SMALLER), "--source", "llava")
    assert done.exit_code == 1
    assert "did you mean 'llava-json'?" in done.stderr


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["preview", "-o", "gone/page.html"], "there is no folder 'gone'"),
        (["preview", "-o", "."], "is a folder; wanted the name of a file"),
        (["stats", "-o", "small.toml"], "'small.toml' cannot be a folder"),
    ],
)
def test_what_cannot_be_written_is_said_before_the_work(mmcore, recipe, words, message):
    verb, *options = words
    done = mmcore("data", verb, recipe(SMALLER), *options)
    assert done.exit_code == 1
    assert message in done.stderr
    assert not os.path.exists("data")  # no rows were made up yet


def test_bars_show_what_is_not_empty():
    assert bars([0, 1, 1000, 500]) == "·▁█▄"
    assert bars([0, 0]) == "··"
