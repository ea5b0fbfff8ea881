"""list, plugins, show, check: what they print of the installed plugins."""

import json
import tomllib

import attrs
import click
import pytest

from mmcore.cli import list as list_verb
from mmcore.cli import plugins as plugins_verb
from mmcore.cli.errors import coloured
from mmcore.recipe import Fault
from mmcore_registry import Plugin, Registry, discover


def test_list(mmcore):
    done = mmcore("list")
    assert done.exit_code == 0
    for component in discover().components():
        assert component.name in done.stdout
        assert component.summary in done.stdout
    assert {line for line in done.stdout.splitlines() if line[0] != " "} == set(discover().kinds())


def test_list_one_kind(mmcore):
    done = mmcore("list", "--kind", "token_sampler")
    assert "perceiver" in done.stdout
    assert "siglip" not in done.stdout
    done = mmcore("list", "--kind", "sampler")
    assert done.exit_code == 2
    assert "Did you mean 'token_sampler'?" in done.stderr


@pytest.fixture
def broken(monkeypatch):
    registry = Registry()
    single = discover().get("tiler", "single")
    rival = attrs.frozen(kw_only=True)(type("Single", (single,), {"__doc__": "A rival."}))
    registry.add([single], plugin="tiling", distribution="ours")
    registry.add([rival], plugin="bad", distribution="theirs")
    registry.record(Plugin("tiling", "m", "ours", "1", "loaded"))
    registry.record(Plugin("bad", "m", "their-dist", "2", "broken", "ImportError:\nno x"))
    monkeypatch.setattr(list_verb, "discover", lambda: registry)
    monkeypatch.setattr(plugins_verb, "discover", lambda: registry)


@pytest.mark.usefixtures("broken")
def test_list_tells_rivals_apart_and_what_is_missing(mmcore):
    done = mmcore("list")
    assert "ours:single" in done.stdout
    assert "theirs:single" in done.stdout
    assert done.stderr == "plugin bad is broken: ImportError:\nno x\n"


@pytest.mark.usefixtures("broken")
def test_plugins(mmcore):
    title, good, bad = mmcore("plugins").stdout.splitlines()
    assert title.split() == ["plugin", "distribution", "version", "status", "reason"]
    assert good.split() == ["tiling", "ours", "1", "loaded"]
    assert bad.split() == ["bad", "their-dist", "2", "broken", "ImportError:", "no", "x"]
    as_json = json.loads(mmcore("plugins", "--json").stdout)
    assert [one["status"] for one in as_json] == ["loaded", "broken"]
    assert as_json[1]["reason"] == "ImportError:\nno x"


def test_every_component_can_be_shown(mmcore):
    for component in discover().components():
        done = mmcore("show", component.kind, component.name)
        assert done.exit_code == 0, done.output
        assert component.summary in done.stdout


def test_show_component(mmcore):
    words = mmcore("show", "siglip").stdout.split()
    text = " ".join(words)
    assert 'variant: str = "so400m-patch14-384" which model presets' in text
    assert "width: int = of the variant" in text
    assert "side of a patch (pixels)" in text
    assert "width = 1152" in text  # of the variant, under variants
    text = " ".join(mmcore("show", "llava-json").stdout.split())
    assert "synthetic: table = none" in text
    assert "synthetic.rows: int how many rows" in text
    text = " ".join(mmcore("show", "phi3").stdout.split())
    assert "vocabulary: int = from other keys" in text
    assert "optimizer lr" not in text


def test_show_unknown(mmcore):
    done = mmcore("show", "percever")
    assert done.exit_code == 1
    assert "no component is called 'percever'; did you mean 'perceiver'?" in done.stderr
    done = mmcore("show", "llm", "perceiver")
    assert done.exit_code == 1
    assert "no llm is called 'perceiver'" in done.stderr
    assert mmcore("show").exit_code == 2
    assert mmcore("show", "a", "b", "c").exit_code == 2


def test_show_the_tables_of_a_recipe(mmcore):
    text = " ".join(mmcore("show", "recipe").stdout.split())
    assert "max_rejected_share: float = 0.05 share of rejected rows" in text
    assert "packs_per_step: int" in text


def test_show_recipe_prints_a_recipe_that_runs(mmcore, recipe, tmp_path):
    done = mmcore("show", recipe(), "--set", "seed=5")
    plain = tomllib.loads(done.stdout)
    assert (plain["seed"], plain["model"]["encoder"]["width"]) == (5, 1152)
    (tmp_path / "again.toml").write_text(done.stdout)
    assert mmcore("show", "again.toml").stdout == done.stdout
    assert mmcore("show", "siglip", "--set", "a=1").exit_code == 2


def test_check_ok(mmcore, recipe):
    done = mmcore("check", recipe())
    assert done.exit_code == 0, done.stderr
    assert done.stdout.startswith("small.toml: ok\n")
    text = " ".join(done.stdout.split())
    assert "views of 384 px become 729 patches, width 1152" in text
    assert "perceiver 8 tokens per view" in text
    assert "only 1,000 steps trains token_sampler up to" in text


def test_check_prints_every_fault_in_order(mmcore, recipe):
    path = recipe(("queries = 8", "querys = 8"), ("packs_per_step = 4", "packs_per_step = 3"))
    done = mmcore("check", path, "--set", "stages.ony.fit=reject")
    assert done.exit_code == 1
    assert done.stdout == ""
    assert done.stderr.splitlines() == [
        "--set stages.ony.fit=reject: stages has no 'ony'; did you mean 'only'? (there are: only)",
        "small.toml:6: model.token_sampler.querys: no such key; did you mean 'queries'?",
        "small.toml:19: stages.only.batch.packs_per_step: is 3, wanted a multiple of data.lanes = "
        "2; 4 would do",
        "3 faults",
    ]


def test_check_wants_the_data(mmcore, recipe):
    done = mmcore("check", recipe(("synthetic = { rows = 8 }", "")))
    assert done.exit_code == 1
    assert "stages.only.data.0.path: no file matches 'data/*.json'" in done.stderr


def test_colours_change_no_word():
    fault = Fault("x.toml", 12, "a.b", "no such key", "did you mean 'c'?")
    assert click.unstyle(coloured(fault)) == str(fault)
    assert coloured(fault) != str(fault)
