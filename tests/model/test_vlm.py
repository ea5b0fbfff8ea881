"""A pack is the same thing as its samples one by one, pictures or not."""

from __future__ import annotations

import attrs
import pytest
import torch
from torch.nn.functional import pad

from mmcore.model.splice import splice
from mmcore.model.trainable import set_trainable
from mmcore.model.vlm import VisionLanguageModel, pad_left
from mmcore_objectives.spec import AutoregressiveSpec

ALL = ("encoder", "token_sampler", "llm")


def gradients(model, objective, batches):
    model.zero_grad(set_to_none=True)
    loss = sum(objective.loss(model, batch) for batch in batches)
    loss.backward()
    return loss.detach(), {n: p.grad for n, p in model.named_parameters() if p.requires_grad}


def test_packed_hidden_states_are_those_of_the_samples_alone(model, cases, pack):
    batch = pack(cases)
    assert batch.views == 6
    h_TE = model.hidden(batch)
    for got, case in zip(h_TE.split(batch.lengths), cases, strict=True):
        torch.testing.assert_close(got, model.hidden(pack([case])), atol=1e-5, rtol=1e-5)


def test_packed_loss_and_gradients_are_the_sums_of_the_samples_alone(model, cases, pack):
    objective = AutoregressiveSpec().build()
    together, packed = gradients(model, objective, [pack(cases)])
    apart, summed = gradients(model, objective, [pack([case]) for case in cases])
    assert objective.count(pack(cases)) == sum(objective.count(pack([case])) for case in cases)
    torch.testing.assert_close(together, apart, atol=1e-4, rtol=1e-5)
    for name, gradient in packed.items():
        scale = summed[name].abs().max().item()
        torch.testing.assert_close(gradient, summed[name], atol=2e-5 * scale, rtol=0, msg=name)


def test_log_likelihoods_are_those_of_the_logits(model, cases, pack):
    batch = pack(cases)
    h_LE = model.hidden(batch)[batch.label_index_L]
    shares = model.llm.head(h_LE).log_softmax(-1)
    want = -shares.gather(1, batch.targets_L[:, None])[:, 0]
    torch.testing.assert_close(model.nll(h_LE, batch.targets_L), want, atol=1e-5, rtol=1e-5)


def test_pictures_are_felt_in_their_own_sample_only(model, cases, pack):
    other = attrs.evolve(cases[1], pixels_NCHW=255 - cases[1].pixels_NCHW)
    before, after = (model.hidden(pack([cases[2], one, cases[0]])) for one in (cases[1], other))
    same = (before - after).abs().amax(-1) < 1e-6
    sizes = tuple(len(case.ids) for case in (cases[2], cases[1], cases[0]))
    first, middle, last = same.split(sizes)
    assert first.all()
    assert last.all()
    assert middle.tolist()[:3] == [True] * 3, "what precedes a picture does not see it"
    assert not middle[3:].any()


@pytest.mark.parametrize("number", [0, 3])
def test_a_pack_without_pictures_gives_the_encoder_and_the_sampler_zero_gradients(
    number, model, cases, pack
):
    set_trainable(model, ALL)
    _, found = gradients(model, AutoregressiveSpec().build(), [pack([cases[number]])])
    assert all(gradient is not None for gradient in found.values())
    for name, gradient in found.items():
        if not name.startswith("llm."):
            assert not gradient.any(), name
    assert found["llm.lm_head.weight"].any()


def test_a_pack_without_labels_gives_zero_gradients_everywhere(model, cases, pack):
    silent = attrs.evolve(cases[1], learned=torch.zeros_like(cases[1].learned))
    objective = AutoregressiveSpec().build()
    batch = pack([silent])
    assert objective.count(batch) == 0
    loss, found = gradients(model, objective, [batch])
    assert loss == 0
    assert all(gradient is not None and not gradient.any() for gradient in found.values())


def test_a_frozen_encoder_keeps_no_graph(model, cases, pack):
    seen = []
    model.encoder.register_forward_hook(lambda *call: seen.append(call[-1].requires_grad))
    for parts in (("token_sampler", "llm"), ALL):
        set_trainable(model, parts)
        model.hidden(pack(cases))
    assert seen == [False, True]


def test_answers_of_a_pack_are_the_slow_greedy_ones(model, cases, pack):
    answers = model.generate(pack(cases[:3]), max_new_tokens=5, stop_ids=())
    for case, answer in zip(cases, answers, strict=False):
        for _ in range(5):
            logits = model.llm.head(model.hidden(pack([case]))[-1:])
            ids = torch.cat([case.ids, logits.argmax(-1)])
            case = attrs.evolve(case, ids=ids, learned=torch.ones_like(ids, dtype=torch.bool))
        assert case.ids[-5:].tolist() == answer
    assert model.training


@pytest.mark.parametrize("how", ["autocast", "weights"])
def test_bfloat16_is_near_float32(how, model, cases, pack):
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.05)
    batch = pack(cases)
    objective = AutoregressiveSpec().build()
    exact = objective.loss(model, batch).item()
    if how == "weights":
        model.bfloat16()
    with torch.autocast("cpu", torch.bfloat16, enabled=how == "autocast"):
        loss = objective.loss(model, batch)
    loss.backward()
    assert loss.dtype == torch.float32
    assert loss.item() == pytest.approx(exact, rel=0.01)
    answers = model.generate(batch, max_new_tokens=2, stop_ids=())
    assert [len(answer) for answer in answers] == [2] * len(cases)


def test_places_and_tokens_must_agree():
    x_TE, tokens_NQE = torch.zeros(9, 4), torch.ones(2, 3, 4)
    index_K = torch.tensor([1, 2, 3, 5, 6, 7])
    spliced = splice(x_TE, tokens_NQE * torch.tensor([1.0, 2.0])[:, None, None], index_K)
    assert spliced[:, 0].tolist() == [0, 1, 1, 1, 0, 2, 2, 2, 0]
    with pytest.raises(ValueError, match=r"5 places for image tokens, but .* are 6"):
        splice(x_TE, tokens_NQE, index_K[:5])
    with pytest.raises(ValueError, match="tokens of width 4, the LLM wants 5"):
        splice(torch.zeros(9, 5), tokens_NQE, index_K)
    assert torch.equal(splice(x_TE, tokens_NQE, index_K[:0]), x_TE)


def test_views_may_be_shown_in_several_places():
    x_TE, tokens_NQE = torch.zeros(9, 4), torch.ones(2, 2, 4)
    tokens_NQE *= torch.tensor([[1.0, 2.0], [3.0, 4.0]])[:, :, None]
    index_K, source_K = torch.tensor([0, 1, 3, 4, 6, 7]), torch.tensor([0, 1, 2, 3, 2, 3])
    spliced = splice(x_TE, tokens_NQE, index_K, source_K)
    assert spliced[:, 0].tolist() == [1, 2, 0, 3, 4, 0, 3, 4, 0]
    with pytest.raises(ValueError, match=r"6 places for image tokens, but .* are 4, shown 5 times"):
        splice(x_TE, tokens_NQE, index_K, source_K[:5])


def test_views_shown_twice_are_what_the_same_views_twice_would_be(model, cases, pack):
    """Hidden states, loss and gradients; the encoder is given the views once."""
    objective = AutoregressiveSpec().build()
    shown = cases[2]
    twice = pack([cases[1], shown, shown])
    alone, own = (len(one.pixels_NCHW) for one in (cases[1], shown))
    views, places = alone + own, len(twice.image_token_index_K)
    tokens = places // len(twice.pixels_NCHW)
    source = [*range(views * tokens), *range(alone * tokens, views * tokens)]
    once = attrs.evolve(
        twice,
        pixels_NCHW=twice.pixels_NCHW[:views],
        patch_mask_NP=twice.patch_mask_NP[:views],
        image_token_source_K=torch.tensor(source),
    )
    assert len(source) == places > views * tokens
    torch.testing.assert_close(model.hidden(once), model.hidden(twice), atol=1e-5, rtol=1e-5)
    loss, found = gradients(model, objective, [once])
    reference, wanted = gradients(model, objective, [twice])
    torch.testing.assert_close(loss, reference, atol=1e-4, rtol=1e-5)
    for name, gradient in found.items():
        scale = wanted[name].abs().max().item()
        torch.testing.assert_close(gradient, wanted[name], atol=2e-5 * scale, rtol=0, msg=name)


def test_prompts_are_padded_on_the_left():
    x_BTE, mask_BT = pad_left(torch.arange(1.0, 5.0)[:, None], (1, 3))
    assert x_BTE[..., 0].tolist() == [[0, 0, 1], [2, 3, 4]]
    assert mask_BT.tolist() == [[False, False, True], [True, True, True]]


def test_the_parts_are_named_as_recipes_name_them(model):
    assert isinstance(model, VisionLanguageModel)
    assert {name.split(".")[0] for name, _ in model.named_parameters()} == set(ALL)


def test_a_picture_sampled_as_a_whole_is_one_call_over_its_shown_patches(model, cases, pack):
    """Fixed sampling: pictures of two views and of one, against the sampler on the shown alone."""
    pixels_NCHW = torch.cat([cases[1].pixels_NCHW, cases[2].pixels_NCHW[:1]])
    shown_NP = torch.cat([cases[1].patch_mask_NP, cases[2].patch_mask_NP[:1]])
    ids = torch.arange(3, 2 * 8 + 4)  # the first 16 are placeholders, whatever they are
    batch = attrs.evolve(
        pack([attrs.evolve(cases[3], ids=ids, learned=ids > 18)]),
        pixels_NCHW=pixels_NCHW,
        patch_order_NP=torch.stack([torch.arange(32), torch.arange(32, 64) % 48]),
        patch_mask_NP=torch.stack([shown_NP[:2].flatten(), pad(shown_NP[2], (0, 16))]),
        image_token_index_K=torch.arange(16),
    )
    features_NPD = model.encoder(pixels_NCHW)
    alone = [
        model.token_sampler(features_PD[None][:, shown_P], torch.ones(1, int(shown_P.sum())) > 0)
        for features_PD, shown_P in (
            (features_NPD[:2].flatten(0, 1), shown_NP[:2].flatten()),
            (features_NPD[2], shown_NP[2]),
        )
    ]
    x_TE = torch.cat([*(tokens_1QE[0] for tokens_1QE in alone), model.llm.embed(ids[-1:])])
    torch.testing.assert_close(model.hidden(batch), model.llm(x_TE, batch.layout))
