"""The Q-Former's text tower against transformers' Blip2ForImageTextRetrieval, from one state dict,
and its captions against every beginning of a text by itself."""

from __future__ import annotations

import attrs
import pytest
import torch
from safetensors.torch import save_file
from torch.nn.functional import gelu, layer_norm
from transformers import Blip2Config, Blip2ForImageTextRetrieval

from mmcore_samplers.qformer_names import purpose
from mmcore_samplers.qformer_spec import QFormerSpec

B, P, D, E = 5, 17, 24, 12
LENGTHS = [7, 3, 9, 4, 2]
SPEC = QFormerSpec(
    queries=6,
    width=32,
    layers=3,
    heads=4,
    mlp_width=48,
    compare_width=20,
    vocabulary_size=120,
)


@pytest.fixture(scope="module")
def theirs():
    """BLIP-2's model for pictures and texts, small, with values that nothing is small against."""
    torch.manual_seed(0)
    config = Blip2Config(
        vision_config={
            "hidden_size": D,
            "intermediate_size": 32,
            "num_hidden_layers": 1,
            "num_attention_heads": 2,
            "image_size": 16,
            "patch_size": 4,
        },
        qformer_config={
            "vocab_size": 120,
            "hidden_size": 32,
            "num_hidden_layers": 3,
            "num_attention_heads": 4,
            "intermediate_size": 48,
            "encoder_hidden_size": D,
            "use_qformer_text_input": True,
        },
        num_query_tokens=6,
        image_text_hidden_size=20,
    )
    model = Blip2ForImageTextRetrieval(config).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.2)
    return model


@pytest.fixture(scope="module")
def folder(theirs, tmp_path_factory):
    folder = tmp_path_factory.mktemp("itm")
    save_file(theirs.state_dict(), folder / "model.safetensors")
    return folder


@pytest.fixture(scope="module")
def ours(folder):
    spec = attrs.evolve(SPEC, weights=str(folder))
    module = spec.build(dim_in=D, dim_out=E, attention="sdpa")
    report = spec.load(module)
    new = {name for name, _ in module.named_parameters() if name in report.new}
    assert {name.partition(".")[0] for name in new} == {
        "language_projection",
        "temperature",
        "caption",
    }
    assert all(name.startswith("vision_model.") for name in report.unused)
    with torch.no_grad():
        for name, parameter in module.named_parameters():
            if purpose(name) == "caption":
                parameter.add_(torch.randn_like(parameter) * 0.2)
    return module


@pytest.fixture(scope="module")
def pairs():
    torch.manual_seed(1)
    pixels = torch.randn(B, 3, 16, 16)
    mask_BW = torch.arange(max(LENGTHS)) < torch.tensor(LENGTHS)[:, None]
    ids_BW = torch.randint(5, 119, mask_BW.shape) * mask_BW
    return pixels, ids_BW, mask_BW


def provided(ours, theirs, pairs, wanted):
    pixels, ids_BW, mask_BW = pairs
    features_NPD = theirs.vision_model(pixel_values=pixels)[0]
    shown_NP = torch.ones(features_NPD.shape[:2], dtype=torch.bool)
    return ours.provide(wanted, features_NPD, shown_NP, torch.arange(B), ids_BW, mask_BW)


@torch.no_grad()
def test_likeness_is_theirs(ours, theirs, pairs):
    pixels, ids_BW, mask_BW = pairs
    want = theirs(pixel_values=pixels, input_ids=ids_BW, attention_mask=mask_BW.long())
    picture_BQX, text_BX = provided(ours, theirs, pairs, "contrast")
    likeness_BB = torch.einsum("iqx,jx->iqj", picture_BQX, text_BX).amax(1) * 0.07
    assert likeness_BB.shape == (B, B)
    torch.testing.assert_close(likeness_BB, want.logits_per_image, rtol=0, atol=1e-5)
    assert likeness_BB.std() > 0.01


@torch.no_grad()
def test_matching_is_theirs(ours, theirs, pairs):
    pixels, ids_BW, mask_BW = pairs
    want = theirs(
        pixel_values=pixels,
        input_ids=ids_BW,
        attention_mask=mask_BW.long(),
        use_image_text_matching_head=True,
    )
    [logits_B2] = provided(ours, theirs, pairs, "match")
    torch.testing.assert_close(logits_B2, want.logits_per_image, rtol=0, atol=1e-5)
    assert logits_B2.std() > 0.01


@torch.no_grad()
def test_captions_are_those_of_every_beginning_by_itself(ours, theirs, pairs):
    """Without any mask over words: the queries first, then words one by one, each of which is
    worked out anew from all that it sees."""
    pixels, ids_BW, _ = pairs
    nll_BW, spread_BW = provided(ours, theirs, pairs, "caption")
    features_NPD = theirs.vision_model(pixel_values=pixels)[0]
    for row, length in enumerate(LENGTHS):
        ids = [SPEC.vocabulary_size - 1, *ids_BW[row, 1:length].tolist()]
        nll_LV = told(ours, features_NPD[row], ids)
        nll, spread = torch.zeros(2, max(LENGTHS))
        nll[1:length] = nll_LV[range(length - 1), ids[1:]]
        spread[1:length] = nll_LV.mean(-1)
        torch.testing.assert_close(nll_BW[row], nll, rtol=0, atol=1e-5)
        torch.testing.assert_close(spread_BW[row], spread, rtol=0, atol=1e-5)


def told(module, features_PD, ids):
    """``nll_LV``: of every word in every place but the first, from plain matrix products."""
    w = dict(module.named_parameters())

    def normed(x, name):
        return layer_norm(x, x.shape[-1:], w[f"{name}.weight"], w[f"{name}.bias"], 1e-12)

    def linear(x, name):
        return x @ w[f"{name}.weight"].T + w[f"{name}.bias"]

    def attend(x, keys, name):
        q = linear(x, f"{name}.attention.query").unflatten(-1, (4, 8))
        k, v = (linear(keys, f"{name}.attention.{one}").unflatten(-1, (4, 8)) for one in KV)
        share = (torch.einsum("ihm,jhm->hij", q, k) / 8**0.5).softmax(-1)
        out = torch.einsum("hij,jhm->ihm", share, v).flatten(1)
        return normed(linear(out, f"{name}.output.dense") + x, f"{name}.output.LayerNorm")

    def think(x, name, kind):
        inner = gelu(linear(x, f"{name}.intermediate{kind}.dense"))
        out = linear(inner, f"{name}.output{kind}.dense") + x
        return normed(out, f"{name}.output{kind}.LayerNorm")

    words = w["embeddings.word_embeddings.weight"]
    queries = normed(w["query_tokens.weight"][0], "qformer.layernorm")
    said = words[ids] + w["embeddings.position_embeddings.weight"][: len(ids)]
    said = normed(said, "qformer.layernorm")
    for number in range(SPEC.layers):
        layer = f"qformer.encoder.layer.{number}"
        seen = [torch.cat([queries, said[: place + 1]]) for place in range(len(ids))]
        heard = [
            attend(said[place : place + 1], seen[place], f"{layer}.attention")
            for place in range(len(ids))
        ]
        queries = attend(queries, queries, f"{layer}.attention")
        if number % 2 == 0:
            queries = attend(queries, features_PD, f"{layer}.crossattention")
        queries = think(queries, layer, "_query")
        said = think(torch.cat(heard), layer, "")
    said = normed(gelu(linear(said, "caption.dense")), "caption.norm")
    scores = said @ words.T + w["caption.bias"]
    return -scores.log_softmax(-1)[:-1]


KV = ("key", "value")


@torch.no_grad()
def test_who_sees_whom_while_a_picture_is_told(ours, pairs):
    """A word that is changed changes only the log likelihoods of itself and of words behind it;
    what is hidden changes nothing, and the picture changes all."""
    _, ids_BW, _ = pairs
    torch.manual_seed(2)
    features, shown = torch.randn(1, P, D), torch.ones(1, P, dtype=torch.bool)
    ids, mask = ids_BW[2:3].clone(), torch.ones(1, 9, dtype=torch.bool)
    mask[:, 7:] = False
    view = torch.zeros(1, dtype=torch.long)

    def nll(features=features, ids=ids):
        return ours.provide("caption", features, shown, view, ids, mask)[0][0]

    before = nll()
    for place in range(9):
        other = ids.clone()
        other[0, place] = 5 if ids[0, place] != 5 else 6
        moved = (nll(ids=other) - before).abs() > 1e-6
        # The first word is replaced by the one that begins captions, and nobody says it.
        want = [place > 0 and place <= later < 7 for later in range(9)]
        assert moved.tolist() == want, place
    moved = (nll(features=features + torch.randn(1, P, D)) - before).abs() > 1e-6
    assert moved.tolist() == [False] + [True] * 6 + [False] * 2


@torch.no_grad()
def test_a_pair_does_not_depend_on_the_others(ours, theirs, pairs):
    """Nor on what it is filled up with, nor on which place its view has."""
    pixels, ids_BW, mask_BW = pairs
    features_NPD = theirs.vision_model(pixel_values=pixels)[0]
    shown_NP = torch.rand(features_NPD.shape[:2]) > 0.3
    view_B = torch.tensor([3, 0, 3, 1])
    for wanted in ("contrast", "match", "caption"):
        together = ours.provide(wanted, features_NPD, shown_NP, view_B, ids_BW[1:], mask_BW[1:])
        for row, view in enumerate(view_B.tolist()):
            length = LENGTHS[1 + row]
            alone = ours.provide(
                wanted,
                features_NPD[view : view + 1],
                shown_NP[view : view + 1],
                torch.zeros(1, dtype=torch.long),
                ids_BW[1 + row : 2 + row, :length],
                mask_BW[1 + row : 2 + row, :length],
            )
            for many, one in zip(together, alone, strict=True):
                same = many[row][:length] if wanted == "caption" else many[row]
                torch.testing.assert_close(same, one[0], rtol=0, atol=2e-5)
