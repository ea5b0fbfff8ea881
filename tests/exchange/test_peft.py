"""Adapters go out alone, in peft's own files, and do beside their base what they did before."""

from __future__ import annotations

import json

import pytest
import torch
from peft import LoraConfig, PeftModel, get_peft_model, get_peft_model_state_dict
from safetensors.torch import load_file
from torch import nn
from transformers import Phi3Config, Phi3ForCausalLM

import mmcore
from mmcore.exchange import export_model, open_stored
from mmcore.exchange.peft_folder import targets, unnamed
from mmcore.training import checkpoint

LORA = (
    "stages.only.train=["
    "{part='llm', lora={rank=2, alpha=6, targets=['qkv_proj', 'layers.1.mlp.down_proj']}}, "
    "{part='token_sampler', lora={rank=3}}, 'encoder']"
)


@pytest.fixture(scope="module")
def adapted(home, tmp_path_factory):
    """A run with adapters in two parts, and its export."""
    out = tmp_path_factory.mktemp("exported") / "adapters"
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(home)
        recipe = mmcore.load_recipe(home / "little.toml", ["name=adapted", LORA])
        run = mmcore.run(recipe, root=home / "runs").folder
        return run, out, export_model(run, out, "peft")


def weights(run):
    newest = checkpoint.load(checkpoint.latest(run / "checkpoints"))
    return {one.name: one.weight for one in newest.states()}


def test_there_are_pefts_files_and_nothing_of_the_base(adapted):
    run, out, receipt = adapted
    assert sorted(one.relative_to(out).as_posix() for one in out.rglob("*") if one.is_file()) == [
        "llm/adapter_config.json",
        "llm/adapter_model.safetensors",
        "receipt.json",
        "token_sampler/adapter_config.json",
        "token_sampler/adapter_model.safetensors",
    ]
    config = json.loads((out / "llm/adapter_config.json").read_text())
    assert (config["peft_type"], config["r"], config["lora_alpha"]) == ("LORA", 2, 6.0)
    stored = weights(run)
    written = load_file(out / "llm/adapter_model.safetensors")
    assert len(written) == 2 * 3  # both qkv_proj, one down_proj
    for name, one in written.items():
        own = name.replace("base_model.model.", "llm.", 1).replace(".weight", ".default.weight")
        assert torch.equal(one, stored[own])
    assert receipt.largest_difference is not None
    assert receipt.largest_difference < 1e-4
    assert any("llm/ goes beside the weights" in one for one in receipt.remarks)


def test_transformers_own_model_of_the_same_base_reads_them(adapted):
    """By peft alone, with nothing of ours: the logits are those of the merged model."""
    run, out, _ = adapted
    spec = mmcore.load_recipe(run / "recipe.toml").model.llm
    ours = spec.build(attention="sdpa")
    config = Phi3Config(**{**ours.model.config.to_dict(), "attn_implementation": "eager"})
    theirs = Phi3ForCausalLM(config).eval()
    base = {
        name.removeprefix("llm.").replace(".base_layer", ""): one
        for name, one in weights(run).items()
        if name.startswith("llm.") and ".lora_" not in name
    }
    theirs.load_state_dict(base)
    ids = torch.tensor([[5, 9, 200, 31]])
    with torch.no_grad():
        plain = theirs(ids).logits
        adapted_logits = PeftModel.from_pretrained(theirs, str(out / "llm"))(ids).logits
    merged = Phi3ForCausalLM(config).eval()
    with open_stored(run) as stored:
        names = [one for one in stored.tensors.names() if one.startswith("llm.")]
        merged.load_state_dict({one[4:]: stored.tensors.read(one) for one in names})
    with torch.no_grad():
        torch.testing.assert_close(adapted_logits, merged(ids).logits, rtol=1e-4, atol=1e-5)
    assert not torch.allclose(adapted_logits, plain, atol=1e-3)


def test_a_run_without_adapters_says_so(trained, tmp_path):
    with pytest.raises(ValueError, match="has no adapters to write"):
        export_model(trained, tmp_path / "out", "peft")
    assert not (tmp_path / "out").exists()


def test_a_layer_may_be_called_as_the_adapter_is():
    """peft's own names of what it writes are the reference."""
    part = nn.Sequential()
    part.add_module("default", nn.ModuleDict({"up": nn.Linear(2, 2)}))
    model = get_peft_model(part, LoraConfig(target_modules=["up"]))
    theirs = set(get_peft_model_state_dict(model))
    named = [name for name, _ in model.named_parameters() if "lora_" in name]
    assert {unnamed(name) for name in named} == theirs
    assert "base_model.model.default.up.lora_A.weight" in theirs


def test_layers_are_named_by_their_ends_where_that_says_it():
    part = nn.ModuleDict({"a": nn.ModuleDict({"fc": nn.Linear(2, 2)}), "fc": nn.Linear(2, 2)})
    assert targets(part, ["a.fc", "fc"]) == ["fc"]
    assert targets(part, ["a.fc"]) == r"a\.fc"
