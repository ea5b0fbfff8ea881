"""The page of a sweep says what its cells wrote down, and no more than that."""

from __future__ import annotations

import csv
import math
import re
from pathlib import Path

import pytest
from click.testing import CliRunner

from mmcore.cli.report import command
from mmcore.interfaces import KindScore
from mmcore.reporting.sweep.cells import number, numeric, read
from mmcore.reporting.sweep.curves import band
from mmcore.reporting.sweep.differences import compared
from mmcore.reporting.sweep.figures import pictures
from mmcore.reporting.sweep.learning import reached
from mmcore.reporting.sweep.measures import grid
from mmcore.reporting.sweep.reading import reading
from mmcore.reporting.sweep.tables import tables
from mmcore.reporting.sweep.writing import write

UNFINISHED = {
    "sampler=mlp,seed=2": "failed",
    "sampler=pooled,seed=1": "waiting",
    "sampler=pooled,seed=2": "unfinished",
    "sampler=pooled,seed=3": "waiting",
}


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def told(sweep_of_samplers):
    """The folder of the manual and that of the sweep, after a report."""
    docs = sweep_of_samplers.parent / "docs"
    done = CliRunner().invoke(command, [str(sweep_of_samplers), "--markdown", str(docs)])
    assert done.exit_code == 0, done.output
    pages = [sweep_of_samplers / "report.html", docs / "samplers.md"]
    assert done.output.split() == [str(page) for page in pages]
    return docs, sweep_of_samplers


def test_the_command_knows_a_sweep_from_a_run(told, tmp_path) -> None:
    _, folder = told
    run = folder / "cells" / "sampler=mlp,seed=1"
    done = CliRunner().invoke(command, [str(run)])
    assert done.exit_code == 0, done.output
    assert "Stages" in (run / "report.html").read_text()
    done = CliRunner().invoke(command, [str(run), "--markdown", str(tmp_path)])
    assert "no cells.json" in done.output


def test_means_and_spreads_are_those_of_the_cells(told) -> None:
    """Of mlp's seeds 83, 81 and 84 of a hundred texts are right: mean 82.67, deviation 1.53."""
    _, folder = told
    found = {
        (row["sampler"], row["measure"]): row for row in rows(folder / "summary.csv")
    }  # fmt: skip
    reading = found["mlp", "puzzle/reading"]
    assert [float(reading[name]) for name in ("mean", "spread", "n", "questions", "luck")] == (
        pytest.approx([0.826667, 0.0152753, 3, 300, 0.2], abs=1e-6)
    )
    assert reading["at_chance"] == "no"
    assert found["mlp", "puzzle/compare"]["at_chance"] == "yes"
    assert float(found["pooled", "tokens"]["mean"]) == 6000
    assert float(found["pooled", "seconds"]["mean"]) == 130
    assert float(found["pooled", "tokens_per_second"]["mean"]) == 50
    cells = rows(folder / "cells.csv")
    assert len({row["cell"] for row in cells}) == 9
    one = [row for row in cells if row["cell"] == "sampler=mlp,seed=2"]
    assert {row["measure"]: float(row["value"]) for row in one}["puzzle/reading"] == 0.81


def test_the_page_and_the_manual_say_the_same(told) -> None:
    docs, folder = told
    page, manual = (folder / "report.html").read_text(), (docs / "samplers.md").read_text()
    for words in (
        "9 finished of 9", "82.7 ± 1.5", "(21.0 ± 1.0)", "reading (luck 20)", "AMD EPYC 9B14",
        "torch 2.10.0", "6,000 tokens, 1.2e+12 FLOPs", "2026-11-25", "1, 2, 3",
        "At chance at every point: puzzle/compare.",
        "perceiver is worse than mlp by", "puzzle/colour no two points are told apart",
        "1.2 million learned parameters", "3 seeds a point", "nothing about larger models",
        "Errors rise with compression", "mmcore sweep samplers.toml", "Which connector?",
    ):  # fmt: skip
        assert words in page, words
        assert words in manual, words
    assert not re.findall(r"""(?:src|href)=["'](?!data:)""", page)
    assert "<script" not in page
    assert manual.startswith("# Which connector?\n")
    assert str(folder.parent) not in page + manual
    assert "../" not in page + manual
    drawn = re.findall(r"\]\((samplers/[^)]+\.png)\)", manual)
    assert sorted(drawn) == sorted(f"samplers/{one.name}" for one in docs.glob("samplers/*.png"))
    assert len(drawn) == 3
    for name in drawn:
        assert (docs / name).read_bytes().startswith(b"\x89PNG")
        assert (folder / "figures" / Path(name).name).exists()


def test_the_same_folder_gives_the_same_bytes(told, tmp_path) -> None:
    docs, folder = told
    write(folder, tmp_path / "report.html", tmp_path / "docs")
    names = [path.relative_to(tmp_path) for path in tmp_path.rglob("*.*")]
    assert {path.suffix for path in names} == {".html", ".csv", ".md", ".png"}
    for name in names:
        before = folder.parent / name if name.parts[0] == "docs" else folder / name
        assert (tmp_path / name).read_bytes() == before.read_bytes(), name
    assert docs.is_dir()


def test_failed_and_unfinished_cells_are_named_and_counted_nowhere(make_sweep, tmp_path) -> None:
    folder = make_sweep(states=UNFINISHED)
    (folder / "figures").mkdir()
    (folder / "figures" / "old.png").write_bytes(b"")
    write(folder, folder / "report.html", tmp_path)
    page, manual = (folder / "report.html").read_text(), (tmp_path / "samplers.md").read_text()
    assert "5 of 9 cells have finished; 1 failed" in page
    assert "Nothing is known of pooled" in page
    assert "the loss was nan | &lt;b&gt; at step 7" in page
    assert r"the loss was nan \| \<b> at step 7" in manual
    rest = {row["cell"]: row for row in rows(folder / "cells.csv") if row["outcome"] != "finished"}
    assert {cell: row["outcome"] for cell, row in rest.items()} == UNFINISHED
    assert rest["sampler=mlp,seed=2"]["reason"] == "the loss was nan | <b> at step 7"
    assert rest["sampler=pooled,seed=2"]["reason"] == "at step 60 of about 60"
    summary = rows(folder / "summary.csv")
    assert {row["sampler"]: row["n"] for row in summary} == {"mlp": "2", "perceiver": "3"}
    pairs = {row["measure"]: row for row in rows(folder / "differences.csv")}
    assert pairs["puzzle/reading"]["n"] == "2", "only seeds that both have"
    assert not (folder / "figures" / "old.png").exists(), "of an earlier report"


def test_a_sweep_in_which_nothing_finished_has_a_page(make_sweep) -> None:
    points = ("mlp", "perceiver", "pooled")
    states = {f"sampler={point},seed={seed}": "waiting" for point in points for seed in (1, 2, 3)}
    folder = make_sweep(states=states)
    write(folder, folder / "report.html")
    page = (folder / "report.html").read_text()
    assert "No cell has finished, so nothing is shown yet." in page
    assert page.count("waiting") == 9


def test_seeds_that_are_at_chance_alone_are_counted(make_sweep) -> None:
    """25, 26 and 45 of a hundred: 96 of 300 clear a luck of 20, and so does the last seed alone."""
    kinds = {"place": lambda value, seed: (25, 26, 45)[seed - 1] if value == "mlp" else 90}
    told = reading(grid(read(make_sweep(kinds=kinds))))
    assert (
        "In puzzle/place single seeds are at chance where all together are not: mlp (2 of 3)."
        in told
    )


def test_a_score_that_is_named_and_was_never_asked_is_said(make_sweep) -> None:
    told = reading(grid(read(make_sweep(measures=("puzzle/reading", "puzzle/raeding")))))
    assert any(one.startswith("`scores` names puzzle/raeding, which no cell was") for one in told)


def test_the_fewer_of_pairs_and_measures_stand_side_by_side(make_sweep) -> None:
    found = next(one for one in tables(grid(read(make_sweep()))) if one.title == "Differences")
    assert found.head == (
        "", "n", "perceiver less mlp", "pooled less mlp", "pooled less perceiver",
    )  # fmt: skip
    named = [row[0].text for row in found.rows]
    assert named[0] == "puzzle/colour (percentage points)"
    assert named[-3:] == [
        "loss (nats)", "tokens to the common loss (thousand tokens)", "gradient variance",
    ]  # fmt: skip
    axes = (("sampler", ("mlp", "perceiver", "pooled", "a", "b")),)
    kinds = {"colour": lambda value, seed: 90 + seed}
    many = next(
        one
        for one in tables(grid(read(make_sweep("many", axes=axes, kinds=kinds))))
        if one.title == "Differences"
    )
    assert many.head[:3] == ("points", "n", "puzzle/colour (percentage points)")
    assert len(many.rows) == 10


def test_many_kinds_stand_below_one_another(make_sweep) -> None:
    kinds = {f"reading|{size}px": lambda value, seed: 50 + seed for size in range(6)}
    found = tables(grid(read(make_sweep(kinds={"colour": lambda value, seed: 96 + seed, **kinds}))))
    scores = found[0]
    assert scores.head == ("", "mlp", "perceiver", "pooled")
    assert [row[0].text for row in scores.rows][:3] == [
        "n",
        "colour (luck 20)",
        "reading 0px (luck 20)",
    ]
    assert [entry.text for entry in scores.rows[1]][1:] == ["98.0 ± 1.0"] * 3


def test_one_seed_has_no_spread_and_tells_nothing_apart(make_sweep) -> None:
    found = grid(read(make_sweep(seeds=(1,))))
    scores = next(one for one in tables(found) if one.title.startswith("Scores"))
    assert [entry.text for entry in scores.rows[0]][:3] == ["mlp", "1", "97.0"]
    assert {one.verdict for one in compared(found)} == {
        "one seed: nothing can be said", "both at chance: shows nothing",
    }  # fmt: skip
    assert reading(found)[0].startswith("One seed of mlp, perceiver and pooled")
    assert not any("better" in sentence or "worse" in sentence for sentence in reading(found))


def test_what_is_at_chance_is_not_compared(make_sweep) -> None:
    """19 against 24 of a hundred where luck has 20: apart as numbers, and nothing is shown."""
    kinds = {"compare": lambda value, seed: {"mlp": 17}.get(value, 20) + seed}
    found = grid(read(make_sweep(kinds=kinds, luck=0.25)))
    pairs = [one for one in compared(found) if one.measure == "puzzle/compare"]
    assert pairs[0].found.apart
    assert not any(one.apart for one in pairs)
    assert not any("better" in sentence or "worse" in sentence for sentence in reading(found))


def test_measures_that_the_sweep_names_come_first_with_their_levels(make_sweep) -> None:
    named = ("puzzle/reading 8px", "puzzle/compare", "puzzle/none")
    found = grid(read(make_sweep(measures=named)))
    assert list(found.scores)[:3] == ["puzzle/reading 8px", "puzzle/compare", "puzzle/colour"]
    assert "puzzle/reading 8px" in found.kinds
    assert "puzzle/reading 20px" not in found.kinds


def test_points_are_compared_along_one_axis_where_axes_are_crossed(make_sweep) -> None:
    axes = (("queries", ("4", "8")), ("tiles", ("1 tile", "4 tiles")))
    keys = {
        n: ["model.token_sampler.use=perceiver", f"model.token_sampler.queries={n}"]
        for n in ("4", "8")
    }
    kinds = {"colour": lambda value, seed: 90 + seed}
    found = grid(read(make_sweep("two", axes=axes, overrides=keys, kinds=kinds, seeds=(1,))))
    names = {(one.first.name, one.second.name) for one in compared(found)}
    assert names == {
        ("queries 4, tiles 1 tile", "queries 4, tiles 4 tiles"),
        ("queries 4, tiles 1 tile", "queries 8, tiles 1 tile"),
        ("queries 4, tiles 4 tiles", "queries 8, tiles 4 tiles"),
        ("queries 8, tiles 1 tile", "queries 8, tiles 4 tiles"),
    }
    drawn = [one.name for one in pictures(found)]
    assert drawn == ["axis-queries-puzzle", "axis-tiles-puzzle", "loss", "gradient-norm"]


def test_budgets_that_differ_are_said(make_sweep) -> None:
    folder = make_sweep()
    text = (folder / "cells.json").read_text()
    changed = text.replace('"flops": 1200000000000.0', '"flops": 2400000000000.0', 3)
    (folder / "cells.json").write_text(changed)
    assert reading(grid(read(folder)))[0].startswith(
        "The points were not given the same FLOPs (mlp 2.4e+12, "
    )


def test_convergence_is_where_the_mean_of_the_last_steps_stays_below() -> None:
    falling = [(100.0 * n, 5.0 if n <= 30 else 1.0) for n in range(1, 61)]
    # From step 30 on, k of 20 steps are at 1: their mean is 5 - 4 k / 20, at most 2 from k = 15.
    assert reached(falling, 2.0) == 4500
    assert reached(falling, 0.5) is None
    again = [*falling[:55], *((100.0 * n, 40.0) for n in range(56, 58)), *falling[57:]]
    assert reached(again, 2.0) is None, "it did not stay there"
    assert reached([], 1.0) is None


def test_a_band_is_of_the_seeds_means_in_bins_of_tokens() -> None:
    one = [(1.0, 1.0), (2.0, 3.0), (3.0, 5.0), (4.0, 7.0)]
    other = [(2.0, 4.0), (4.0, 8.0)]
    found = band([one, other])
    assert found.tokens == [1.0, 3.0]
    # Means of the first seed in both bins: 2 and 6; of the second: 4 and 8.
    assert (found.means, found.least, found.most) == ([3, 7], [2, 6], [4, 8])
    assert band([one]).means == [1, 3, 5, 7]


def test_numbers_are_told_from_words() -> None:
    assert numeric(["8", "16", "1e3"])
    assert not numeric(["8", "16 tiles"])
    assert number("0.5") == 0.5
    assert number("mlp") is None


def test_a_kind_asked_of_some_points_only_has_gaps(make_sweep) -> None:
    """A point whose task has no such kind is left out of it, not counted as wrong."""
    folder = make_sweep(seeds=(1, 2))
    path = folder / "cells" / "sampler=mlp,seed=1" / "evaluations.jsonl"
    path.write_text(path.read_text().replace('"compare"', '"other"'))
    found = grid(read(folder))
    point = found.story.points[0]
    score = found.pooled(point, "puzzle/compare")
    assert isinstance(score, KindScore)
    assert score.questions == 100
    told = found.summary(point, "puzzle/other")
    assert told is not None
    assert told.n == 1


def test_losses_of_other_data_are_not_compared(make_sweep) -> None:
    axes = (("interleaved", ("0.1", "0.7")),)
    shares = {"0.1": ["stages.single.data.0.side=96"], "0.7": []}
    kinds = {"colour": lambda value, seed: 90 + seed}
    found = grid(read(make_sweep(axes=axes, overrides=shares, kinds=kinds)))
    assert {one.measure for one in compared(found)} == {"puzzle/colour", "variance"}
    learning = next(one for one in tables(found) if one.title == "Learning")
    assert "losses of different things, which are not compared" in learning.note
    rows = {row[0].text: [entry.text for entry in row[1:]] for row in learning.rows}
    assert rows["thousand tokens to the common loss"] == ["–", "–"]
    assert all(text.startswith("1.") for text in rows["loss at the end"]), "each has its own"


def test_steadiness_speed_of_learning_and_spikes_are_told(make_sweep) -> None:
    """The second point swings more, learns more slowly, and leaps once in every seed."""

    def step(value: str, number: int) -> dict[str, float]:
        slow = value == "two"
        shape = 1 + 3 * math.exp(-number / (30 if slow else 10)) + 0.01 * (number % 4)
        return {
            "loss": shape + (60 if slow and number == 40 else 0),
            "grad_norm": 2 + (1 if slow else 0.1) * math.sin(number),
        }

    kinds = {"colour": lambda value, seed: 90 + seed}
    axes = (("loss", ("one", "two")),)
    found = grid(read(make_sweep(axes=axes, overrides={}, kinds=kinds, step=step)))
    told = reading(found)
    assert any("gradient variance" in one and "two is less steady than one" in one for one in told)
    assert "Losses leapt, over all seeds: one 0 and two 3." in told
    converged = {one.measure: one for one in compared(found)}["converged"]
    assert converged.found.mean > 0
    # Steps of 100 tokens: seeds that agree to the step are no closer than rounding to steps says.
    assert converged.found.half is not None
    assert converged.found.half >= 4.302 * 100 / math.sqrt(6) / math.sqrt(3)
