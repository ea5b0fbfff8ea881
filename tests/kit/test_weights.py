"""Weight files are found, opened and copied whole, or refused with the names that do not fit."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from mmcore.interfaces import WeightsError
from mmcore.kit.weights import (
    Source,
    fill,
    locate,
    locate_file,
    open_tensors,
    shard_of_tensors,
)

SOURCES = {"weight": Source(("a", "b"), torch.cat), "bias": Source(("c",))}


@pytest.fixture
def tensors() -> dict[str, torch.Tensor]:
    return {"a": torch.ones(1, 3), "b": torch.full((1, 3), 2.0), "c": torch.tensor([3.0, 4.0])}


def filled(folder: Path, **how: object) -> tuple[nn.Module, object]:
    module = nn.Linear(3, 2, dtype=torch.float64)
    with open_tensors(str(folder)) as opened:
        return module, fill(module, opened, SOURCES, **how)


def test_tensors_are_joined_and_the_parameter_keeps_its_dtype(tmp_path, tensors):
    save_file(tensors, tmp_path / "model.safetensors")
    module, report = filled(tmp_path)
    assert module.weight.tolist() == [[1, 1, 1], [2, 2, 2]]
    assert module.bias.tolist() == [3, 4]
    assert module.weight.dtype == torch.float64
    assert report.loaded == ("weight", "bias")
    assert report.origin == str(tmp_path)


def test_shards_are_found_through_the_index(tmp_path, tensors):
    save_file({"a": tensors["a"]}, tmp_path / "one.safetensors")
    save_file({name: tensors[name] for name in "bc"}, tmp_path / "two.safetensors")
    save_file({"z": torch.zeros(1)}, tmp_path / "not-in-the-index.safetensors")
    weight_map = {"a": "one.safetensors", "b": "two.safetensors", "c": "two.safetensors"}
    index = tmp_path / "model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": weight_map}))
    module, _ = filled(tmp_path)
    assert module.bias.tolist() == [3, 4]
    (tmp_path / "two.safetensors").unlink()
    with pytest.raises(WeightsError, match=r"lacks two\.safetensors, which its index names"):
        filled(tmp_path)


def test_names_that_do_not_fit_are_told(tmp_path, tensors):
    del tensors["b"]
    save_file(tensors | {"stray": torch.zeros(1)}, tmp_path / "model.safetensors")
    with pytest.raises(WeightsError, match=r"missing: b\n  no place for: stray"):
        filled(tmp_path)


def test_unused_names_must_be_declared(tmp_path, tensors):
    save_file(tensors | {"stray": torch.zeros(1)}, tmp_path / "model.safetensors")
    _, report = filled(tmp_path, unused=["stray", "absent"])
    assert report.unused == ("stray",)


def test_other_shapes_are_refused_with_both(tmp_path, tensors):
    save_file(tensors | {"c": torch.zeros(3)}, tmp_path / "model.safetensors")
    with pytest.raises(WeightsError, match=r"c with shape \[3\], bias wants \[2\]"):
        filled(tmp_path)


def test_a_broken_file_is_named(tmp_path):
    (tmp_path / "model.safetensors").write_bytes(b"nothing of the kind")
    with pytest.raises(WeightsError, match=r"model\.safetensors' cannot be read"):
        filled(tmp_path)


def test_what_is_not_there_is_said(tmp_path, monkeypatch):
    with pytest.raises(WeightsError, match="no folder"):
        locate(str(tmp_path / "nowhere"))
    with pytest.raises(WeightsError, match=r"has no \*\.safetensors file"):
        filled(tmp_path)
    with pytest.raises(WeightsError, match=r"has no file 'tokenizer\.json'"):
        locate_file(str(tmp_path), "tokenizer.json")
    with pytest.raises(WeightsError, match="is no hub id"):
        locate("hf://a/b/c")


def test_hub_ids_are_looked_up_in_the_cache_only(tmp_path, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(WeightsError, match=r"is not in .*`mmcore fetch RECIPE`"):
        locate("hf://somebody/model")
    snapshot = tmp_path / "models--somebody--model" / "snapshots" / "0123"
    snapshot.mkdir(parents=True)
    (snapshot / "config.json").write_text("{}")
    refs = tmp_path / "models--somebody--model" / "refs"
    refs.mkdir()
    (refs / "main").write_text("0123")
    assert locate("hf://somebody/model") == snapshot
    assert locate_file("hf://somebody/model", "config.json") == snapshot / "config.json"


@pytest.mark.parametrize(
    "name", ["../evil.safetensors", "/tmp/evil.safetensors", "a/b.safetensors"]
)
def test_an_index_may_name_only_files_beside_it(tmp_path, name):
    index = tmp_path / "model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": {"a": name, "b": "fine.safetensors"}}))
    with pytest.raises(WeightsError, match=f"names '{name}', wanted files beside it"):
        shard_of_tensors(index)


@pytest.mark.parametrize("text", ["{", "[]", "{}", '{"weight_map": 3}'])
def test_an_index_that_is_none_is_named(tmp_path, text):
    index = tmp_path / "model.safetensors.index.json"
    index.write_text(text)
    with pytest.raises(WeightsError, match=r"index\.json' is no index of shards"):
        shard_of_tensors(index)
