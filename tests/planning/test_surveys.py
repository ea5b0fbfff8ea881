"""A plan counts what is done twice where the samples of a step are compared."""

from __future__ import annotations

from pathlib import Path

import pytest

from mmcore import load_recipe, plan

MINI = Path(__file__).parents[1] / "end_to_end" / "mini.toml"
QFORMER = (
    'model.token_sampler={use="qformer", queries=4, width=32, layers=2, heads=2, mlp_width=64, '
    "compare_width=16}"
)


def planned(*objectives: str):
    named = ", ".join(f'{{use="{one}"}}' for one in objectives)
    words = [QFORMER, f"stages.captions.objectives=[{named}]"]
    if "autoregressive" not in objectives:
        words.append('stages.captions.train=["encoder", "token_sampler"]')
    return plan(load_recipe(MINI, words)).stages[0]


def test_a_survey_is_a_forward_pass_more_and_is_made_once_for_all() -> None:
    contrast, both = planned("itc").flops, planned("itc", "itm").flops
    assert contrast.recompute == contrast.forward  # nothing but the survey, of all that there is
    assert both.recompute == contrast.recompute
    assert both.forward > contrast.forward
    alone = planned("autoregressive").flops.recompute  # of its head
    assert planned("autoregressive", "itg").flops.recompute == alone
    assert planned("autoregressive", "itc").flops.recompute > alone


def test_the_encoder_is_counted_once_for_all_objectives() -> None:
    alone = {one: planned(one).flops.forward for one in ("autoregressive", "itg")}
    together = planned("autoregressive", "itg").flops.forward
    assert together < sum(alone.values())


@pytest.mark.parametrize("objective", ["itc", "itg"])
def test_the_llm_costs_no_work_where_nobody_enters_it(objective) -> None:
    small = planned(objective).flops.forward
    words = [QFORMER, f'stages.captions.objectives=[{{use="{objective}"}}]']
    words += ['stages.captions.train=["encoder", "token_sampler"]', "model.llm.layers=9"]
    assert plan(load_recipe(MINI, words)).stages[0].flops.forward == small
