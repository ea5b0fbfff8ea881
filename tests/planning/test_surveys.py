"""A plan counts what is done twice where the samples of a step are compared."""

from __future__ import annotations

import functools
from pathlib import Path

from mmcore import load_recipe
from mmcore.planning.costs import Costs
from mmcore.planning.measure import Work

MINI = Path(__file__).parents[1] / "end_to_end" / "mini.toml"
QFORMER = (
    'model.token_sampler={use="qformer", queries=4, width=32, layers=2, heads=2, mlp_width=64, '
    "compare_width=16}"
)


@functools.cache
def work(*objectives: str, changes: tuple[str, ...] = ()) -> Work:
    """Of a full pack of the first stage."""
    named = ", ".join(f'{{use="{one}"}}' for one in objectives)
    words = [QFORMER, f"stages.captions.objectives=[{named}]", *changes]
    if "autoregressive" not in objectives:
        words.append('stages.captions.train=["encoder", "token_sampler"]')
    recipe = load_recipe(MINI, words)
    return Costs(recipe).work(recipe.stages[0], 1)[1]


def test_a_survey_is_a_forward_pass_more_and_is_made_once_for_all() -> None:
    contrast, both = work("itc"), work("itc", "itm")
    assert contrast.recompute == contrast.forward  # nothing but the survey, of all that there is
    assert both.recompute == contrast.recompute
    assert both.forward > contrast.forward
    alone = work("autoregressive").recompute  # of its head
    assert work("autoregressive", "itg").recompute == alone
    assert work("autoregressive", "itc").recompute > alone


def test_the_encoder_is_counted_once_for_all_objectives() -> None:
    apart = work("autoregressive").forward + work("itg").forward
    assert work("autoregressive", "itg").forward < apart


def test_the_llm_costs_no_work_where_nobody_enters_it() -> None:
    assert work("itg", changes=("model.llm.layers=9",)).forward == work("itg").forward
    assert work("itc", changes=("model.llm.layers=9",)).forward == work("itc").forward
