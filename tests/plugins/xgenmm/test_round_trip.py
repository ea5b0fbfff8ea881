"""A checkpoint with the released names goes in and out, and comes out as it was."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path

import pytest
import tomli_w
import torch
from click.testing import CliRunner
from PIL import Image
from safetensors import safe_open
from safetensors.torch import load_file

from mmcore.assemble import build_model
from mmcore.cli.main import main
from mmcore.exchange import export_model, import_checkpoint, open_stored
from mmcore.recipe import load_recipe

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


def test_a_recipe_goes_on_from_the_imported_parts(imported, tmp_path):
    """The tables of model.toml are those of a recipe, the paths made whole."""
    text = (imported[0] / "model.toml").read_text()
    tables = {key: tomllib.loads(text)[key] for key in ("model", "tiler")}
    for part in ("encoder", "token_sampler", "llm"):
        assert tables["model"][part]["weights"] == f"./{part}"
        tables["model"][part]["weights"] = str(imported[0] / part)
    stage = {
        "name": "only",
        "train": ["token_sampler"],
        "steps": 1,
        "tiler": tables["tiler"],
        "objectives": [{"use": "autoregressive"}],
        "batch": {"max_tokens": 512, "max_views": 16, "packs_per_step": 1},
        "optimizer": {"use": "adamw", "lr": 1e-3},
        "data": [{"use": "llava-json", "path": "data/*.json"}],
    }
    recipe = {"name": "on", "model": tables["model"], "engine": {"use": "torch"}, "stages": [stage]}
    (tmp_path / "on.toml").write_text(tomli_w.dumps(recipe | {"data": {"lanes": 1}}))
    model, reports = build_model(load_recipe(tmp_path / "on.toml"), torch.device("cpu"))
    with open_stored(imported[0]) as stored:
        parameters = dict(model.named_parameters())
        assert parameters.keys() == stored.tensors.names() - stored.aside
        for name, parameter in parameters.items():
            assert torch.equal(parameter, stored.tensors.read(name)), name
    assert {part: report.unused for part, report in reports.items()} == dict.fromkeys(reports, ())


def test_generate_takes_the_imported_folder(imported, tmp_path):
    Image.new("RGB", (20, 9), "navy").save(tmp_path / "a.png")
    words = [str(imported[0]), "What is it?", "--image", str(tmp_path / "a.png")]
    result = CliRunner().invoke(main, ["generate", *words, "--max-new-tokens", "4"])
    assert result.exit_code == 0, result.output
    assert result.output.strip()
