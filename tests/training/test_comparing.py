"""A step that compares its pairs has the gradient of one large batch, however it is dealt.

Letters: M pairs of the step, Q queries, X width of a comparison.
"""

from __future__ import annotations

import json
import math
import runpy
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from mmcore.interfaces import CAPTION, CONTRAST, MATCH, World
from mmcore.training.hooks import Hooks
from mmcore.training.loop import train_stage
from mmcore.training.progress import Budget, Progress
from mmcore.training.validation import Validation
from mmcore_objectives.itm import ROW_IDS, ROW_MASK, ROW_MATCH, ROW_VIEW
from mmcore_objectives.pair_specs import ItcSpec, ItmSpec
from mmcore_registry import hookimpl

PROGRAM = Path(__file__).parent / "programs" / "two_comparisons.py"
toy = SimpleNamespace(**runpy.run_path(str(PROGRAM), run_name="two_comparisons"))
ORDER = toy.ORDER


def all_in_one(specs=toy.SPECS):
    return toy.step(toy.make_run(specs), [toy.pack(ORDER)])


def assert_close(found, wanted, tolerance=2e-6):
    assert found.keys() == wanted.keys()
    for name, values in wanted.items():
        assert found[name] == pytest.approx(values, rel=1e-5, abs=tolerance), name


def smoothed(logits: list[torch.Tensor], own: int, smoothing: float) -> torch.Tensor:
    """Cross entropy with label smoothing, as it is defined."""
    total = sum(one.exp() for one in logits)
    losses = [-(one.exp() / total).log() for one in logits]
    return (1 - smoothing) * losses[own] + smoothing * sum(losses) / len(losses)


def contrast_by_loops(picture_MQX, text_MX, candidates: int) -> torch.Tensor:
    """Every picture with the texts from its own on, every text with the pictures up to its own."""
    pairs, texts, total = len(ORDER), [toy.text_of(one) for one in ORDER], 0.0

    def like(picture: int, text: int) -> torch.Tensor:
        return max(picture_MQX[picture, q] @ text_MX[text] for q in range(toy.QUERIES))

    for m in range(pairs):
        for away in (1, -1):
            others = [(m + away * c) % pairs for c in range(candidates)]
            kept = [one for one in others if one == m or texts[one] != texts[m]]
            both = [(m, one) if away == 1 else (one, m) for one in kept]
            total = total + smoothed([like(*one) for one in both], 0, 0.1) / 2
    return total


def losses_by_loops(model, batch, candidates: int, rows) -> list[torch.Tensor]:
    """All three, over one autograd graph; for ITM, of the rows that were drawn."""
    pairs = [batch.aux[name] for name in ("pair_view_B", "pair_ids_BW", "pair_mask_BW")]
    picture_MQX, text_MX = model.provided(CONTRAST, batch, *pairs)
    itc = contrast_by_loops(picture_MQX, text_MX, candidates)
    itm = 0.0
    for view, ids, mask, match in zip(*rows, strict=True):
        (logits,) = model.provided(MATCH, batch, view[None], ids[None], mask[None])
        itm = itm + smoothed(list(logits[0]), int(match), 0.0)
    itg = 0.0
    nll_MW, spread_MW = model.provided(CAPTION, batch, *pairs)
    for m, number in enumerate(ORDER):
        for w in range(1, len(toy.text_of(number))):
            itg = itg + 0.9 * nll_MW[m, w] + 0.1 * spread_MW[m, w]
    return [itc, itm, itg]


@pytest.mark.parametrize("candidates", [2, 4, 64])
def test_loss_and_gradient_are_those_of_one_large_graph(candidates) -> None:
    specs = (ItcSpec(candidates=candidates), *toy.SPECS[1:])
    found = toy.step(
        toy.make_run(specs), [toy.pack(ORDER[:1]), toy.pack(ORDER[1:5]), toy.pack(ORDER[5:])]
    )
    run, batch = toy.make_run(specs), toy.pack(ORDER)
    (told,) = toy.compared(run, [batch], 3, toy.nullcontext())
    rows = [told.aux[name] for name in (ROW_VIEW, ROW_IDS, ROW_MASK, ROW_MATCH)]
    losses = losses_by_loops(run.module.model, batch, min(candidates, len(ORDER)), rows)
    words = sum(len(toy.text_of(number)) - 1 for number in ORDER)
    divisors = [len(ORDER), 3 * len(ORDER), words]
    assert found["divisors"] == divisors
    assert found["losses"] == pytest.approx([one.item() for one in losses], rel=2e-6)
    weights = [spec.weight for spec in specs]
    sum(w * one / d for w, one, d in zip(weights, losses, divisors, strict=True)).backward()
    for name, parameter in run.module.named_parameters():
        assert found[name] == pytest.approx(parameter.grad.flatten().tolist(), abs=2e-6), name


def test_packing_changes_nothing() -> None:
    wanted = all_in_one()
    apart = [toy.pack([number]) for number in ORDER]
    assert_close(toy.step(toy.make_run(), apart), wanted)
    assert_close(toy.step(toy.make_run(), [toy.pack(ORDER[:3]), toy.pack(ORDER[3:])]), wanted)


def test_the_data_orders_the_pairs_and_not_the_way_in_which_packs_come() -> None:
    """Two lanes of two packs: whoever has both may take one or the other first."""
    (a, c), (b, d) = toy.DEALT
    wanted = all_in_one()
    assert_close(toy.step(toy.make_run(), [a, b, c, d]), wanted)
    assert_close(toy.step(toy.make_run(), [b, d, a, c]), wanted)


def test_packs_without_pairs_change_nothing() -> None:
    wanted = all_in_one()
    batches = [toy.pack(ORDER[:3]), toy.pack([]), toy.pack(ORDER[3:]), toy.pack([], lane=-1)]
    assert_close(toy.step(toy.make_run(), batches), wanted)
    nothing = toy.step(toy.make_run(), [toy.pack([]), toy.pack([], lane=-1)])
    assert {value for values in nothing.values() for value in values} == {0.0}


def test_a_step_without_numbers_goes_through_to_be_skipped() -> None:
    """The loop skips a step whose loss is no number, and says so; a draw must not fail before."""
    run = toy.make_run()
    with torch.no_grad():
        run.module.model.encoder.bias.fill_(math.nan)
    found = toy.step(run, [toy.pack(ORDER[:3]), toy.pack(ORDER[3:])])
    assert [math.isnan(one) for one in found["losses"]] == [True, True, True]


def test_the_seed_of_the_step_decides_what_is_drawn() -> None:
    specs = (ItmSpec(),)
    batches = [toy.pack(ORDER)]

    def drawn(run, step):
        (told,) = toy.compared(run, batches, step, toy.nullcontext())
        return told.aux[ROW_VIEW].tolist(), told.aux[ROW_IDS].tolist()

    first = drawn(toy.make_run(specs), 1)
    assert drawn(toy.make_run(specs), 1) == first
    others = [drawn(toy.make_run(specs), step) for step in range(2, 6)]
    others.append(drawn(toy.make_run(specs, seed=10), 1))
    assert any(one != first for one in others[:-1])
    assert any(one != first for one in others[-1:])


def test_a_pack_is_surveyed_once_and_its_features_are_made_once_a_pass() -> None:
    run = toy.make_run()
    toy.step(run, [toy.pack(ORDER[:3]), toy.pack(ORDER[3:])])
    assert run.module.model.entered == 2 * 2  # of all three objectives: a survey, and a backward
    apart = toy.make_run(one_look=False)
    toy.step(apart, [toy.pack(ORDER)])
    assert apart.module.model.entered == 1 + 3  # ITC and ITM share what the survey was told


def test_what_is_surveyed_is_as_after_training_and_leaves_no_trace() -> None:
    run = toy.make_run()
    modes = []
    run.module.model.encoder.register_forward_hook(
        lambda module, *_: modes.append((module.training, torch.is_grad_enabled()))
    )
    toy.compared(run, [toy.pack(ORDER)], 3, toy.nullcontext())
    assert modes == [(False, False)]
    assert run.module.training
    assert all(one.grad is None for one in run.module.parameters())
    assert run.segment_losses.packs() == []
    assert len(run.told) == 0


def test_two_objectives_do_not_say_the_same_of_a_pack() -> None:
    run = toy.make_run((ItcSpec(), ItcSpec()))
    with pytest.raises(ValueError, match="two objectives say itc/candidates_B"):
        toy.step(run, [toy.pack(ORDER)])


class Ear:
    def __init__(self) -> None:
        self.steps, self.validations = [], []

    @hookimpl
    def mmcore_step_end(self, report) -> None:
        self.steps.append(dict(report.values))

    @hookimpl
    def mmcore_validated(self, report) -> None:
        self.validations.append(dict(report.values))


class Packs(list):
    blank = toy.pack([], lane=-1)


class Loader:
    def next_step(self):
        batches = [toy.pack(ORDER[:4]), toy.pack(ORDER[4:])]
        return SimpleNamespace(batches=batches, rejected=(), counts={}, wait_seconds=0.0)


def go(**changes) -> Ear:
    ear = Ear()
    run = toy.make_run(loader=Loader(), **changes)
    train_stage(
        run,
        Progress(stage="pairs"),
        world=World(),
        hooks=Hooks([ear], World()),
        save=lambda now: None,
        every_steps=100,
        stop=lambda: False,
    )
    return ear


def test_the_loop_learns_and_tells_losses_and_numbers() -> None:
    ear = go(budget=Budget(steps=60))
    first, last = ear.steps[0], ear.steps[-1]
    wanted = all_in_one()
    means = [one / d for one, d in zip(wanted["losses"], wanted["divisors"], strict=True)]
    assert [first[f"loss/{name}"] for name in ("itc", "itm", "itg")] == pytest.approx(means, abs=1)
    assert first["itc/candidates"] == 4
    for name in ("itc", "itg"):
        assert last[f"loss/{name}"] < first[f"loss/{name}"] - 0.1, name
    assert last["itc/accuracy"] > first["itc/accuracy"]
    assert 0 <= last["itm/accuracy"] <= 1
    assert last["itg/nll"] < last["loss/itg"]  # smoothing asks for more than the text
    assert all(math.isfinite(value) for one in ear.steps for value in one.values())


def test_a_validation_compares_its_packs_as_a_step_does() -> None:
    packs = Packs([toy.pack(ORDER[:2], lane=-1), toy.pack(ORDER[2:], lane=-1)])
    frozen = {"budget": Budget(steps=1), "validation": Validation(packs, every_steps=1)}
    ear = go(**frozen)
    (values,) = ear.validations
    assert values["validation/itc/candidates"] == 4
    assert values["validation/loss"] == pytest.approx(
        values["validation/loss/itc"]
        + 0.5 * values["validation/loss/itm"]
        + 2.0 * values["validation/loss/itg"]
    )
    one_pack = Packs([toy.pack(ORDER, lane=-1)])
    (same,) = go(budget=Budget(steps=1), validation=Validation(one_pack, every_steps=1)).validations
    for name in ("loss/itc", "loss/itm", "loss/itg", "itc/accuracy", "itm/accuracy"):
        name = f"validation/{name}"
        assert values[name] == pytest.approx(same[name], rel=1e-5), name


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory, on_two_ranks) -> list[dict]:
    root = tmp_path_factory.mktemp("comparisons")
    on_two_ranks(PROGRAM, root)
    return [json.loads((root / f"outcome-{rank}.json").read_text()) for rank in range(2)]


def test_two_ranks_have_the_loss_and_the_gradient_of_one(outcomes) -> None:
    wanted = all_in_one()
    assert outcomes[0]["step"] == outcomes[1]["step"]
    assert_close(outcomes[0]["step"], wanted)


def test_two_ranks_enter_the_encoder_equally_often(outcomes) -> None:
    assert [one["entered"] for one in outcomes] == [4, 4]


def test_a_rank_that_ran_out_goes_along(outcomes) -> None:
    wanted = toy.step(toy.make_run(), [toy.pack((*ORDER[:3], 8, *ORDER[3:]))])
    assert_close(outcomes[0]["with_blank"], wanted)
