"""The decoder against transformers' own, packed and one by one; its head, loss and generation."""

from __future__ import annotations

import copy

import attrs
import pytest
import torch
from safetensors.torch import save_file
from transformers import Phi3ForCausalLM

from mmcore.interfaces import WeightsError
from mmcore_phi3.spec import Phi3Spec

LENGTHS = (4, 11, 1, 9)


@pytest.fixture
def theirs(phi3):
    config = copy.deepcopy(phi3.model.config)
    config._attn_implementation = "eager"
    model = Phi3ForCausalLM(config).eval()
    model.load_state_dict(phi3.state_dict(), strict=True)
    return model


@pytest.fixture
def tokens():
    return torch.randint(0, 700, (sum(LENGTHS),), generator=torch.Generator().manual_seed(3))


@pytest.mark.parametrize(
    ("variant", "parameters"),
    [("mini-4k-instruct", 3_821_079_552), ("medium-4k-instruct", 13_960_238_080)],
)
def test_size_of_the_published_models(variant, parameters):
    with torch.device("meta"):
        module = Phi3Spec(variant=variant, weights="hf://some/where").build(attention="sdpa")
    assert sum(one.numel() for one in module.parameters()) == parameters


def test_packed_hidden_states_are_those_of_transformers_one_by_one(phi3, theirs, tokens, layout_of):
    h_TE = phi3(phi3.embed(tokens), layout_of(*LENGTHS))
    for got, ids in zip(h_TE.split(LENGTHS), tokens.split(LENGTHS), strict=True):
        want = theirs.model(input_ids=ids[None], use_cache=False).last_hidden_state[0]
        torch.testing.assert_close(got, want, atol=1e-5, rtol=1e-5)


def test_the_window_is_felt(spec, phi3, tokens, layout_of):
    wide = attrs.evolve(spec, window=100).build(attention="sdpa")
    wide.load_state_dict(phi3.state_dict())
    layout = layout_of(*LENGTHS)
    narrow_T = phi3(phi3.embed(tokens), layout).split(LENGTHS)[1]
    wide_T = wide(wide.embed(tokens), layout).split(LENGTHS)[1]
    same = (narrow_T - wide_T).abs().amax(-1) < 1e-5
    assert same.tolist() == [True] * 6 + [False] * 5


@pytest.mark.parametrize("recompute", [False, True])
def test_loss_and_gradients_are_those_of_transformers(
    recompute, spec, phi3, theirs, tokens, layout_of
):
    mine = attrs.evolve(spec, recompute=recompute, head_rows=3).build(attention="sdpa")
    mine.load_state_dict(phi3.state_dict())
    mine.train()
    h_TE = mine(mine.embed(tokens[:15]), layout_of(4, 11))
    places = torch.tensor([0, 1, 2, *range(4, 14)])
    mine.head(h_TE[places], tokens[places + 1]).sum().backward()
    for ids in tokens[:15].split((4, 11)):
        logits = theirs(input_ids=ids[None], use_cache=False).logits[0, :-1]
        torch.nn.functional.cross_entropy(logits, ids[1:], reduction="sum").backward()
    for name, parameter in theirs.named_parameters():
        got = mine.get_parameter(name).grad
        scale = parameter.grad.abs().max().item()
        torch.testing.assert_close(got, parameter.grad, atol=1e-5 * scale, rtol=1e-5, msg=name)


def test_head_makes_logits_of_few_rows_at_once(phi3, monkeypatch):
    import mmcore.kit.lm_head as head

    rows: list[int] = []
    linear = head.linear
    monkeypatch.setattr(head, "linear", lambda h, *rest: (rows.append(len(h)), linear(h, *rest))[1])
    phi3.lm_head.rows = 4
    h_LE, targets_L = torch.randn(10, 64, requires_grad=True), torch.arange(10)
    nll_L = phi3.head(h_LE, targets_L)
    assert (rows, nll_L.shape, nll_L.dtype) == ([4, 4, 2], (10,), torch.float32)
    nll_L.sum().backward()
    assert sorted(rows) == [2, 2, 4, 4, 4, 4], "made again in the backward pass"
    whole = torch.nn.functional.cross_entropy(phi3.head(h_LE), targets_L, reduction="none")
    torch.testing.assert_close(nll_L, whole, atol=1e-5, rtol=1e-5)


def test_log_likelihoods_are_float32_under_bfloat16(phi3):
    module = phi3.to(torch.bfloat16)
    assert module.head(torch.randn(3, 64).bfloat16(), torch.arange(3)).dtype == torch.float32


def prompts_of(phi3, tokens):
    """Two prompts, padded on the left with something that must not matter."""
    x_BTE = torch.full((2, 11, 64), 371.0)
    mask_BT = torch.zeros(2, 11, dtype=torch.bool)
    x_BTE[0, 7:], mask_BT[0, 7:] = phi3.embed(tokens[:4]).detach(), True
    x_BTE[1], mask_BT[1] = phi3.embed(tokens[4:15]).detach(), True
    return x_BTE, mask_BT


def greedy(theirs, ids, steps):
    ids = ids.tolist()
    new = []
    for _ in range(steps):
        logits = theirs(input_ids=torch.tensor([ids + new]), use_cache=False).logits
        new.append(int(logits[0, -1].argmax()))
    return new


def test_generation_beyond_the_window_is_the_slow_one_of_transformers(phi3, theirs, tokens):
    answers = phi3.eval().generate(*prompts_of(phi3, tokens), max_new_tokens=12, stop_ids=())
    assert answers == [greedy(theirs, tokens[:4], 12), greedy(theirs, tokens[4:15], 12)]


def test_generation_stops_at_a_stop_id_and_leaves_it_out(phi3, theirs, tokens):
    slow = [greedy(theirs, ids, 8) for ids in (tokens[:4], tokens[4:15])]
    stop = slow[0][3]
    cut = [row[: row.index(stop)] if stop in row else row for row in slow]
    prompts = prompts_of(phi3, tokens)
    phi3.eval()
    assert phi3.generate(*prompts, max_new_tokens=8, stop_ids={stop}) == cut
    assert phi3.generate(*prompts, max_new_tokens=0, stop_ids={stop}) == [[], []]


def test_sampling_draws_from_the_nucleus(phi3, tokens):
    prompts = prompts_of(phi3, tokens)
    phi3.eval()
    likeliest = phi3.generate(*prompts, max_new_tokens=6, stop_ids=())
    narrow = phi3.generate(*prompts, max_new_tokens=6, stop_ids=(), temperature=1.0, top_p=1e-6)
    assert narrow == likeliest
    torch.manual_seed(0)
    drawn = {
        tuple(phi3.generate(*prompts, max_new_tokens=2, stop_ids=(), temperature=3.0)[0])
        for _ in range(5)
    }
    assert len(drawn) > 1


def test_weights_of_transformers_fill_every_parameter(spec, phi3, theirs, tmp_path):
    theirs.save_pretrained(tmp_path)
    filled = attrs.evolve(spec, weights=str(tmp_path), tokenizer="unused")
    module = filled.build(attention="sdpa")
    report = filled.load(module)
    assert set(report.loaded) == set(phi3.state_dict())
    for name, parameter in module.named_parameters():
        assert torch.equal(parameter, phi3.get_parameter(name)), name


def test_weights_of_another_size_are_refused(spec, phi3, tmp_path):
    save_file(phi3.state_dict(), tmp_path / "model.safetensors")
    other = attrs.evolve(spec, weights=str(tmp_path), mlp_width=96)
    with pytest.raises(WeightsError, match=r"gate_up_proj.weight with shape \[256, 64\]"):
        other.load(other.build(attention="sdpa"))


def test_random_weights_have_the_models_deviation(spec):
    module = spec.build(attention="sdpa")
    matrix = "model.layers.1.mlp.down_proj.weight"
    for name in ("model.embed_tokens.weight", "lm_head.weight", matrix):
        assert module.get_parameter(name).std().item() == pytest.approx(0.02, rel=0.1), name
    assert spec.load(module) is None


def test_a_call_without_layout_or_mask_is_refused(phi3):
    with pytest.raises(ValueError, match="neither a packed layout nor an attention mask"):
        phi3.model(inputs_embeds=torch.zeros(1, 2, 64), use_cache=False)


def test_faults_of_a_recipe_are_seen_before_building(tmp_path):
    spec = Phi3Spec(heads=7, kv_heads=3, weights=str(tmp_path / "nowhere"))
    assert [problem.key for problem in spec.problems()] == ["heads", "kv_heads", "weights"]
    assert list(Phi3Spec().problems()) == []
    assert list(Phi3Spec().tiny().problems()) == []
