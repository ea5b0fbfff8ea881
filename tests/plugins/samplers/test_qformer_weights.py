"""Which tensors of which checkpoint fill a Q-Former, and which do not fit."""

from __future__ import annotations

import attrs
import pytest
import torch
from safetensors.torch import save_file

from mmcore.interfaces import WeightsError
from mmcore_samplers.qformer_spec import QFormerSpec

D, E = 24, 40
SPEC = QFormerSpec().tiny()
HEADS = {"language_projection", "temperature", "caption"}


def built(spec=SPEC, dim_in=D, dim_out=E):
    torch.manual_seed(0)
    return spec.build(dim_in=dim_in, dim_out=dim_out, attention="sdpa")


def published(spec=SPEC, **sizes):
    """A made-up checkpoint, other than what ``built`` gives."""
    module = built(spec, **sizes)
    state = {name: torch.randn_like(one) for name, one in module.named_parameters()}
    renamed = {
        name: correspondence.theirs[0]
        for correspondence in spec.published(list(state))
        for name in correspondence.ours
    }
    return {renamed[name]: one for name, one in state.items()}


def filled(state, folder, spec=SPEC, **sizes):
    save_file(state, folder / "model.safetensors")
    module = built(spec, **sizes)
    return module, attrs.evolve(spec, weights=str(folder)).load(module)


def kept(module, report, spec=SPEC):
    """Whether exactly what the report calls new has its initial values."""
    before = dict(built(spec).named_parameters())
    same = {n for n, one in module.named_parameters() if torch.equal(one, before[n])}
    return same == set(report.new)


def tops(names):
    return {name.partition(".")[0] for name in names}


def test_a_checkpoint_for_pictures_and_texts(tmp_path):
    state = {name: one for name, one in published().items() if name.partition(".")[0] not in HEADS}
    assert "query_tokens" in state
    state["vision_model.encoder.layers.0.weight"] = torch.zeros(2)
    module, report = filled(state, tmp_path)
    assert tops(report.new) == HEADS
    assert kept(module, report)
    assert report.unused == ("vision_model.encoder.layers.0.weight",)


def test_a_checkpoint_for_generation_has_no_text_tower(tmp_path):
    without = attrs.evolve(SPEC, text_tower=False)
    state = published(without) | {"language_model.lm_head.weight": torch.zeros(2)}
    module, report = filled(state, tmp_path)
    text = SPEC.unused([name for name, _ in module.named_parameters()], frozenset({"tokens"}))
    assert set(report.new) == text
    assert kept(module, report)
    assert torch.equal(module.language_projection.weight, state["language_projection.weight"])


def test_the_projection_to_another_llm_is_left_out(tmp_path):
    module, report = filled(published(dim_out=E + 1), tmp_path)
    assert tops(report.new) == {"language_projection"} == tops(report.unused)
    assert kept(module, report)


def test_a_text_tower_that_is_not_wanted_is_left_out(tmp_path):
    without = attrs.evolve(SPEC, text_tower=False)
    _, report = filled(published(), tmp_path, without)
    assert not report.new
    names = [name for name, _ in built().named_parameters()]
    assert set(report.unused) == SPEC.unused(names, frozenset({"tokens"}))


def test_own_names(tmp_path):
    state = {n: torch.randn_like(one) for n, one in built().named_parameters()}
    module, report = filled(state, tmp_path)
    assert not report.new
    assert not report.unused
    assert all(torch.equal(one, state[name]) for name, one in module.named_parameters())


def test_another_encoder_is_named(tmp_path):
    with pytest.raises(WeightsError, match=r"behind an encoder of width 1408 .* has width 24"):
        filled(published(dim_in=1408), tmp_path)


@pytest.mark.parametrize(
    "missing",
    [
        "query_tokens",
        "qformer.layernorm.bias",
        "qformer.encoder.layer.1.output_query.dense.weight",
        "qformer.encoder.layer.1.output.dense.weight",
        "embeddings.position_embeddings.weight",
        "itm_head.bias",
        "text_projection.weight",
        "language_projection.bias",
        "caption.norm.weight",
    ],
)
def test_no_part_may_be_there_by_half(tmp_path, missing):
    state = published()
    del state[missing]
    named = "query_tokens.weight" if missing == "query_tokens" else missing
    with pytest.raises(WeightsError, match=f"missing: .*{named.split('.')[-2]}"):
        filled(state, tmp_path)


def test_what_has_no_place_or_another_shape_is_named(tmp_path):
    state = published()
    state["qformer.encoder.layer.7.attention.output.dense.bias"] = torch.zeros(2)
    with pytest.raises(WeightsError, match=r"no place for: qformer\.encoder\.layer\.7"):
        filled(state, tmp_path)
    with pytest.raises(WeightsError, match="query_tokens with shape"):
        filled(published(attrs.evolve(SPEC, queries=5)), tmp_path)
