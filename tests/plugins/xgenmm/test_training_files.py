"""The training code's own files: bare or wrapped, prefixed or not, with or without the encoder."""

from __future__ import annotations

import pickle
import re
import tempfile
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file

from mmcore.exchange import export_model, import_checkpoint, open_stored
from mmcore.interfaces import WeightsError
from mmcore.recipe import load_recipe
from mmcore_xgenmm.pickled import open_pickled

RECIPE = """\
name = "continued"
[model.encoder]
use = "siglip"
weights = "{encoder}"
width = 32
depth = 3
heads = 16
mlp_width = 40
patch_size = 4
image_size = 16
[model.token_sampler]
use = "perceiver"
queries = 8
depth = 2
heads = 16
head_dim = 3
[model.llm]
use = "phi3"
tokenizer = "{tokenizer}"
width = 64
layers = 3
heads = 32
kv_heads = 32
mlp_width = 48
vocabulary = 375
head_bias = true
[data]
lanes = 1
[engine]
use = "torch"
[[stages]]
name = "only"
train = ["token_sampler"]
steps = 1
tiler = {{ use = "anyres" }}
objectives = [{{ use = "autoregressive" }}]
batch = {{ max_tokens = 512, max_views = 16, packs_per_step = 1 }}
optimizer = {{ use = "adamw", lr = 1e-3 }}
[[stages.data]]
use = "llava-json"
path = "data/*.json"
"""
ENCODER = "vision_encoder."


@pytest.fixture
def recipe(tmp_path, released_small):
    """The recipe of the model, its tokenizer the released folder's."""

    def recipe(encoder="random"):
        file = tmp_path / "recipe.toml"
        file.write_text(RECIPE.format(encoder=encoder, tokenizer=released_small))
        return load_recipe(file)

    return recipe


def prefixed(small, prefix):
    return {f"{prefix}{name}": tensor for name, tensor in small.items()}


def without_encoder(small):
    return {name: tensor for name, tensor in small.items() if not name.startswith(ENCODER)}


def same_tensors(one: Path, other: Path) -> bool:
    with open_stored(one) as a, open_stored(other) as b:
        return a.tensors.names() == b.tensors.names() and all(
            torch.equal(a.tensors.read(name), b.tensors.read(name)) for name in a.tensors.names()
        )


@pytest.fixture(scope="module")
def from_folder(released_small, tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("folder") / "model"
    import_checkpoint("xgen-mm", released_small, out, probe=False)
    return out


@pytest.mark.parametrize("prefix", ["", "module.", "vlm."])
@pytest.mark.parametrize("is_wrapped", [True, False])
def test_a_pt_file_gives_the_tensors_of_the_folder(
    recipe, small, from_folder, tmp_path, prefix, is_wrapped
):
    path = tmp_path / "checkpoint_0.pt"
    inner = prefixed(small, prefix)
    torch.save({"epoch": 0, "model_state_dict": inner} if is_wrapped else inner, path)
    import_checkpoint("xgen-mm", path, tmp_path / "out", recipe=recipe(), probe=False)
    assert same_tensors(tmp_path / "out", from_folder)


def test_a_legacy_pt_file_is_read_too(recipe, small, from_folder, tmp_path):
    path = tmp_path / "old.pt"
    torch.save(small, path, _use_new_zipfile_serialization=False)
    import_checkpoint("xgen-mm", path, tmp_path / "out", recipe=recipe(), probe=False)
    assert same_tensors(tmp_path / "out", from_folder)


def test_a_bare_safetensors_file_gives_the_tensors_of_the_folder(
    recipe, small, from_folder, tmp_path
):
    path = tmp_path / "model.safetensors"
    save_file(small, path)
    import_checkpoint("xgen-mm", path, tmp_path / "out", recipe=recipe(), probe=False)
    assert same_tensors(tmp_path / "out", from_folder)


def test_the_encoder_that_a_file_leaves_out_comes_from_the_recipe(
    recipe, small, from_folder, tmp_path
):
    path = tmp_path / "checkpoint_0.pt"
    torch.save({"model_state_dict": prefixed(without_encoder(small), "module.")}, path)
    source = from_folder / "encoder"
    receipt = import_checkpoint("xgen-mm", path, tmp_path / "out", recipe=recipe(source))
    assert same_tensors(tmp_path / "out", from_folder)
    assert receipt.new == {"encoder": str(source)}
    assert receipt.largest_difference == 0.0
    assert f"54 from {source}" in "\n".join(receipt.summary())


def test_an_encoder_that_neither_file_nor_recipe_has_is_missing(recipe, small, tmp_path):
    path = tmp_path / "checkpoint_0.pt"
    torch.save(without_encoder(small), path)
    with pytest.raises(WeightsError, match=r"missing: vision_encoder\.post_layernorm\.weight"):
        import_checkpoint("xgen-mm", path, tmp_path / "out", recipe=recipe())


def test_an_encoder_that_is_there_in_part_is_no_encoder_left_out(
    recipe, small, from_folder, tmp_path
):
    path = tmp_path / "checkpoint_0.pt"
    name = f"{ENCODER}head.probe"
    torch.save(without_encoder(small) | {name: small[name]}, path)
    with pytest.raises(WeightsError, match=r"missing: vision_encoder\.post_layernorm\.weight"):
        import_checkpoint("xgen-mm", path, tmp_path / "out", recipe=recipe(from_folder / "encoder"))


def test_a_file_without_a_recipe_is_refused(small, tmp_path):
    path = tmp_path / "checkpoint_0.pt"
    torch.save(small, path)
    with pytest.raises(WeightsError, match="give a recipe that does, with --recipe"):
        import_checkpoint("xgen-mm", path, tmp_path / "out")


class Program:
    """What a pickle may hold: it writes a file as soon as it is loaded."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self):
        return (Path.touch, (self.mark,))


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
@pytest.mark.parametrize(
    ("save", "reason"),
    [
        (torch.save, r"\(it holds \S+\)"),
        (lambda content, path: path.write_bytes(pickle.dumps(content)), r"\(Unsupported .+\)"),
    ],
)
def test_a_pickle_that_holds_a_program_is_refused_and_not_run(
    recipe, small, tmp_path, save, reason
):
    path, mark = tmp_path / "evil.pt", tmp_path / "ran"
    save({"model_state_dict": small, "args": Program(mark)}, path)
    with pytest.raises(WeightsError) as caught:
        import_checkpoint("xgen-mm", path, tmp_path / "out", recipe=recipe())
    assert f"{str(path)!r} is refused: it is no file of plain tensors" in str(caught.value)
    # Named, and without torch's advice on how to load it all the same.
    assert re.search(reason, str(caught.value))
    assert "weights_only" not in str(caught.value)
    assert "safe_globals" not in str(caught.value)
    assert not mark.exists()
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ([torch.zeros(1)], "holds a list, wanted a dict"),
        ({"model_state_dict": {}}, "has no tensors"),
        ({"lr": 0.1, "lang_model.x": torch.zeros(1)}, "things that are no tensors: lr"),
    ],
)
def test_a_file_of_something_else_is_refused(recipe, tmp_path, content, said):
    path = tmp_path / "other.pt"
    torch.save(content, path)
    with pytest.raises(WeightsError, match=said):
        import_checkpoint("xgen-mm", path, tmp_path / "out", recipe=recipe())


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
@settings(max_examples=60, deadline=None)
@given(st.binary(max_size=40) | st.binary(max_size=40).map(lambda tail: b"\x80\x02" + tail))
def test_a_file_of_any_bytes_is_refused(content):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "notes.pt"
        path.write_bytes(content)
        with pytest.raises(WeightsError, match=r"notes\.pt' "), open_pickled(path):
            pass


def test_a_file_of_another_size_than_the_recipe_says_is_refused_in_full(recipe, small, tmp_path):
    path = tmp_path / "checkpoint_0.pt"
    wide = "vision_tokenizer.layers.1.1.3.weight"
    torch.save(
        {k: v for k, v in small.items() if ".layers.2." not in k}
        | {wide: torch.zeros(32, 100), "surprise": torch.zeros(1)},
        path,
    )
    with pytest.raises(WeightsError) as caught:
        import_checkpoint("xgen-mm", path, tmp_path / "out", recipe=recipe())
    message = str(caught.value)
    assert "missing: lang_model.model.layers.2.mlp.down_proj.weight" in message
    assert f"{wide} has shape [32, 100], wanted [32, 128]" in message
    assert "no place for: surprise" in message


def test_a_file_is_exported_as_a_released_folder(recipe, small, tmp_path):
    """Its small files are made, since it had none."""
    path = tmp_path / "checkpoint_0.pt"
    torch.save(small, path)
    import_checkpoint("xgen-mm", path, tmp_path / "out", recipe=recipe(), probe=False)
    receipt = export_model(tmp_path / "out", tmp_path / "hub", "xgen-mm")
    assert receipt.largest_difference == 0.0
    import_checkpoint("xgen-mm", tmp_path / "hub", tmp_path / "again", probe=False)
    assert same_tensors(tmp_path / "again", tmp_path / "out")
