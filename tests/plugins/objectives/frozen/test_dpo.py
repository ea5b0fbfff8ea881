"""DPO equals TRL's formula, derived here again from logits of one sequence at a time."""

from __future__ import annotations

import math

import attrs
import pytest
import torch
from torch.nn.functional import logsigmoid

from mmcore.data.collate import blank_batch
from mmcore.data.references import fingerprint
from mmcore.interfaces import PairReference, Rejection
from mmcore.training.step_module import TrainingStep
from mmcore_objectives.dpo import MissingReferenceError
from mmcore_objectives.frozen_spec import DpoSpec
from mmcore_objectives.spec import AutoregressiveSpec


def sequence_log_probs(model, pack, sequence) -> torch.Tensor:
    """As TRL has it: the whole logits, shifted, log-softmax, gathered, summed under the mask."""
    batch = pack([sequence])
    logits_TV = model.llm.head(model.hidden(batch))
    ids_T = torch.from_numpy(sequence.input_ids_T)
    mask_T = torch.from_numpy(sequence.learned_T)[1:]
    log_probs_T = logits_TV[:-1].float().log_softmax(-1).gather(1, ids_T[1:, None])[:, 0]
    return log_probs_T.double()[mask_T].sum()


def trl(model, pack, pairs, beta: float, smoothing: float) -> torch.Tensor:
    """``DPOTrainer.dpo_loss`` of the type "sigmoid", with label smoothing, summed."""
    total = torch.zeros((), dtype=torch.float64)
    for pair in pairs:
        chosen, rejected = (sequence_log_probs(model, pack, one) for one in pair.sequences)
        with torch.no_grad(), model.without_adapters():
            known = [sequence_log_probs(model, pack, one) for one in pair.sequences]
        logits = (chosen - rejected) - (known[0] - known[1])
        total = total - logsigmoid(beta * logits) * (1 - smoothing)
        total = total - logsigmoid(-beta * logits) * smoothing
    return total


def step_of(model, **keys) -> TrainingStep:
    return TrainingStep(model, [DpoSpec(**keys).build()], [1.0])


def gradients(model) -> dict[str, torch.Tensor]:
    found = {n: p.grad.clone() for n, p in model.named_parameters() if p.grad is not None}
    model.zero_grad()
    return found


@pytest.mark.parametrize(("beta", "smoothing"), [(0.1, 0.0), (0.5, 0.2)])
def test_loss_and_gradient_are_those_of_the_formula(model, pack, pairs, beta, smoothing) -> None:
    model.double()
    step = step_of(model, beta=beta, label_smoothing=smoothing)
    loss, sums = step(pack(pairs), [1.0])
    loss.backward()
    found = gradients(model)
    wanted = trl(model, pack, pairs, beta, smoothing)
    wanted.backward()
    assert abs(wanted.item() - len(pairs) * math.log(2)) > 0.01, "the adapters do nothing"
    torch.testing.assert_close(loss.double(), wanted, rtol=1e-6, atol=1e-6)
    assert sums.item() == loss.item()
    of_formula = gradients(model)
    assert found.keys() == of_formula.keys() == {n for n in found if ".lora_" in n}
    assert any(one.abs().max() > 1e-3 for one in of_formula.values())
    for name, gradient in of_formula.items():
        torch.testing.assert_close(found[name], gradient, rtol=1e-5, atol=1e-6, msg=name)


def test_rewards_are_told_as_trl_has_them(model, pack, pairs) -> None:
    model.double()
    step = step_of(model, beta=0.3)
    for group in (pairs[:3], pairs[3:]):
        step(pack(group), [1.0])
    told = step.told.means(step.told.totals(torch.device("cpu")).tolist(), [4.0], ["dpo"])
    rewards = []
    for pair in pairs:
        gained = [sequence_log_probs(model, pack, one).item() for one in pair.sequences]
        with torch.no_grad(), model.without_adapters():
            known = [sequence_log_probs(model, pack, one).item() for one in pair.sequences]
        rewards.append([0.3 * (one - other) for one, other in zip(gained, known, strict=True)])
    chosen, rejected = (sum(column) / 4 for column in zip(*rewards, strict=True))
    right = sum(one > other for one, other in rewards) / 4
    assert told == pytest.approx(
        {
            "dpo/reward-preferred": chosen,
            "dpo/reward-dispreferred": rejected,
            "dpo/margin": chosen - rejected,
            "dpo/accuracy": right,
        },
        abs=1e-6,
    )
    assert 0 < right < 1, "an accuracy of all or nothing would prove little"


def test_packs_and_order_do_not_change_it(model, pack, pairs) -> None:
    step = step_of(model.double())
    together, _ = step(pack(pairs), [1.0])
    apart = sum(step(pack(group), [1.0])[0] for group in ([pairs[2]], [pairs[3], pairs[0]]))
    apart = apart + step(pack([pairs[1]]), [1.0])[0]
    torch.testing.assert_close(apart, together, rtol=1e-6, atol=1e-6)
    objective = DpoSpec().build()
    assert [objective.count(pack(group)) for group in (pairs, pairs[:1])] == [4.0, 1.0]


def test_what_is_no_pair_is_passed_over(model, pack, pairs, preparer) -> None:
    step, alone = step_of(model.double()), pairs[3].sequences[0]
    mixed, only = pack([alone, pairs[0], alone, pairs[1]]), pack(pairs[:2])
    assert DpoSpec().build().count(mixed) == 2.0
    torch.testing.assert_close(step(mixed, [1.0])[0], step(only, [1.0])[0], rtol=1e-6, atol=1e-6)
    blank = blank_batch(preparer.view, preparer.text)
    loss, _ = step(blank, [1.0])
    loss.backward()
    learning = [one for one in model.parameters() if one.requires_grad]
    assert loss.item() == 0
    assert all(one.grad is not None and not one.grad.any() for one in learning)


def test_both_sequences_of_a_pair_share_their_views(pack, pairs) -> None:
    batch = pack(pairs[:1])
    views = pairs[0].views
    assert batch.views == views == batch.pixels_NCHW.shape[0]
    assert batch.image_token_source_K is not None
    assert len(batch.image_token_source_K) == 2 * len(batch.image_token_source_K.unique())


def test_fresh_adapters_begin_at_chance(model, pack, pairs) -> None:
    for name, parameter in model.named_parameters():
        if ".lora_B." in name:
            parameter.data.zero_()
    loss, _ = step_of(model)(pack(pairs), [1.0])
    assert loss.item() == pytest.approx(len(pairs) * math.log(2), abs=1e-6)


def test_asking_the_reference_leaves_the_model_as_it_was(model, pack, pairs) -> None:
    model.train()
    before = {n: p.requires_grad for n, p in model.named_parameters()}
    step = TrainingStep(model, [AutoregressiveSpec().build(), DpoSpec().build()], [1.0, 1.0])
    step(pack(pairs), [1.0, 1.0])[0].backward()
    assert model.training
    assert {n: p.requires_grad for n, p in model.named_parameters()} == before
    heard = step.segment_losses.packs()
    assert [len(samples) for samples in heard] == [len(pairs)], "the reference was heard as well"


def test_log_probabilities_in_the_data_are_as_good_as_asking(model, pack, pairs) -> None:
    model.double()
    with torch.no_grad(), model.without_adapters():
        known = [[sequence_log_probs(model, pack, s).item() for s in p.sequences] for p in pairs]
    carrying = [
        attrs.evolve(
            one,
            reference=preferred,
            dispreferred=attrs.evolve(one.dispreferred, reference=dispreferred),
        )
        for one, (preferred, dispreferred) in zip(pairs, known, strict=True)
    ]
    live, _ = step_of(model)(pack(pairs), [1.0])
    read, _ = step_of(model, reference="data")(pack(carrying), [1.0])
    torch.testing.assert_close(read, live, rtol=1e-6, atol=1e-6)


def test_a_pair_without_a_reference_is_named(pack, pairs) -> None:
    objective = DpoSpec(reference="data").build()
    with pytest.raises(MissingReferenceError, match=r"pairs:shard:0: .* prepare-dpo"):
        objective.count(pack(pairs))


def test_another_model_may_be_the_reference(model, another, pack, pairs) -> None:
    frozen = another.double()
    step = TrainingStep(
        model.double(), [DpoSpec(reference="there").build()], [1.0], {"there": frozen}
    )
    found, _ = step(pack(pairs), [1.0])
    wanted = torch.zeros((), dtype=torch.float64)
    for pair in pairs:
        gained = [
            sequence_log_probs(model, pack, one) - sequence_log_probs(frozen, pack, one)
            for one in pair.sequences
        ]
        wanted = wanted - logsigmoid(0.1 * (gained[0] - gained[1]))
    torch.testing.assert_close(found.double(), wanted, rtol=1e-6, atol=1e-6)
    found.backward()
    assert all(one.grad is None for one in frozen.parameters())
    assert not set(map(id, frozen.parameters())) & set(map(id, step.parameters()))
    with pytest.raises(ValueError, match="'there', which was not loaded"):
        TrainingStep(model, [DpoSpec(reference="there").build()], [1.0])(pack(pairs), [1.0])


def test_references_are_of_their_tokens_alone(preparer, samples) -> None:
    [plain] = preparer.tokenize(samples[0], "reject")
    good = PairReference(-3.5, -4.5, fingerprint(plain))
    [carrying] = preparer.tokenize(attrs.evolve(samples[0], reference=good), "reject")
    assert [one.reference for one in carrying.sequences] == [-3.5, -4.5]
    with pytest.raises(Rejection, match="prepare-dpo") as caught:
        preparer.tokenize(attrs.evolve(samples[1], reference=good), "reject")
    assert caught.value.reason == "other-tokens"
    smaller = attrs.evolve(preparer, max_views=1)
    with pytest.raises(Rejection, match="these are"):
        smaller.tokenize(attrs.evolve(samples[0], reference=good), "reject")
    [unsaid] = preparer.tokenize(
        attrs.evolve(samples[1], reference=PairReference(-1.0, -2.0)), "reject"
    )
    assert unsaid.reference == -1.0
