"""Facts that no single table sees: each is a fault at its key's line."""

from typing import ClassVar, Literal

import attrs
import pytest

from mmcore.interfaces import Objective, ObjectiveSpec
from mmcore.recipe import RecipeError, labels, load_recipe
from mmcore_registry import Problem, Registry, Spec, doc


@pytest.fixture
def faults(write, registry):
    def faults(*changes, overrides=(), machine=False):
        with pytest.raises(RecipeError) as error:
            load_recipe(write_changed(*changes), overrides, registry=registry, machine=machine)
        return [str(fault) for fault in error.value.faults]

    def write_changed(*changes):
        return write() if not changes else write(write().read_text(), *changes)

    return faults


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        (
            [("packs_per_step = 8", "packs_per_step = 9")],
            "30: stages.base.batch.packs_per_step: is 9, wanted a multiple of data.lanes = 4; 12",
        ),
        (
            [("lanes = 4\n", "")],
            "29: stages.base.batch.packs_per_step: is 8, wanted a multiple of data.lanes = 64; 64",
        ),
        (
            [("max_tokens = 512", "max_tokens = 513")],
            "45: stages.sft.batch.max_tokens: is 513, the LLM reads at most 512 tokens",
        ),
        (
            [("queries = 8", "queries = 256")],
            "30: stages.base.batch.max_tokens: is 256: one view takes 256 tokens, which leaves no",
        ),
        (
            [("queries = 8", "queries = 102")],
            "28: stages.base.tiler: cuts a picture into up to 3 views: 3 views x 102 tokens = 306, "
            "and 1 of text at least, is more than a pack's max_tokens = 256;",
        ),
        (
            [('train = ["llm"]', 'train = ["lm"]')],
            "41: stages.sft.train.0: is 'lm', wanted one of 'encoder', 'token_sampler', 'llm'; did",
        ),
        (
            [('train = ["llm"]', 'train = ["llm", { part = "llm", lr = 1 }]')],
            "41: stages.sft.train.1: 'llm' is named 2 times",
        ),
        (
            [('train = ["llm"]', "train = []")],
            "41: stages.sft.train: names no part: wanted at least one of encoder, token_sampler",
        ),
        (
            [('name = "sft"', 'name = "base"')],
            "40: stages.1.name: 'base' is the name of 2 stages",
        ),
        (
            [('stage = "sft"', 'stage = "stf"')],
            "54: evaluations.0.stage: no stage is called 'stf'; did you mean 'sft'?",
        ),
        (
            [('use = "talk"', 'use = "contrast"')],
            "29: stages.base.objectives.0.use: 'contrast' needs tower of the token sampler; 'resam",
        ),
        (
            [('variant = "large"', "feature_width = 9")],
            "10: model.encoder.feature_width: is 9, wanted an even number",
        ),
        (
            [('use = "resampler"\nqueries = 8\ndepth = 3', 'use = "pool"\nfactor = 3')],
            "13: model.token_sampler: does not fit the encoder's views of 4 x 4 patches: factor is",
        ),
    ],
)
def test_contradictions(faults, changes, fault):
    found = faults(*changes)
    assert any(line.startswith(f"demo.toml:{fault}") for line in found), found


def test_a_sampler_must_make_as_many_tokens_of_a_whole_picture_as_of_a_view(
    faults, write, registry
):
    whole = ('tiler = { use = "grids" }', 'tiler = { use = "grids", whole = true }')
    pool = ('use = "resampler"\nqueries = 8\ndepth = 3', 'use = "pool"')
    assert faults(whole, pool) == [
        "demo.toml:26: stages.base.tiler: 'grids' gives the token sampler 48 patches at once; "
        "'pool' makes 24 tokens of them, wanted 8 as of a view"
    ]
    load_recipe(write(write().read_text(), whole), registry=registry)


def test_no_task_is_asked_of_weights_that_are_shared_out(faults, write, registry):
    asked = ["validation={share=0.1, tasks=['quiz']}"]
    (fault,) = faults(overrides=[*asked, "engine.zero=3"])
    assert "validation.tasks: cannot be asked where ranks share out the weights" in fault
    load_recipe(write(), [*asked, "engine.zero=2"], registry=registry)
    load_recipe(write(), ["validation={share=0.1}", "engine.zero=3"], registry=registry)


def test_contradictions_are_found_beside_other_faults(faults):
    """A stage with a fault elsewhere, and a recipe that misses a key, are checked all the same."""
    found = faults(
        ("lr = 1e-5 }\ndata", "lr = -1 }\ndata"),
        ("max_tokens = 512", "max_tokens = 4096"),
        ('name = "demo"', 'nme = "demo"'),
    )
    keys = [line.split(": ")[1] for line in found]
    assert keys == ["name", "nme", "stages.sft.batch.max_tokens", "stages.sft.optimizer.lr"]


def test_no_consequential_faults(faults):
    """What depends on a faulty value is not guessed at."""
    assert len(faults(("lanes = 4", 'lanes = "four"'))) == 1
    assert len(faults(('use = "resampler"', 'use = "resempler"'))) == 1


def test_data_must_be_there_only_on_a_machine_that_trains(write, registry, faults, tmp_path):
    real = ("synthetic = { rows = 10 }", "")
    load_recipe(write(write().read_text(), real), registry=registry)
    found = faults(real, machine=True)
    assert found == ["demo.toml:35: stages.base.data.0.path: no file matches 'data/*.json'"]
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "a.json").write_text("[]")
    load_recipe(write(write().read_text(), real), registry=registry, machine=True)


def test_the_data_of_a_task_is_looked_for_too(faults):
    change = (", synthetic = { rows = 5, held_out = true } }", " }")
    (line,) = faults(change, machine=True)
    assert line == "demo.toml:55: evaluations.0.data.path: no file matches 'held/*.json'"


def test_problems_of_the_machine_do_not_hinder_a_plan(write, registry, specs, monkeypatch):
    def problems(self):
        yield Problem("weights", "no such folder", "fetch it", machine=True)

    monkeypatch.setattr(specs["eye"], "problems", problems)
    load_recipe(write(), registry=registry)
    with pytest.raises(RecipeError, match=r"11: model\.encoder\.weights: no such folder; fetch it"):
        load_recipe(write(), registry=registry, machine=True)


def test_labels(write, registry):
    recipe = load_recipe(write(), registry=registry)
    assert labels(recipe.stages[1]) == [
        ("pages", recipe.stages[1].data[0]),
        ("pages#2", recipe.stages[1].data[1]),
    ]


@attrs.frozen(kw_only=True)
class Duel(ObjectiveSpec):
    """A stranger's objective, which compares answers."""

    name: ClassVar[str] = "duel"
    reads_pairs: ClassVar[bool] = True

    def build(self) -> Objective:
        raise NotImplementedError


@pytest.fixture
def rivals(specs, write):
    """Load the demo with preference pairs in its first stage, whose objectives are these."""

    @attrs.frozen(kw_only=True)
    class Rivals(specs["pages"]):
        """Two answers to every question."""

        name: ClassVar[str] = "rivals"
        learn: Literal["pairs", "preferred"] = attrs.field(default="pairs", metadata=doc("what"))

        @property
        def gives_pairs(self) -> bool:
            return self.learn == "pairs"

    registry = Registry()
    mine = [one for one in specs.values() if issubclass(one, Spec)]
    registry.add([*mine, Duel, Rivals], plugin="test", distribution="test-dist")

    def load(objectives, source='use = "rivals"', extra=""):
        changes = [
            ('objectives = [{ use = "talk" }]', f"objectives = [{objectives}]"),
            ('[[stages.data]]\nuse = "pages"', f"[[stages.data]]\n{source}{extra}"),
        ]
        path = write(write().read_text(), *changes)
        try:
            load_recipe(path, registry=registry)
        except RecipeError as error:
            return [str(fault) for fault in error.faults]
        return []

    return load


def test_pairs_need_an_objective_that_reads_them(rivals):
    talk, duel = '{ use = "talk" }', '{ use = "duel" }'
    hint = (
        "name an objective that reads pairs, or let the preferred answers be learned as they are: "
        'learn = "preferred"'
    )
    assert rivals(talk) == [
        "demo.toml:34: stages.base.data.0.use: 'rivals' gives preference pairs, and no objective "
        f"reads them; {hint}"
    ]
    assert rivals(duel) == []
    assert rivals(f"{talk}, {duel}") == [], "one may read pairs and the other what is preferred"
    assert rivals(talk, extra='\nlearn = "preferred"') == []


def test_an_objective_that_reads_pairs_needs_a_source_of_them(rivals):
    fault = (
        "demo.toml:29: stages.base.objectives.0.use: 'duel' learns from preference pairs, and no "
        "source gives any"
    )
    assert rivals('{ use = "duel" }', 'use = "pages"') == [fault]
    assert rivals('{ use = "duel" }', extra='\nlearn = "preferred"') == [fault]


def test_whether_pairs_are_read_is_not_guessed_at_beside_a_fault(rivals):
    assert len(rivals('{ use = "duell" }')) == 1
    assert len(rivals('{ use = "duel" }', 'use = "rival"')) == 1
