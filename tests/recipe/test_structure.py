"""Strict reading: nothing is coerced, every fault is told, each with file, line and key."""

from pathlib import Path

import pytest

from mmcore.recipe import Recipe, RecipeError, load_recipe, to_toml
from mmcore_registry import Registry


@pytest.fixture
def faults(write, registry, text):
    """The faults of the demo with changes, without the file's name: "12: key: message"."""

    def faults(*changes, base=text):
        path = write(base, *changes)
        with pytest.raises(RecipeError) as error:
            load_recipe(path, registry=registry)
        lines = [str(fault) for fault in error.value.faults]
        assert all(line.startswith("demo.toml:") for line in lines)
        return [line.removeprefix("demo.toml:") for line in lines]

    return faults


def test_the_whole_demo(write, registry):
    recipe = load_recipe(write(), registry=registry)
    assert isinstance(recipe, Recipe)
    assert recipe.model.encoder.feature_width == 32  # of the variant "large"
    assert recipe.stages[0].tokens == 100e9
    assert [(p.part, p.lr) for p in recipe.stages[0].train] == [
        ("token_sampler", None),
        ("llm", 1e-5),
    ]
    assert recipe.stages[1].tiler.grids == ((1, 2), (2, 2))
    share = recipe.stages[0].data[0].share
    assert (share, type(share)) == (2.0, float)
    assert recipe.stages[1].data[1].synthetic.topics == ("words",)
    assert recipe.evaluations[0].data.synthetic.held_out is True
    assert [tracker.name for tracker in recipe.trackers] == ["jsonl"]
    assert recipe.checkpoints.every_steps == 500


@pytest.mark.parametrize(
    ("old", "new", "fault"),
    [
        ("seed = 7", 'seed = "12"', '3: seed: is "12", wanted an integer; no quotation marks'),
        ("seed = 7", "seed = 2.9", "3: seed: is 2.9, wanted an integer"),
        ("seed = 7", "seed = 2.0", "3: seed: is 2.0, wanted an integer; write 2"),
        ("seed = 7", "seed = true", "3: seed: is true, wanted an integer"),
        ("seed = 7", "seed = [1]", "3: seed: is an array, wanted an integer"),
        ("seed = 7", "seed = -1", "3: seed: 'seed' must be >= 0: -1"),
        ("format = 1", "format = 2", "1: format: format is 2, this mmcore reads format 1 and no"),
        ('name = "demo"', "name = 3", '2: name: is 3, wanted a string; write "3"'),
        ('name = "demo"', 'name = "../up"', "2: name: name is '../up', wanted a letter or digit"),
        ("share = 2", "share = true", "36: stages.base.data.0.share: is true, wanted a number"),
        ("share = 2", f"share = 1{'0' * 400}", "36: stages.base.data.0.share: is 1"),
        ("depth = 3", "dept = 3", "16: model.token_sampler.dept: no such key; did you mean 'dept"),
        ("depth = 3", "x = 3", "16: model.token_sampler.x: no such key; the keys here are: quer"),
        ('variant = "large"', 'variant = "big"', "10: model.encoder.variant: variant is 'big', w"),
        ('"sdpa"', '"sdp"', "6: model.attention: is \"sdp\", wanted 'xformers' or 'sdpa' or 'aut"),
        ('use = "mouth"', 'use = "moth"', "19: model.llm.use: no llm is called 'moth'; did you"),
        ('use = "mouth"', "use = 3", '19: model.llm.use: is 3, wanted a string; write "3"'),
        ('use = "mouth"', "context = 9", "18: model.llm: no `use`, wanted a table whose `use` nam"),
        ("grids = [[1, 2], [2, 2]]", "grids = [[1, 2], [2]]", "43: stages.sft.tiler.grids.1: has"),
        ("grids = [[1, 2], [2, 2]]", "grids = [[1, 2], 5]", "43: stages.sft.tiler.grids.1: is 5"),
        ("rows = 10 }", "rows = 0 }", "37: stages.base.data.0.synthetic.rows: 'rows' must be >="),
        ("rows = 10 }", "row = 10 }", "37: stages.base.data.0.synthetic.row: no such key; did"),
        ('train = ["llm"]', "train = [3]", "41: stages.sft.train.0: is 3, wanted the name of a p"),
        ("lr = 1e-5 }]", "lr = 0 }]", "26: stages.base.train.1.lr: 'lr' must be > 0: 0"),
        ("epochs = 2", "", "39: stages.sft: stage 'sft' has no length, wanted exactly one of"),
        ("epochs = 2", "epochs = inf", "42: stages.sft.epochs: epochs is inf, wanted a finite"),
        ("[engine]\nuse", "[[engine]]\nuse", "57: engine: is an array, wanted a table whose `use`"),
        ("share = 2", "limit = [1]", "36: stages.base.data.0.limit: is an array, wanted an integ"),
        ("share = 2", "columns = { a = 1 }", "36: stages.base.data.0.columns.a: is 1, wanted a s"),
        ('use = "motor"', 'use = "motor"\nzero = 4', "59: engine.zero: is 4, wanted 1 or 2 or 3"),
        ('use = "motor"', 'use = "motor"\nzero = true', "59: engine.zero: is true, wanted 1 or"),
    ],
)
def test_one_fault(faults, old, new, fault):
    found = faults((old, new))
    assert any(line.startswith(fault) for line in found), found


def test_missing_keys_say_what_they_are_for(faults):
    assert faults(('name = "demo"', ""), (", lr = 1e-5 }\ndata", "}\ndata")) == [
        "1: name: missing, wanted a string; name of the run, and of its folder under runs/",
        "46: stages.sft.optimizer.lr: missing, wanted a number; highest learning rate",
    ]


def test_all_faults_at_once_in_the_order_of_the_file(faults):
    found = faults(
        ("queries = 8", "querys = 8"),
        ("depth = 3", 'depth = "deep"'),
        ("max_views = 8", "max_views = 0"),
        ("lr = 1e-4, warmup_steps = 10", "lr = -1, warmup_steps = -1, schedul = 3"),
        ("epochs = 2", "epochs = 2.0\nsteps = 0"),
        ('use = "motor"', 'use = "motr"'),
    )
    assert [line.split(": ")[1] for line in found] == [
        "model.token_sampler.querys",
        "model.token_sampler.depth",
        "stages.base.batch.max_views",
        "stages.base.optimizer.lr",
        "stages.base.optimizer.schedul",
        "stages.base.optimizer.warmup_steps",
        "stages.sft.steps",
        "engine.use",
    ]


@pytest.mark.parametrize(
    ("assignment", "value"),
    [("limit=5", 5), ("limit=five", "five"), ("crop=3", 3), ("crop=[3, 4]", (3, 4))],
)
def test_union_takes_what_fits(write, registry, assignment, value):
    change = (f"stages.base.data.0.{assignment}",)
    source = load_recipe(write(), change, registry=registry).stages[0].data[0]
    assert getattr(source, assignment.partition("=")[0]) == value


def test_union_tells_the_deepest_fault(faults):
    assert faults(("share = 2", 'crop = [1, "x"]')) == [
        '36: stages.base.data.0.crop.1: is "x", wanted an integer; no quotation marks'
    ]
    assert faults(("share = 2", "crop = true")) == [
        "36: stages.base.data.0.crop: is true, wanted an integer or an array of 2: an integer, "
        "an integer"
    ]


def test_paths(write, registry):
    recipe = load_recipe(write(), ["stages.base.data.0.root=pics"], registry=registry)
    assert recipe.stages[0].data[0].root == Path("pics")


@pytest.mark.parametrize(
    ("text", "keys"),
    [
        ("", {"name", "model", "stages", "engine"}),
        ("stages = 3\nmodel = []", {"name", "model", "stages", "engine"}),
        ('[stages]\nname = "x"', {"name", "model", "stages", "engine"}),
        ("stages = []", {"name", "model", "stages", "engine"}),
        ("stages = [3, {}]", {"name", "model", "engine", "stages.0", "stages.1.name"}),
    ],
)
def test_hardly_a_recipe(write, registry, text, keys):
    with pytest.raises(RecipeError) as error:
        load_recipe(write(text), registry=registry)
    assert keys <= {fault.key for fault in error.value.faults}


def test_default_tracker_that_is_not_installed(write, specs):
    registry = Registry()
    known = [spec for name, spec in specs.items() if name not in ("jsonl", "synthetic")]
    registry.add(known, plugin="parts", distribution="parts-dist")
    with pytest.raises(RecipeError, match=r"defaults of mmcore: trackers\.0\.use: no tracker"):
        load_recipe(write(), registry=registry)


def test_two_distributions_with_one_name(write, specs):
    registry = Registry()
    known = [spec for name, spec in specs.items() if name != "synthetic"]
    registry.add(known, plugin="parts", distribution="parts-dist")
    registry.add([specs["pool"]], plugin="other", distribution="other-dist")
    change = ("model.token_sampler.use=pool",)
    with pytest.raises(RecipeError, match="announced by parts-dist and other-dist"):
        load_recipe(write(), change, registry=registry)
    change = ("model.token_sampler.use=other-dist:pool",)
    assert load_recipe(write(), change, registry=registry).model.token_sampler.name == "pool"


def test_a_table_for_another_library_holds_anything(tmp_path):
    """DeepSpeed's own configuration has tables in tables, and only DeepSpeed knows them."""
    changes = '{ zero_optimization = { reduce_bucket_size = 5, names = ["a", { b = 1.5 }] } }'
    recipe = Path(__file__).parents[2] / "recipes" / "blip3_tiny.toml"
    overrides = ["engine.use=deepspeed", f"engine.overrides={changes}"]
    loaded = load_recipe(recipe, overrides)
    inner = {"reduce_bucket_size": 5, "names": ["a", {"b": 1.5}]}
    assert loaded.engine.overrides == {"zero_optimization": inner}
    (tmp_path / "again.toml").write_text(to_toml(loaded))
    assert load_recipe(tmp_path / "again.toml") == loaded
