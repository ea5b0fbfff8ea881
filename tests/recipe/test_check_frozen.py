"""What an objective holds the model against must be there: adapters alone, or prepared pairs."""

from typing import ClassVar

import attrs
import pytest

from mmcore.interfaces import Objective, ObjectiveSpec
from mmcore.recipe import RecipeError, load_recipe
from mmcore_registry import Registry, Spec, doc


@attrs.frozen(kw_only=True)
class Held(ObjectiveSpec):
    """A stranger's objective, which holds the model against another."""

    name: ClassVar[str] = "held"
    frozen_key: ClassVar[str] = "against"
    reads_pairs: ClassVar[bool] = True

    against: str = attrs.field(default="adapters", metadata=doc("whom"))

    @property
    def frozen_model(self) -> str:
        return "" if self.against == "data" else self.against

    @property
    def reads_references(self) -> bool:
        return self.against == "data"

    def build(self) -> Objective:
        raise NotImplementedError


@pytest.fixture
def faults(specs, write):
    """Load the demo with pairs in its first stage, this objective, and these parts that learn."""

    @attrs.frozen(kw_only=True)
    class Rivals(specs["pages"]):
        """Two answers to every question."""

        name: ClassVar[str] = "rivals"
        prepared: bool = attrs.field(default=False, metadata=doc("whether they carry references"))

        @property
        def gives_pairs(self) -> bool:
            return True

        @property
        def gives_references(self) -> bool:
            return self.prepared

    registry = Registry()
    mine = [one for one in specs.values() if issubclass(one, Spec)]
    registry.add([*mine, Held, Rivals], plugin="test", distribution="test-dist")

    def load(objective, train, prepared="false"):
        text = write().read_text()
        head, _, tail = text.partition("[[stages]]")
        stage, _, rest = tail.partition("[[stages]]")
        [before] = [line for line in stage.splitlines() if line.startswith("train = ")]
        stage = stage.replace(before, f"train = [{train}]")
        stage = stage.replace('objectives = [{ use = "talk" }]', f"objectives = [{objective}]")
        rows = f'[[stages.data]]\nuse = "rivals"\nprepared = {prepared}'
        stage = stage.replace('[[stages.data]]\nuse = "pages"', rows)
        path = write(f"{head}[[stages]]{stage}[[stages]]{rest}")
        try:
            load_recipe(path, registry=registry)
        except RecipeError as error:
            return [str(fault) for fault in error.faults]
        return []

    return load


ADAPTED = '{ part = "llm", lora = { rank = 2 } }'


def test_adapters_must_be_all_that_learns(faults):
    assert faults('{ use = "held" }', ADAPTED) == []
    [fault] = faults('{ use = "held" }', f'"token_sampler", {ADAPTED}')
    assert "stages.base.objectives.0.against: is 'adapters': 'held' holds the model" in fault
    assert "but more than adapters is trained: 'token_sampler'; train token_sampler" in fault
    assert "lora = { rank = 16 } }; or name a folder of the model as it was" in fault
    assert faults('{ use = "held", against = "runs/x" }', '"token_sampler"') == []


def test_references_in_the_data_must_be_there(faults):
    wanted = '{ use = "held", against = "data" }'
    assert faults(wanted, '"llm"', prepared="true") == []
    [fault] = faults(wanted, '"llm"')
    assert "stages.base.data.0.use: 'rivals' gives pairs without the log-probabilities" in fault
    assert "which 'held' reads from the data; prepare them with `mmcore data prepare-dpo" in fault
    assert faults('{ use = "held" }', ADAPTED) == [], "nobody reads them"
