"""`extends`: what differs follows, and faults are found in the file that has them."""

import pytest

from mmcore.recipe import RecipeError, load_recipe

BASE = ("parts/base.toml", "demo.toml")


@pytest.fixture
def child(write, tmp_path):
    """Write the demo as parts/base.toml and a child beside its folder."""
    (tmp_path / "parts").mkdir()
    write(name="parts/base.toml")

    def child(text, name="child.toml"):
        return write(f'extends = "parts/base.toml"\n{text}', name=name)

    return child


def fault(error):
    (only,) = error.value.faults
    return only


def test_tables_merge_key_by_key(child, registry):
    recipe = load_recipe(child('name = "mine"\n[model.llm]\ncontext = 1024\n'), registry=registry)
    assert (recipe.name, recipe.seed) == ("mine", 7)
    assert recipe.model.llm.context == 1024
    assert recipe.model.encoder.weights == "hf://some/eye"


def test_stages_merge_by_name_in_the_parents_order(child, registry):
    extra = """
[[stages]]
name = "last"
train = ["encoder"]
steps = 5
tiler = { use = "grids" }
objectives = [{ use = "talk" }]
batch = { max_tokens = 64, max_views = 2, packs_per_step = 4 }
optimizer = { use = "hill", lr = 1 }
data = [{ use = "pages", path = "x" }]
[[stages]]
name = "sft"
optimizer.warmup_steps = 3
data = [{ use = "pages", path = "only.json" }]
"""
    recipe = load_recipe(child(extra), registry=registry)
    assert [stage.name for stage in recipe.stages] == ["base", "sft", "last"]
    sft = recipe.stages[1]
    assert (sft.optimizer.warmup_steps, sft.optimizer.lr) == (3, 1e-5)
    assert [source.path for source in sft.data] == ["only.json"]  # sources have no names: replaced


def test_a_new_length_takes_the_place_of_the_old_one(child, registry):
    recipe = load_recipe(child('[[stages]]\nname = "base"\nsteps = 20\n'), registry=registry)
    base = recipe.stages[0]
    assert (base.tokens, base.steps, base.epochs) == (None, 20, None)


def test_two_lengths_in_one_file_stay_a_fault(child, registry):
    path = child('[[stages]]\nname = "base"\nsteps = 20\nepochs = 1\n')
    with pytest.raises(RecipeError, match="exactly one of tokens, steps, epochs") as error:
        load_recipe(path, registry=registry)
    assert fault(error).place == "child.toml:2"


def test_another_component_takes_only_the_keys_of_its_kind(child, registry):
    swap = '[model.token_sampler]\nuse = "pool"\n[[stages]]\nname = "base"\noptimizer.use = "hill"'
    recipe = load_recipe(child(swap), registry=registry)
    assert recipe.model.token_sampler.factor == 2  # queries and depth were the resampler's own
    hill = recipe.stages[0].optimizer
    assert (hill.name, hill.lr, hill.warmup_steps) == ("hill", 1e-4, 10)


def test_swapped_component_still_refuses_wrong_keys_of_its_own(child, registry):
    path = child('[model.token_sampler]\nuse = "pool"\nqueries = 3\n')
    with pytest.raises(RecipeError, match="no such key") as error:
        load_recipe(path, registry=registry)
    assert str(fault(error)).startswith("child.toml:4: model.token_sampler.queries: no such key")


def test_faults_are_in_the_file_that_has_them(write, child, text, registry):
    write(text, ("depth = 3", "dept = 3"), name="parts/base.toml")
    path = child("seed = -1\n")
    with pytest.raises(RecipeError) as error:
        load_recipe(path, registry=registry)
    depth = text.splitlines().index("depth = 3") + 1
    assert [one.place for one in error.value.faults] == ["child.toml:2", f"parts/base.toml:{depth}"]


def test_grandparents(child, write, registry):
    child('name = "child"\nseed = 1\n')
    path = write('extends = "child.toml"\nname = "grandchild"\n', name="grandchild.toml")
    recipe = load_recipe(path, registry=registry)
    assert (recipe.name, recipe.seed, recipe.data.lanes) == ("grandchild", 1, 4)


def test_circle(write):
    write('extends = "b.toml"\n', name="a.toml")
    write('seed = 1\nextends = "./a.toml"\n', name="b.toml")
    with pytest.raises(RecipeError, match=r"a.toml -> b.toml -> a.toml") as error:
        load_recipe("a.toml")
    assert fault(error).place == "b.toml:2"


@pytest.mark.parametrize(
    ("text", "place", "message"),
    [
        ('extends = "bse.toml"', "x.toml:1", r"cannot read 'bse.toml'.*did you mean 'base.toml'"),
        ("\nextends = 3", "x.toml:2", "wanted a string"),
        ("name = 1\nname = 2", "x.toml:2", "no valid TOML: Cannot overwrite"),
        ("name =", "x.toml:1", "no valid TOML: Invalid value"),
        ('name = "\\q"', "x.toml:1", "no valid TOML"),
    ],
)
def test_unreadable(write, text, place, message):
    write(name="base.toml")
    path = write(text, name="x.toml")
    with pytest.raises(RecipeError, match=message) as error:
        load_recipe(path)
    assert fault(error).place == place


def test_missing_recipe_names_the_nearest(write, tmp_path):
    write()
    with pytest.raises(RecipeError, match=r"No such file.*did you mean 'demo.toml'\?"):
        load_recipe("dmo.toml")
    with pytest.raises(RecipeError, match="Is a directory"):
        load_recipe(tmp_path)


def test_not_utf8(tmp_path):
    path = tmp_path / "latin.toml"
    path.write_bytes(b'seed = 1\nname = "caf\xe9"\n')
    with pytest.raises(RecipeError, match="byte 0xe9 is not UTF-8") as error:
        load_recipe(path)
    assert fault(error).line == 2
