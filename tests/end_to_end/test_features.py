"""Whole runs on features that were made beforehand: the same losses, and clear refusals."""

from __future__ import annotations

import json
import shutil
import sys
from types import SimpleNamespace

import pytest

import mmcore

FOLDER = "stages.answers.data.0.features=cache/answers"
VALIDATION = """
[validation]
share = 0.2
rows = 12
every_steps = 3
"""


@pytest.fixture(scope="module")
def once(tmp_path_factory):
    """A folder that is to be filled once."""
    return tmp_path_factory.mktemp("once") / "trained"


@pytest.fixture
def trained(workplace, once):
    """The mini recipe with its first stage, which trains the encoder, done."""
    if not once.exists():
        recipe = workplace.folder / "mini.toml"
        recipe.write_text(recipe.read_text() + VALIDATION)
        workplace.mmcore("run", "mini.toml", "--until", "captions", "--set", "evaluations=[]")
        shutil.copytree(workplace.folder, once)
    shutil.copytree(once, workplace.folder, dirs_exist_ok=True)
    return workplace


def steps(workplace, run: str) -> list[tuple[float, ...]]:
    """What says that two runs computed the same."""
    kept = ("step", "loss", "grad_norm", "tokens", "views", "samples", "rejected")
    return [tuple(line[name] for name in kept) for line in workplace.metrics(run)]


def answers(workplace, run: str, *more: str, fails: bool = False) -> str:
    return workplace.mmcore(
        *("run", "mini.toml", "--stage", "answers", "--from", "runs/mini"),
        *("--set", f"name={run}", *more),
        fails=fails,
    )


def validations(workplace, run: str) -> list[float]:
    path = workplace.folder / "runs" / run / "validations.jsonl"
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    return [line["values"]["validation/loss"] for line in lines]


def test_training_on_features_is_training_on_pictures_to_the_last_bit(trained) -> None:
    cache = ("data", "cache", "mini.toml", "--set", FOLDER)
    assert "stage 'captions' trains the encoder" in trained.mmcore(*cache, fails=True)
    made = trained.mmcore(*cache, "--from", "runs/mini")
    assert "cache/answers now has" in made

    answers(trained, "plain")
    output = answers(trained, "cached", "--set", FOLDER)
    assert "are read from cache/answers (fp32)" in " ".join(output.split())
    assert len(steps(trained, "plain")) == 6
    assert steps(trained, "cached") == steps(trained, "plain")
    assert validations(trained, "cached") == validations(trained, "plain")
    # Questions show pictures, as before.
    pages = [trained.folder / "runs" / run / "evaluations.jsonl" for run in ("plain", "cached")]
    scores = [[json.loads(line)["scores"] for line in page.open()] for page in pages]
    assert scores[0] == scores[1]

    # With and without, a run is the same run.
    recipe = mmcore.load_recipe("mini.toml", ["name=both", FOLDER])
    stopped = mmcore.run(recipe, stage="answers", begin_from="runs/mini", max_steps=3)
    assert not stopped.finished
    answers(trained, "both")
    assert steps(trained, "both") == steps(trained, "plain")


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="DeepSpeed is installed on Linux only")
@pytest.mark.parametrize("zero", [0, 3])
def test_ranks_stay_in_step_where_one_of_them_runs_blank_packs(trained, zero) -> None:
    trained.mmcore("data", "cache", "mini.toml", "--set", FOLDER, "--from", "runs/mini")
    three = ("--set", "data.lanes=3", "--set", "stages.*.batch.packs_per_step=3")
    answers(trained, "plain", *three)
    trained.typed(
        *("run", "mini.toml", "--stage", "answers", "--from", "runs/mini", "--procs", "2"),
        *("--set", "name=two", "--set", FOLDER, *three),
        *("--set", "engine.use=deepspeed", "--set", f"engine.zero={zero}"),
        *("--set", "engine.precision=fp32", "--set", "evaluations=[]"),
    )
    assert trained.losses("two") == pytest.approx(trained.losses("plain"), rel=1e-5)


def test_what_cannot_be_right_is_refused_before_anything_runs(trained) -> None:
    said = answers(trained, "no", "--set", FOLDER, fails=True)
    assert "stage 'answers': cache/answers holds no features" in said
    assert not (trained.folder / "runs" / "no" / "recipe.toml").exists()

    trained.mmcore(
        "run",
        "mini.toml",
        *("--until", "captions"),
        *("--set", "evaluations=[]"),
        *("--set", "seed=4"),
        *("--set", "name=other"),
    )
    cache = ("data", "cache", "mini.toml", "--set", FOLDER, "--set")
    trained.mmcore(*cache, "seed=4", "--from", "runs/other")
    said = answers(trained, "no", "--set", FOLDER, fails=True)
    assert "the encoder's weights were others (their fingerprint was" in said
    assert not (trained.folder / "runs" / "no" / "evaluations.jsonl").exists()
    said = answers(
        trained, "no", "--set", FOLDER, "--set", "stages.answers.tiler.use=single", fails=True
    )
    assert "tiler.use was 'anyres', is 'single'" in said
    assert "tiler.use was 'anyres', is 'single'" in trained.mmcore(
        "check",
        "mini.toml",
        "--set",
        FOLDER,
        "--set",
        "stages.answers.tiler.use=single",
        fails=True,
    )


def test_a_picture_without_features_stops_the_run_and_says_what_adds_it(trained) -> None:
    few = ("--set", "stages.answers.data.0.limit=8")
    trained.mmcore("data", "cache", "mini.toml", "--set", FOLDER, *few, "--from", "runs/mini")
    said = " ".join(answers(trained, "few", "--set", FOLDER, fails=True).split())
    assert "sample llava-json:" in said
    assert "has no features in cache/answers; `mmcore data cache RECIPE` adds what" in said


BOTH = "stages.*.data.0.features=cache/both"
FROZEN = 'stages.captions.train=["token_sampler"]'


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        (["stages.captions.data.0.features=x"], "names the encoder, and its features are read"),
        (["evaluations.0.data.features=x"], "questions always show pictures"),
        (
            [
                'stages.answers.data=[{use="llava-json", path="a", features="x"}, '
                '{use="llava-json", path="b"}]'
            ],
            "another source of the stage has",
        ),
        (
            [FOLDER, 'stages.answers.objectives=[{use="kl-distill", teacher="runs/x"}]'],
            "objectives.0.teacher: is 'runs/x', which looks at pictures through an encoder of its",
        ),
        ([BOTH, FROZEN], "is 'cache/both' as in an earlier stage, which cuts pictures otherwise"),
    ],
)
def test_a_recipe_that_asks_for_features_where_none_may_be_is_faulty(
    workplace, settings, said
) -> None:
    keys = [word for one in settings for word in ("--set", one)]
    assert said in workplace.mmcore("check", "mini.toml", *keys, fails=True)


def test_a_folder_is_not_of_stages_before_and_after_the_encoder_learns(workplace) -> None:
    path = workplace.folder / "mini.toml"
    text = path.read_text()
    stage = text[text.index('[[stages]]\nname = "answers"') : text.index("[[evaluations]]")]
    first = stage.replace('"answers"', '"before"')
    path.write_text(text.replace("[[stages]]", f"{first}[[stages]]", 1))
    folder = "stages.before.data.0.features=cache/answers"
    said = workplace.mmcore("check", "mini.toml", "--set", FOLDER, "--set", folder, fails=True)
    assert "stages.answers.data.0.features: is 'cache/answers' as in an earlier stage" in said
    assert "has another encoder; name a folder of this stage's own" in said


def test_what_cannot_be_made_is_said_before_anything_is_encoded(trained, monkeypatch) -> None:
    cache = ("data", "cache", "mini.toml", "--from", "runs/mini")
    said = trained.mmcore(*cache, fails=True)
    assert "no source of stage 'captions', 'answers' names a folder for features" in said
    said = trained.mmcore(*cache, "--set", FOLDER, "--stage", "answer", fails=True)
    assert "no stage is called 'answer'; did you mean 'answers'?" in said

    full = SimpleNamespace(free=1000)
    monkeypatch.setattr("mmcore.running.feature_cache.shutil.disk_usage", lambda _: full)
    said = trained.mmcore(*cache, "--set", FOLDER, fails=True)
    assert "stage 'answers': the features in cache/answers will take up about" in said
    assert "or try with --crowded" in said
    assert not list((trained.folder / "cache/answers").glob("chunk-*"))
    few = ("--set", "stages.answers.data.0.limit=4", "--crowded")
    assert "cache/answers now has 4" in trained.mmcore(*cache, "--set", FOLDER, *few)


def test_what_is_gained_is_measured_on_the_same_packs(trained) -> None:
    trained.mmcore("data", "cache", "mini.toml", "--set", FOLDER, "--from", "runs/mini")
    bench = ("bench", "features", "mini.toml", "--steps", "2", "--rounds", "1")
    output = trained.mmcore(*bench, "--set", FOLDER)
    assert "stage answers" in output
    assert "stage captions" not in output  # its pictures are encoded
    assert "with cached features a step is" in output
    (found,) = json.loads(trained.mmcore(*bench, "--set", FOLDER, "--json").partition("\n")[2])
    assert len(found["cpu_ratios"]) == 1
    assert found["encoded"][0]["tokens"] == found["cached"][0]["tokens"] > 0
    assert "names a folder of `features`" in trained.mmcore(*bench, fails=True)
