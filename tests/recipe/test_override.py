"""`--set`: what it reaches, how its values are read, and what it refuses."""

import pytest

from mmcore.recipe import RecipeError, load_recipe


@pytest.fixture
def load(write, registry):
    path = write()
    return lambda *overrides: load_recipe(path, overrides, registry=registry)


def faults(error):
    return [str(fault) for fault in error.value.faults]


def test_stage_by_name_index_and_star(load):
    assert [s.optimizer.lr for s in load("stages.sft.optimizer.lr=2e-5").stages] == [1e-4, 2e-5]
    assert [s.optimizer.lr for s in load("stages.0.optimizer.lr=1").stages] == [1.0, 1e-5]
    assert [s.optimizer.lr for s in load("stages.*.optimizer.lr=3").stages] == [3.0, 3.0]


def test_elements_of_arrays(load):
    recipe = load("stages.sft.data.1.path=z.json", "stages.*.data.*.share=4")
    assert [source.path for source in recipe.stages[1].data] == ["data/*.json", "z.json"]
    assert {source.share for stage in recipe.stages for source in stage.data} == {4.0}
    recipe = load('stages.base.train.1={ part = "encoder" }')
    assert [part.part for part in recipe.stages[0].train] == ["token_sampler", "encoder"]


def test_later_assignments_win_and_missing_tables_are_made(load):
    recipe = load("checkpoints.keep_last=5", "seed=1", "seed=2")
    assert (recipe.checkpoints.keep_last, recipe.seed) == (5, 2)


@pytest.mark.parametrize("order", [1, -1])
def test_use_is_set_before_the_new_components_keys(load, order):
    assignments = ["model.token_sampler.use=pool", "model.token_sampler.factor=4"]
    sampler = load(*assignments[::order]).model.token_sampler
    assert (sampler.name, sampler.factor) == ("pool", 4)


def test_length_replaces_length(load):
    stages = load("stages.*.steps=9").stages
    assert [(s.tokens, s.steps, s.epochs) for s in stages] == [(None, 9, None)] * 2


def test_quoted_keys(load):
    recipe = load('stages.base.data.0.columns."a.b"=c')
    assert recipe.stages[0].data[0].columns == {"a.b": "c"}


def test_values_are_toml_and_bare_words_strings(load):
    recipe = load("name=run-7.b", "model.encoder.weights='x=y'", "stages.base.data.0.root=a b/c")
    assert recipe.name == "run-7.b"
    assert recipe.model.encoder.weights == "x=y"
    assert str(recipe.stages[0].data[0].root) == "a b/c"


@pytest.mark.parametrize(
    ("assignment", "message"),
    [
        ("stages.sff.fit=reject", r"stages has no 'sff'; did you mean 'sft'\? .*base, sft"),
        ("stages.2.fit=reject", "stages has no '2'"),
        ("stages.sft.data.7.share=1", r"stages.sft.data has no '7' \(there are: 0 to 1\)"),
        ("data.lane=8", r"data.lane: no such key; did you mean 'lanes'\?"),
        ("dta.lanes=8", r"dta: no such key; did you mean 'data'\?"),
        ("seed.x=8", "seed is a plain value"),
        ("model.*.use=eye", "'\\*' stands for the elements of an array, and model is a table"),
        ("*=3", "and the recipe is a table"),
        ("seed", "wanted key.path=value"),
        ("=3", "wanted key.path=value"),
        ("a..b=3", "a word is missing"),
        ("seed=[1", "is no valid TOML"),
        ("name=", "is no valid TOML"),
        ("seed=1\nname=2", "seed: is"),
        ("seed=12x", 'seed: is "12x", wanted an integer'),
        ("data.lanes=2.0", "is 2.0, wanted an integer; write 2"),
        ("data.lanes=0", "data.lanes: 'lanes' must be >= 1: 0"),
    ],
)
def test_refused(load, assignment, message):
    with pytest.raises(RecipeError, match=message) as error:
        load(assignment)
    (line,) = faults(error)
    assert line.startswith(f"--set {assignment}: ")


def test_all_faults_at_once(load):
    with pytest.raises(RecipeError) as error:
        load("stages.sff.fit=reject", "seed", "data.workers=-1", "stages.sft.fit=shrnk")
    assert len(error.value.faults) == 4
    assert str(error.value).endswith("4 faults")
    assert "did you mean 'shrink'?" in str(error.value)
