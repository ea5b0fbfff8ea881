"""A checkpoint with the released names goes in and out, and comes out as it was."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file

from mmcore.exchange import export_model, import_checkpoint, open_stored

FIRST, ROWS = 372, 384


@pytest.fixture(scope="module")
def imported(released, tmp_path_factory) -> tuple[Path, object]:
    out = tmp_path_factory.mktemp("imported") / "model"
    return out, import_checkpoint("xgen-mm", released, out)


def tensors_of(folder: Path) -> dict[str, torch.Tensor]:
    found: dict[str, torch.Tensor] = {}
    for file in sorted(folder.glob("*.safetensors")):
        found |= load_file(file)
    return found


def test_export_of_an_import_is_the_identity(imported, released, tmp_path):
    receipt = export_model(imported[0], tmp_path / "again", "xgen-mm")
    before, after = tensors_of(released), tensors_of(tmp_path / "again")
    assert after.keys() == before.keys()
    for name, tensor in before.items():
        assert after[name].dtype == tensor.dtype
        assert torch.equal(after[name], tensor), name
    assert receipt.largest_difference == 0.0
    assert receipt.remarks == ()


def test_export_of_an_import_has_the_files_and_shards_of_the_original(imported, released, tmp_path):
    again = tmp_path / "again"
    export_model(imported[0], again, "xgen-mm", probe=False)
    for name in ("config.json", "tokenizer.json"):
        assert (again / name).read_bytes() == (released / name).read_bytes()
    for file in released.glob("*.safetensors"):
        with safe_open(file, "pt") as one, safe_open(again / file.name, "pt") as other:
            assert set(one.keys()) == set(other.keys())
            assert one.metadata() == other.metadata()
    index = "model.safetensors.index.json"
    maps = [json.loads((folder / index).read_text())["weight_map"] for folder in (released, again)]
    assert maps[0] == maps[1]
    assert not list(again.glob("*.py"))


def test_the_model_is_described_by_config_and_shapes(imported):
    with open_stored(imported[0]) as stored:
        model, tiler = stored.file.model, stored.file.tiler
    encoder, sampler, llm = model.encoder, model.token_sampler, model.llm
    assert (encoder.name, encoder.width, encoder.depth, encoder.heads) == ("siglip", 32, 27, 16)
    assert (encoder.mlp_width, encoder.patch_size, encoder.image_size) == (40, 4, 16)
    assert (sampler.queries, sampler.depth, sampler.heads, sampler.head_dim) == (8, 6, 16, 3)
    assert (llm.width, llm.layers, llm.heads, llm.kv_heads, llm.mlp_width) == (64, 32, 32, 32, 48)
    assert (llm.vocabulary, llm.head_bias, llm.window, llm.context) == (375, True, 2047, 4096)
    assert llm.system_prompt.startswith("A chat between a curious user")
    assert tiler.merge == "raster-bands"
    assert tiler.grids == ((1, 2), (2, 1), (2, 2), (3, 1), (1, 3))


def test_added_rows_follow_the_others_and_the_unread_ones_are_kept(imported, state):
    with open_stored(imported[0]) as stored:
        table = stored.tensors.read("llm.model.embed_tokens.weight")
        unread = stored.tensors.read("llm.unread.model.embed_tokens.weight")
        bias = stored.tensors.read("llm.lm_head.bias")
    large = state["lang_model.model.embed_tokens.weight"]
    small = state["lang_model.model.embed_tokens.additional_embedding.weight"]
    assert torch.equal(table[:FIRST], large[:FIRST])
    assert torch.equal(table[FIRST:], small)
    assert torch.equal(unread, large[FIRST:])
    assert bias[FIRST:].tolist() == state["lang_model.lm_head.additional_fc.bias"].tolist()


def test_the_receipt_accounts_for_every_tensor(imported, released):
    table = json.loads((imported[0] / "receipt.json").read_text())
    sources = {one["name"]: one for move in table["tensors"] for one in move["from"]}
    assert sources.keys() == tensors_of(released).keys()
    results = [one["name"] for move in table["tensors"] for one in move["to"]]
    with open_stored(imported[0]) as stored:
        assert set(results) == stored.tensors.names()
    assert len(results) == len(set(results))
    fixed = table["fixed_inputs"]
    assert fixed["largest_difference"] == 0.0
    assert fixed["before"] == fixed["after"]
    assert fixed["before"]["vocabulary"] == 375


def test_the_summary_counts_parts(imported):
    lines = "\n".join(imported[1].summary())
    assert "encoder        342 tensors loaded, 0 new, 0 of them kept aside" in lines
    assert "3 of them kept aside" in lines
    assert "token ids the same" in lines
