"""The 128k variants: LongRoPE against transformers' own, below and above the first context."""

from __future__ import annotations

import json

import attrs
import pytest
import torch
from transformers import Phi3ForCausalLM

from mmcore.testing import check_llm
from mmcore_phi3.spec import Phi3Spec

SHORT = (1.0, 1.1, 1.3, 1.7, 2.0, 2.5, 3.0, 4.0)
LONG = (1.5, 2.0, 3.0, 5.0, 8.0, 13.0, 21.0, 34.0)


@pytest.fixture
def phi3():
    spec = attrs.evolve(
        Phi3Spec(variant="mini-128k-instruct").tiny(),
        original_context=8,
        short_factors=SHORT,
        long_factors=LONG,
    )
    torch.manual_seed(0)
    module = spec.build(attention="sdpa").eval()
    for parameter in module.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    return module


@pytest.fixture
def theirs(phi3):
    config = type(phi3.model.config)(**phi3.model.config.to_dict())
    config._attn_implementation = "eager"
    model = Phi3ForCausalLM(config).eval()
    model.load_state_dict(phi3.state_dict(), strict=True)
    return model


TOKENS = torch.randint(0, 700, (37,), generator=torch.Generator().manual_seed(3))


def test_published_numbers():
    mini, medium = (Phi3Spec(variant=f"{name}-128k-instruct") for name in ("mini", "medium"))
    assert (mini.context, mini.original_context, mini.window) == (131072, 4096, 262144)
    assert (medium.context, medium.original_context, medium.window) == (131072, 4096, 131072)
    assert (len(mini.long_factors), len(medium.short_factors)) == (48, 64)
    assert set(mini.long_factors + medium.short_factors) == {1.0}, "random weights"
    assert not Phi3Spec(context=8192).stretched, "a 4k model is asked for more, not stretched"
    for small in (mini, medium):
        wide = attrs.evolve(small, **dict.fromkeys(("short_factors", "long_factors"), ()))
        four = Phi3Spec(variant=small.variant.replace("128k", "4k"))
        for key in ("width", "layers", "heads", "kv_heads", "mlp_width"):
            assert getattr(wide, key) == getattr(four, key), key
        assert (four.context, four.window, four.long_factors) == (4096, 2047, ())


def test_contract():
    check_llm(Phi3Spec(variant="mini-128k-instruct"))


def test_sequences_of_a_pack_turn_by_their_own_length(phi3, theirs, layout_of):
    lengths = (5, 8, 9, 15)  # up to the first context, and above it
    with torch.no_grad():
        logits_TV = phi3.head(phi3(phi3.embed(TOKENS), layout_of(*lengths)))
        for got, ids in zip(logits_TV.split(lengths), TOKENS.split(lengths), strict=True):
            want = theirs(input_ids=ids[None], use_cache=False).logits[0]
            torch.testing.assert_close(got, want, atol=2e-5, rtol=1e-5)


def test_an_answer_that_outgrows_the_first_context_is_computed_anew(phi3, theirs):
    x_BTE, mask_BT = torch.full((2, 7, 64), 371.0), torch.zeros(2, 7, dtype=torch.bool)
    prompts = TOKENS[:3], TOKENS[3:10]
    for row, ids in enumerate(prompts):
        x_BTE[row, 7 - len(ids) :], mask_BT[row, 7 - len(ids) :] = phi3.embed(ids).detach(), True
    answers = phi3.generate(x_BTE, mask_BT, max_new_tokens=9, stop_ids=())
    for ids, answer in zip(prompts, answers, strict=True):
        known = ids.tolist()
        for _ in range(9):
            with torch.no_grad():
                logits = theirs(input_ids=torch.tensor([known]), use_cache=False).logits
            known.append(int(logits[0, -1].argmax()))
        assert list(answer) == known[len(ids) :]


def test_factors_are_those_of_the_weights(tmp_path):
    numbers = [float(n) for n in range(1, 49)]
    scaling = {"type": "su", "short_factor": [1.0] * 48, "long_factor": numbers}
    (tmp_path / "config.json").write_text(json.dumps({"rope_scaling": scaling}))
    spec = Phi3Spec(variant="mini-128k-instruct", weights=str(tmp_path), tokenizer="unused")
    assert spec.long_factors == tuple(numbers)
    assert spec.thin().long_factors == spec.long_factors
    (tmp_path / "config.json").write_text("{}")
    problems = list(Phi3Spec(variant="mini-128k-instruct", weights=str(tmp_path)).problems())
    assert any("no list of numbers long_factor" in one.message for one in problems)


def test_factors_of_another_width_are_a_fault():
    spec = Phi3Spec(variant="mini-128k-instruct", long_factors=(1.0,))
    (problem,) = spec.problems()
    assert (problem.key, problem.message) == (
        "long_factors",
        "are 1, wanted half a head's width, which is 48",
    )
