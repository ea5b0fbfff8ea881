"""A checkpoint that is damaged, or is another's, is refused with everything that is wrong."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import torch

from mmcore.exchange import import_checkpoint
from mmcore.interfaces import WeightsError


def refusal(path: Path, out: Path, **keywords: object) -> str:
    """What is said; nothing may be left behind."""
    with pytest.raises(WeightsError) as caught:
        import_checkpoint("xgen-mm", path, out, **keywords)
    assert not out.exists()
    assert not list(out.parent.glob(".writing-*"))
    return str(caught.value)


def test_all_misfits_are_named_at_once_with_the_nearest_names(release, small, tmp_path):
    changed = dict(small)
    gate = "lang_model.model.layers.1.mlp.down_proj.weight"
    changed["lang_model.model.layers.1.mlp.down_projection.weight"] = changed.pop(gate)
    del changed["vision_encoder.post_layernorm.bias"]
    changed["vision_tokenizer.layers.1.0.to_kv.weight"] = torch.zeros(5, 32)
    changed["lang_model.lm_head.additional_fc.weight"] = torch.zeros(2, 64)
    message = refusal(release(changed), tmp_path / "out")
    assert f"missing: vlm.{gate}" in message
    assert "missing: vlm.vision_encoder.post_layernorm.bias" in message
    assert re.search(
        r"no place for: vlm\S*\.1\.mlp\.down_projection\.weight; the nearest expected name is "
        r"vlm\S*\.1\.mlp\.down_proj\.weight",
        message,
    )
    assert "vlm.vision_tokenizer.layers.1.0.to_kv.weight has shape [5, 32], wanted [96, 32]" in (
        message
    )
    assert "additional_fc.weight has shape [2, 64], wanted [3, 64]" in message
    assert message.count("\n") == 5


def test_a_hole_among_the_layers_is_named_and_not_what_follows_it(release, small, tmp_path):
    changed = dict(small)
    del changed["lang_model.model.layers.1.self_attn.qkv_proj.weight"]
    del changed["vision_encoder.encoder.layers.2.layer_norm1.weight"]
    message = refusal(release(changed), tmp_path / "out")
    assert message.splitlines()[1:] == [
        "  missing: vlm.lang_model.model.layers.1.self_attn.qkv_proj.weight",
        "  missing: vlm.vision_encoder.encoder.layers.2.layer_norm1.weight",
    ]


def test_tensors_that_tell_sizes_are_all_named_if_missing(release, small, tmp_path):
    changed = {k: v for k, v in small.items() if not k.startswith("vision_encoder.encoder")}
    changed["vision_tokenizer.latent"] = changed.pop("vision_tokenizer.latents")
    del changed["lang_model.model.embed_tokens.additional_embedding.weight"]
    message = refusal(release(changed), tmp_path / "out")
    assert "missing: vlm.lang_model.model.embed_tokens.additional_embedding.weight" in message
    assert "missing: vlm.vision_encoder.encoder.layers.0.mlp.fc1.weight" in message
    assert (
        "missing: vlm.vision_tokenizer.latents; the nearest it has is vlm.vision_tokenizer.latent"
        in message
    )


def test_computed_buffers_of_old_files_are_unused_and_said_so(release, small, tmp_path):
    old = {"vision_encoder.embeddings.position_ids": torch.arange(16.0)}
    receipt = import_checkpoint("xgen-mm", release(small | old), tmp_path / "out", probe=False)
    assert receipt.unused == ("vlm.vision_encoder.embeddings.position_ids",)


def test_a_shard_that_is_missing_is_named(release, small, tmp_path):
    folder = release(small)
    (folder / "model-00002-of-00003.safetensors").unlink()
    assert "lacks model-00002-of-00003.safetensors" in refusal(folder, tmp_path / "out")


def test_a_shard_that_is_cut_off_is_named(release, small, tmp_path):
    folder = release(small)
    shard = folder / "model-00003-of-00003.safetensors"
    shard.write_bytes(shard.read_bytes()[:-100])
    assert f"{str(shard)!r} cannot be read" in refusal(folder, tmp_path / "out")


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("config.json", None, "has no config.json"),
        ("config.json", "{", "is no JSON"),
        ("config.json", '{"model_type": "llava"}', "is none of xGen-MM"),
        ("tokenizer.json", None, "has no tokenizer.json"),
        ("tokenizer.json", "[]", "is no tokenizer"),
    ],
)
def test_a_folder_that_is_none_is_refused(release, small, tmp_path, name, content, said):
    folder = release(small)
    (folder / name).unlink() if content is None else (folder / name).write_text(content)
    assert said in refusal(folder, tmp_path / "out")


def test_another_models_tokenizer_is_refused(release, small, tmp_path):
    folder = release(small)
    config = json.loads((folder / "config.json").read_text())
    config["text_config"]["initial_tokenizer_len"] = 5
    (folder / "config.json").write_text(json.dumps(config))
    message = refusal(folder, tmp_path / "out")
    assert "384 embeddings" in message
    assert "id 5" in message


def test_a_path_that_leads_nowhere_is_named(tmp_path):
    message = refusal(tmp_path / "nowhere", tmp_path / "out")
    assert f"no file or folder {str(tmp_path / 'nowhere')!r}" in message


def test_what_stands_at_out_is_left_alone(released_small, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "notes.txt").write_text("mine")
    with pytest.raises(ValueError, match="is there already; give another name"):
        import_checkpoint("xgen-mm", released_small, tmp_path / "out")
    assert (tmp_path / "out" / "notes.txt").read_text() == "mine"


def test_what_a_killed_import_left_is_overwritten(released_small, tmp_path):
    left = tmp_path / ".writing-out"
    (left / "llm").mkdir(parents=True)
    (left / "llm" / "half.safetensors").write_bytes(b"half")
    import_checkpoint("xgen-mm", released_small, tmp_path / "out", probe=False)
    assert not left.exists()
    assert not (tmp_path / "out" / "llm" / "half.safetensors").exists()
