"""Signatures are told where numbers show them, and nowhere else."""

from __future__ import annotations

import math

import attrs
import pytest

from mmcore.evaluation.scores import wilson
from mmcore.interfaces import Evaluation, KindScore
from mmcore.reporting import facts
from mmcore.reporting.diagnosis import diagnoses, terms
from mmcore.reporting.facts import Facts, StageFacts
from mmcore.reporting.steadiness import gradient_variance, spikes
from mmcore.reporting.story import Story
from mmcore.reporting.sweep import diagnosis as of_sweep
from mmcore.reporting.sweep.cells import read
from mmcore.reporting.sweep.measures import grid
from mmcore.training.spikes import SpikeGuard


def score(kind: str, right: float, level: str = "", luck: float = 0.2) -> KindScore:
    return KindScore(
        f"{kind} {level}".strip(), 100, right, *wilson(right, 100), luck, 0.0, level
    )  # fmt: skip


def step(number: int, **changes: float) -> dict[str, object]:
    return {
        "step": number, "stage": "base", "stage_step": number, "loss": 1.0 + 0.01 * (number % 3),
        "grad_norm": 1.0, "tokens": 10.0, "seconds": 1.0, "skipped": 0.0, "samples": 10.0,
        "pictures": 10.0, **changes,
    }  # fmt: skip


def story(steps: list[dict[str, object]], *scores: KindScore) -> Story:
    told = [Evaluation("task", "base", "base", len(steps), scores)] if scores else []
    return Story("run", steps, [], [], told, [])


STEADY = [step(number) for number in range(1, 41)]
TWO = Facts(stages={"base": StageFacts({"autoregressive": 1.0, "itc": 2.0}, {}, {}, 0)})


def test_a_steady_run_whose_answers_are_alike_has_no_diagnosis() -> None:
    alike = (score("reading", 0.7), score("reading", 0.65, "8px"), score("reading", 0.75, "20px"))
    assert diagnoses(story(STEADY, *alike), Facts(compression=4.0)) == []
    assert diagnoses(story(STEADY), Facts()) == []


def test_small_things_worse_than_large_ones_are_fine_detail() -> None:
    told = (score("words", 0.2, "4x4 8px"), score("words", 0.9, "4x4 20px"))
    (found,) = diagnoses(story(STEADY, *told), Facts(compression=5.7))
    assert found.title == "Fine detail is lost"
    assert "words 4x4 8px 20 [13, 29] against words 4x4 20px 90 [83, 94]" in found.evidence
    assert "5.7 patches a token" in found.evidence
    assert "`queries`" in found.advice


def test_sizes_are_compared_where_nothing_else_differs() -> None:
    told = (score("words", 0.2, "4x4 8px"), score("words", 0.9, "2x2 20px"))
    assert diagnoses(story(STEADY, *told), Facts()) == []


def test_large_things_at_chance_say_nothing_of_small_ones() -> None:
    told = (score("words", 0.02, "8px", luck=0.3), score("words", 0.3, "20px", luck=0.3))
    assert diagnoses(story(STEADY, *told), Facts()) == []


def test_several_pictures_at_chance_beside_questions_that_are_answered() -> None:
    choose = (score("choose", 0.3), score("choose", 0.4, "2 pictures"))
    choose = (*choose, score("choose", 0.2, "4 pictures", luck=0.25))
    (found,) = diagnoses(story(STEADY, score("colour", 0.9), *choose), Facts())
    assert "choose 4 pictures 20 [13, 29], luck 25, while colour is at 90" in found.evidence
    assert "1.00 pictures a sample" in found.evidence
    assert "`share`" in found.advice
    blind = diagnoses(story(STEADY, score("colour", 0.2), *choose[1:]), Facts())
    assert blind == [], "a model that can nothing is not told to need more pictures"


def test_terms_are_weighted_and_a_grown_one_is_told_with_the_spike() -> None:
    """itc grows from 0.5 to 1.5, weighs twice, and swings with the gradient's norm."""
    steps = []
    for number in range(1, 41):
        itc = 0.5 + number / 40 + 0.3 * math.sin(2 * number)
        steps.append(
            step(
                number,
                loss=40.0 if number == 30 else 3 + 0.01 * (number % 3),
                grad_norm=1 + math.sin(2 * number) / 2,
                **{"loss/autoregressive": 1.0 + 0.01 * math.cos(5 * number), "loss/itc": itc},
            )
        )
    told = story(steps)
    by_name = {one.name: one for one in terms(told, "base", TWO)}
    first = [steps[number]["loss/itc"] for number in range(4)]
    assert by_name["itc"].first == pytest.approx(2 * sum(first) / 4)
    shares = [one.first_share for one in by_name.values()]
    assert sum(shares) == pytest.approx(1)
    assert by_name["itc"].with_norm > 0.9
    assert abs(by_name["autoregressive"].with_norm) < 0.5
    (found,) = diagnoses(told, TWO)
    assert found.evidence.startswith("The loss leapt 1 time.")
    assert "Grown: itc." in found.evidence
    assert "`weight` of itc" in found.advice
    quiet = [{**one, "loss": 3.0} for one in steps]
    assert diagnoses(story(quiet), TWO) == [], "terms alone are no unsteadiness"


def test_a_leap_with_one_objective_is_no_matter_of_balance() -> None:
    steps = [step(number, loss=50.0 if number == 30 else 1.0) for number in range(1, 41)]
    one = Facts(stages={"base": StageFacts({"autoregressive": 1.0}, {}, {}, 0)})
    assert diagnoses(story(steps), one) == []


def test_spikes_are_those_of_the_guard() -> None:
    losses = [1.0 + 0.01 * (number % 5) for number in range(40)]
    losses[10], losses[25], losses[30] = 9.0, 9.0, math.nan
    steps = [step(number + 1, loss=loss) for number, loss in enumerate(losses)]
    assert spikes(story(steps), "base", Facts()) == [26], "the first 16 say nothing"
    before = [loss for loss in losses[:25] if math.isfinite(loss)]
    limit = SpikeGuard(deviations=10.0).limit(before)
    assert limit is not None
    assert limit < 9.0


def test_the_variance_of_the_norm_leaves_warm_up_out() -> None:
    norms = [50.0, 20.0, 1.0, 3.0, 1.0, 3.0]
    steps = [step(number + 1, grad_norm=norm) for number, norm in enumerate(norms)]
    known = Facts(stages={"base": StageFacts({"autoregressive": 1.0}, {}, {}, 2)})
    # Of 1, 3, 1, 3: variance 4 / 3, mean 2.
    assert gradient_variance(story(steps), known) == pytest.approx(4 / 3 / 4)


def test_errors_that_rise_with_compression(sweep_of_samplers) -> None:
    found = of_sweep.diagnoses(grid(read(sweep_of_samplers)))[0]
    assert found.title == "Errors rise with compression"
    assert "From 1 to 4.5 patches a token, right answers fall in" in found.evidence
    assert "puzzle/reading (rank correlation -0.95 over 9 cells, p 0.00" in found.evidence
    assert "Not with it: puzzle/colour" in found.evidence
    assert "compare" not in found.evidence, "it is at chance"
    assert "differ in sampler" in found.evidence


def test_errors_that_rise_with_fewer_views_of_a_picture(make_sweep) -> None:
    """A thumbnail is a view as well."""
    right = {"1": 30, "4": 50, "9": 80}
    tiler = "stages.single.tiler={{ use = 'anyres', max_tiles = {} }}"
    keys = {"1": [], **{most: [tiler.format(most)] for most in ("4", "9")}}
    kinds = {
        "reading": lambda value, seed: right[value] + seed,
        "colour": lambda value, seed: 95 + seed,
    }
    made = make_sweep(axes=(("tiles", tuple(right)),), overrides=keys, kinds=kinds)
    (found,) = of_sweep.diagnoses(grid(read(made)))
    assert found.title == "Errors rise with fewer views of a picture"
    assert "In single a picture becomes at most 1 to 10 views, by cell;" in found.evidence
    assert "puzzle/reading (rank correlation +0.95 over 9 cells, p 0.00" in found.evidence
    assert "Not with it: puzzle/colour." in found.evidence
    assert found.advice == "more tiles (`max_tiles`) in the `tiler` of single."


def test_two_points_are_told_by_their_seeds_where_ranks_cannot(make_sweep) -> None:
    """Of six cells in two groups, a tenth of all orders is as far apart: ranks say nothing."""
    axes = (("sampler", ("mlp", "pooled")),)
    kinds = {"reading": lambda value, seed: {"mlp": 80, "pooled": 40}[value] + seed}
    found = of_sweep.diagnoses(grid(read(make_sweep(axes=axes, kinds=kinds))))
    assert [one.title for one in found] == ["Errors rise with compression"]
    assert "puzzle/reading (-40.0 ± 1.0 from mlp to pooled, 3 seeds)" in found[0].evidence
    noisy = {"reading": lambda value, seed: 50 + (seed * 17 + len(value) * 9) % 30}
    assert of_sweep.diagnoses(grid(read(make_sweep("n", axes=axes, kinds=noisy)))) == []


def test_of_nearly_the_same_compression_something_else_tells(make_sweep) -> None:
    keys = {
        tokens: [f"model.token_sampler={{ use = 'perceiver', queries = {tokens} }}"]
        for tokens in ("8", "9")
    }
    kinds = {"reading": lambda value, seed: {"8": 40, "9": 80}[value] + seed}
    made = make_sweep(axes=(("queries", tuple(keys)),), overrides=keys, kinds=kinds)
    assert of_sweep.diagnoses(grid(read(made))) == []


def test_alike_at_any_compression_there_is_nothing_to_tell(make_sweep) -> None:
    kinds = {"reading": lambda value, seed: 70 + seed}
    assert of_sweep.diagnoses(grid(read(make_sweep(kinds=kinds)))) == []


def test_accuracy_against_the_share_of_several_pictures(make_sweep) -> None:
    values = ("0.1", "0.4", "0.7")
    shares = {
        value: [
            f"stages.several.data.0.share={100 * float(value):g}",
            f"stages.several.data.1.share={100 - 100 * float(value):g}",
        ]
        for value in values
    }
    kinds = {
        "compare": lambda value, seed: 20 + int(60 * float(value)) + seed,
        "reading": lambda value, seed: 90 - int(40 * float(value)) - seed,
        "colour": lambda value, seed: 97 + seed % 2,
    }
    folder = make_sweep(
        "shares", axes=(("interleaved", values),), overrides=shares, kinds=kinds,
        step=lambda value, number: {"pictures": 4 + 8 * float(value)},
    )  # fmt: skip
    told = grid(read(folder))
    (found,) = of_sweep.diagnoses(told)
    assert found.title == "Accuracy goes with the share of several pictures"
    assert "puzzles (compare/retrieve) in several from 10% to 70%" in found.evidence
    assert "1.20 to 2.40 pictures a sample" in found.evidence
    assert "right answers rise in puzzle/compare (rank correlation +0.9" in found.evidence
    assert "they fall in puzzle/reading (rank correlation -0.9" in found.evidence
    assert "colour" not in found.evidence


def test_gradients_less_steady_with_more_of_other_terms(sweep_of_samplers) -> None:
    """Cells get recipes of two terms, whose second weighs more from point to point and shakes the
    gradient more."""
    found = grid(read(sweep_of_samplers))
    ran = []
    for place, run in enumerate(found.story.ran):
        weight = float(place // 3 + 1)
        steps = [
            {
                **one, "loss/autoregressive": 1.0, "loss/itc": 1.0,
                "grad_norm": 3 + (weight + 0.01 * place) * math.sin(one["step"]),
            }
            for one in run.story.steps
        ]  # fmt: skip
        known = StageFacts({"autoregressive": 1.0, "itc": weight}, {}, {}, 0)
        ran.append(
            attrs.evolve(
                run,
                story=attrs.evolve(run.story, steps=steps, evaluations=[]),
                facts=Facts(stages={"single": known}),
            )
        )
    changed = grid(attrs.evolve(found.story, ran=ran))
    (told,) = of_sweep.diagnoses(changed)
    assert told.title == "Less steady with more other terms in the loss"
    assert "Terms beside autoregressive make up 50% to 75%" in told.evidence
    assert "with that share rises gradient variance (rank correlation +0.9" in told.evidence


def test_facts_are_those_of_the_recipe(sweep_of_samplers) -> None:
    known = facts.read(sweep_of_samplers / "cells" / "sampler=pooled,seed=1")
    assert known.compression == 4.5, "9 patches, 2 queries"
    several = known.stages["several"]
    assert several.shares == {"puzzles": pytest.approx(0.7), "puzzles#2": pytest.approx(0.3)}
    assert several.objectives == {"autoregressive": 1.0}
    assert several.kinds["puzzles"] == ("compare", "retrieve")
    assert several.warmup == 50
    other = facts.read(sweep_of_samplers / "cells" / "sampler=mlp,seed=2")
    assert other.stages["several"].taught == several.taught, "another sampler, the same data"


def test_a_recipe_that_is_not_accepted_has_no_facts(tmp_path) -> None:
    (tmp_path / "recipe.toml").write_text("")
    known = facts.read(tmp_path)
    assert (known.stages, known.compression) == ({}, None)
    assert "engine" in known.unknown
