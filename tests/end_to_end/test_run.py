"""The main job: a recipe is trained through its stages, evaluated, and can be asked afterwards."""

import json


def test_a_run_goes_through_its_stages_and_answers_afterwards(workplace):
    output = workplace.mmcore("run", "mini.toml")
    for words in ("stage 1 of 2: captions", "stage 2 of 2: answers", "95 % interval", "finished"):
        assert words in output
    run = workplace.folder / "runs" / "mini"
    assert [line["step"] for line in workplace.metrics()] == list(range(1, 13))
    assert {line["stage"] for line in workplace.metrics()} == {"captions", "answers"}
    for name in ("recipe.toml", "environment.json", "evaluations.jsonl", "checkpoints"):
        assert (run / name).exists(), name
    moments = [json.loads(line) for line in (run / "evaluations.jsonl").read_text().splitlines()]
    assert [one["after"] for one in moments] == ["", "captions", "answers"]

    picture = next((workplace.folder / "data" / "held-out").rglob("*.png"))
    answer = workplace.mmcore("generate", "runs/mini", "--image", str(picture), "What does it say?")
    assert answer.strip() or answer == "\n"

    again = workplace.mmcore("run", "mini.toml")
    assert "95 % interval" in again
    assert [line["step"] for line in workplace.metrics()] == list(range(1, 13))


def test_the_stored_recipe_runs_as_it_is(workplace):
    workplace.mmcore("run", "mini.toml")
    workplace.mmcore("run", "runs/mini/recipe.toml", "--set", "name=again", "--stage", "captions")
    first = {step: loss for step, loss in workplace.losses().items() if step <= 6}
    assert workplace.losses("again") == first


def test_two_runs_are_equal_bit_for_bit_and_another_seed_is_not(workplace):
    for name, seed in (("one", 3), ("two", 3), ("other", 4)):
        workplace.mmcore(
            "run", "mini.toml", "--stage", "captions",
            "--set", f"name={name}", "--set", f"seed={seed}",
        )  # fmt: skip
    assert workplace.losses("one") == workplace.losses("two")
    assert workplace.losses("one") != workplace.losses("other")


def test_loss_does_not_depend_on_workers(workplace):
    for name, workers in (("none", 0), ("two", 2)):
        workplace.mmcore(
            "run", "mini.toml", "--stage", "captions",
            "--set", f"name={name}", "--set", f"data.workers={workers}",
        )  # fmt: skip
    assert workplace.losses("none") == workplace.losses("two")


def test_mlp_sampler_takes_the_place_of_the_perceiver(workplace):
    workplace.mmcore("run", "mini.toml", "--set", "model.token_sampler.use=mlp")
    assert len(workplace.losses()) == 12
