"""The file of a sweep: what it may say, what is refused with its line, and how it is changed."""

from pathlib import Path

import pytest

from mmcore.recipe import RecipeError
from mmcore.recipe.schema import Recipe
from mmcore.sweeps.load import OWN, load_sweep


def refused(path, *overrides, **options):
    with pytest.raises(RecipeError) as caught:
        load_sweep(path, overrides, **options)
    return [str(fault) for fault in caught.value.faults]


def test_all_faults_of_a_file_come_at_once_with_their_lines(write):
    text = """
seds = [1]
combine = "gird"
[[axes]]
name = "queries"
key = "model.token_sampler.queries"
values = [1]
labels = ["one", "two"]
[[axes]]
name = "both"
key = "seed"
values = [1]
points = [{ label = "x", set = [] }]
[match]
what = "token"
within = -1
"""
    faults = refused(write(text))
    assert len(faults) == 6
    told = "\n".join(faults)
    assert "sweep.toml:6: seds: no such key; did you mean 'seeds'?" in told
    assert (
        "sweep.toml:7: combine: is \"gird\", wanted 'grid' or 'list'; did you mean 'grid'?" in told
    )
    assert "sweep.toml:8: axes.queries: axis 'queries' has 2 labels for 1 values" in told
    assert "sweep.toml:13: axes.both: axis 'both' wants either key and values, or points" in told
    assert 'sweep.toml:19: match.what: is "token"' in told
    assert "sweep.toml:20: match.within" in told


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('[[axes]]\nname = "a"\nkey = "seed"\n', "has a key and no values"),
        ('[[axes]]\nname = "a/b"\nkey = "seed"\nvalues = [1]\n', "wanted a letter or digit"),
        ('[[axes]]\nname = "seed"\nkey = "seed"\nvalues = [1]\n', "called 'seed'"),
        ('[[axes]]\nname = "a"\nkey = "seed"\nvalues = [1, 1]\n', "two points called '1'"),
        ("axes = []\n", "axes"),
        (
            'combine = "list"\n[[axes]]\nname = "a"\nkey = "x"\nvalues = [1]\n'
            '[[axes]]\nname = "b"\nkey = "y"\nvalues = [1, 2]\n',
            "axes of one length, and these have: a 1, b 2",
        ),
        (
            '[[axes]]\nname = "a"\nkey = "x"\nvalues = [1]\n'
            '[[axes]]\nname = "a"\nkey = "y"\nvalues = [1]\n',
            "several axes are called 'a'",
        ),
    ],
)
def test_axes_that_make_no_sense_are_refused(write, text, said):
    faults = refused(write(text))
    assert len(faults) == 1
    assert said in faults[0]


def test_seeds_are_distinct_and_not_below_zero(write):
    assert "has 2 more than once" in refused(write(), "seeds=[2, 2]")[0]
    assert "below 0" in refused(write(), "seeds=[-1]")[0]


def test_a_recipe_that_is_not_there_is_named_with_the_nearest(write):
    (fault,) = refused(write(), "recipe=mini2.toml")
    assert fault == (
        "--set recipe=mini2.toml: recipe: there is no file 'mini2.toml'; did you mean 'mini.toml'?"
    )


def test_a_recipe_in_the_file_is_seen_from_the_file_and_one_given_from_here(write, tmp_path):
    path = write()
    (tmp_path / "below").mkdir()
    moved = path.rename(tmp_path / "below" / "sweep.toml")
    (tmp_path / "below" / "mini.toml").write_bytes((tmp_path / "mini.toml").read_bytes())
    assert load_sweep(moved).recipe == tmp_path / "below" / "mini.toml"
    assert load_sweep(moved, recipe="mini.toml").recipe == Path("mini.toml")
    assert load_sweep(moved, ["recipe=mini.toml"]).recipe == Path("mini.toml")


def test_changes_reach_the_sweep_or_else_the_recipe(write):
    table = load_sweep(
        write(), ["name=other", "axes.queries.values=[8]", "stages.*.steps=3", "seeds=[7]"]
    ).table
    assert table.name == "other"
    assert table.axes[0].values == (8,)
    assert table.seeds == (7,)
    assert table.set_last == ("stages.*.steps=3",)


def test_no_key_of_a_sweep_but_its_own_name_and_format_hides_one_of_the_recipe():
    import attrs

    assert set(OWN) & set(attrs.fields_dict(Recipe)) == {"format", "name"}


def test_a_scale_changes_both_and_is_part_of_the_name(write):
    text = """
set = ["stages.captions.steps=2"]
[scales]
large = ["set=[]", "axes.queries.values=[64, 128]", "stages.*.steps=9"]
[[axes]]
name = "queries"
key = "model.token_sampler.queries"
values = [2, 4]
"""
    path = write(text)
    table = load_sweep(path, ["stages.answers.steps=1"], scale="large").table
    assert table.name == "samplers-large"
    assert table.set == ()
    assert table.axes[0].values == (64, 128)
    assert table.set_last == ("stages.*.steps=9", "stages.answers.steps=1")
    assert load_sweep(path).table.name == "samplers"
    (fault,) = refused(path, scale="larg")
    assert fault == "sweep.toml:7: scales: has no 'larg'; did you mean 'large'?"


def test_a_fault_of_a_scale_is_told_at_its_line(write):
    text = """
[scales]
large = [
    "axes.queries.values=[64]",
    "axes.querys.values=[64]",
]
[[axes]]
name = "queries"
key = "model.token_sampler.queries"
values = [2, 4]
"""
    (fault,) = refused(write(text), scale="large")
    assert fault.startswith("sweep.toml:9: ")
    assert "'axes.querys.values=[64]': axes has no 'querys'; did you mean 'queries'?" in fault


def test_values_that_are_no_list_are_refused_in_words(write):
    (fault,) = refused(write(), "axes.queries.values=2")
    assert fault.endswith("axes.queries.values: is 2, wanted an array, each element any value")
