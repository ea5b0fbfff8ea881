"""A run in which a Q-Former learns from texts, in one process and shared out over two."""

import sys

import pytest
import torch

from mmcore import load_recipe
from mmcore.assemble import empty_model, let_learn
from mmcore.planning.pack import full_pack
from mmcore_samplers.qformer_names import purpose

OBJECTIVES = '[{use="autoregressive"}, {use="itc"}, {use="itm"}, {use="itg"}]'
SAMPLER = 'model.token_sampler={use="qformer", queries=4, width=32, layers=2, heads=2, mlp_width=48'
SET = (
    f"{SAMPLER}, compare_width=16}}",
    f"stages.captions.objectives={OBJECTIVES}",
)


def overrides(*more: str) -> list[str]:
    return [word for one in (*SET, *more) for word in ("--set", one)]


def test_what_no_objective_of_a_stage_uses_is_frozen_there(workplace):
    recipe = load_recipe("mini.toml", list(SET))
    captions, answers = recipe.stages
    model = empty_model(recipe.model, 0, torch.device("cpu"))
    for stage, whole in ((answers, False), (captions, True), (answers, False)):
        let_learn(recipe.model, stage, model)
        for name, parameter in model.token_sampler.named_parameters():
            assert parameter.requires_grad == (whole or purpose(name) in (None, "tokens")), name
    assert (full_pack(recipe.model, captions).text, full_pack(recipe.model, answers).text) == (
        32,
        0,
    )


def test_what_draws_negatives_is_frozen_where_nothing_teaches_it(workplace):
    alone = 'stages.captions.objectives=[{use="autoregressive"}, {use="itm"}]'
    recipe = load_recipe("mini.toml", [*SET, alone])
    model = empty_model(recipe.model, 0, torch.device("cpu"))
    let_learn(recipe.model, recipe.stages[0], model)
    for name, parameter in model.token_sampler.named_parameters():
        assert parameter.requires_grad == (purpose(name) not in ("contrast", "caption")), name


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.skipif(sys.platform != "linux", reason="DeepSpeed is installed on Linux only")
@pytest.mark.parametrize("zero", [2, 3])
def test_two_processes_learn_from_texts_as_one_does(workplace, zero):
    """Weights are gathered as modules are entered; at stage 3, small ones too."""
    workplace.mmcore("run", "mini.toml", *overrides("name=one"))
    workplace.typed(
        "run", "mini.toml", "--procs", "2",
        *overrides(
            "name=two", "engine.use=deepspeed", f"engine.zero={zero}", "engine.precision=fp32",
            "engine.overrides.zero_optimization.reduce_bucket_size=100000",
            "engine.overrides.zero_optimization.stage3_param_persistence_threshold=0",
        ),
    )  # fmt: skip
    one, two = workplace.metrics("one"), workplace.metrics("two")
    for name in ("loss", "loss/autoregressive", "loss/itc", "loss/itm", "loss/itg", "grad_norm"):
        wanted = [line[name] for line in one if name in line]
        assert [line[name] for line in two if name in line] == pytest.approx(wanted, rel=1e-4)
        assert len(set(wanted)) > 3, f"{name} does not move"
