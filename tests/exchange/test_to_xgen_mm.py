"""A model that was trained here goes out as xGen-MM and comes in again."""

from __future__ import annotations

import json

import pytest
import torch
from safetensors.torch import load_file

import mmcore
from mmcore.exchange import export_model, import_checkpoint, open_stored
from mmcore.interfaces import WeightsError
from mmcore.recipe import load_recipe


@pytest.fixture(scope="module")
def hub(trained, tmp_path_factory):
    """The run as a folder of xGen-MM, and the receipt."""
    out = tmp_path_factory.mktemp("hub") / "xgen"
    return out, export_model(trained, out, "xgen-mm")


@pytest.fixture(scope="module")
def back(hub, tmp_path_factory):
    """The folder imported again, and the receipt."""
    out = tmp_path_factory.mktemp("back") / "model"
    return out, import_checkpoint("xgen-mm", hub[0], out)


def test_the_model_answers_the_same_on_all_sides(hub, back):
    assert hub[1].largest_difference < 1e-5  # other rows in the head: another order of sums
    assert back[1].largest_difference == 0.0


def test_the_folder_has_the_official_names_and_tables(hub, trained):
    tensors = load_file(hub[0] / "model.safetensors")
    prefixes = {".".join(name.split(".")[:2]) for name in tensors}
    assert prefixes == {"vlm.vision_encoder", "vlm.vision_tokenizer", "vlm.lang_model"}
    config = json.loads((hub[0] / "config.json").read_text())
    first = config["text_config"]["initial_tokenizer_len"]
    with open_stored(trained) as stored:
        table = stored.tensors.read("llm.model.embed_tokens.weight")
    prefix = "vlm.lang_model.model.embed_tokens"
    large, small = tensors[f"{prefix}.weight"], tensors[f"{prefix}.additional_embedding.weight"]
    assert torch.equal(large[:first], table[:first])
    assert torch.equal(small, table[first : first + 3])
    # The released layout has a bias; a model without one gets zeros.
    assert not tensors["vlm.lang_model.lm_head.bias"].any()


def test_every_tensor_comes_back(trained, back):
    with open_stored(trained) as before, open_stored(back[0]) as after:
        ids = after.file.model.llm.vocabulary
        new = after.tensors.names() - before.tensors.names()
        assert {name for name in new if "unread" not in name} == {"llm.lm_head.bias"}
        for name in before.tensors.names():
            ours, theirs = before.tensors.read(name), after.tensors.read(name)
            assert torch.equal(ours[:ids] if len(ours) == 768 else ours, theirs), name


def test_the_description_comes_back(trained, back):
    with open_stored(trained) as before, open_stored(back[0]) as after:
        one, other = before.file, after.file
    for part in ("encoder", "token_sampler", "llm"):
        ours, theirs = getattr(one.model, part), getattr(other.model, part)
        for key in ("width", "depth", "layers", "heads", "kv_heads", "head_dim", "queries",
                    "mlp_width", "patch_size", "image_size", "window", "context"):  # fmt: skip
            assert getattr(ours, key, None) == getattr(theirs, key, None), key
    assert other.tiler.grids == one.tiler.grids


def test_what_the_official_code_would_do_otherwise_is_said(hub):
    remarks = "\n".join(hub[1].remarks)
    assert "builds a sampler of 6 layers with 16 heads of 96; this one has 1 with 2 of 8" in remarks
    assert "builds SigLIP so400m at 384 pixels; this encoder has width " in remarks
    # Imported again, it would be told so: that the ids differ is no oversight.
    assert "the official code puts its own system prompt first" in remarks
    assert hub[1].before.ids != hub[1].after.ids
    assert "raster bands; this model was shown true tiles" in remarks


def test_the_tokenizer_has_the_added_tokens_at_their_rows(hub):
    tokenizer = json.loads((hub[0] / "tokenizer.json").read_text())
    ids = {one["content"]: one["id"] for one in tokenizer["added_tokens"]}
    first = json.loads((hub[0] / "config.json").read_text())["text_config"]["initial_tokenizer_len"]
    names = ("<pad>", "<image>", "<image placeholder>", "<|endofchunk|>")
    assert [ids[name] - first for name in names] == [-1, 0, 1, 2]


def test_a_model_that_the_official_code_cannot_hold_is_refused_with_all_reasons(
    home, tmp_path, monkeypatch
):
    monkeypatch.chdir(home)
    changes = [
        'model.token_sampler={use = "mlp"}',
        'model.encoder.positions="sincos"',
    ]
    recipe = load_recipe(home / "little.toml", changes)
    mmcore.run(recipe, root=tmp_path / "runs", max_steps=1)
    with pytest.raises(WeightsError) as caught:
        export_model(tmp_path / "runs" / "little", tmp_path / "out", "xgen-mm")
    assert "token_sampler is 'mlp', wanted 'perceiver'" in str(caught.value)
    assert "the encoder's positions are fixed, wanted a learned table" in str(caught.value)
    assert not (tmp_path / "out").exists()
