"""A checkpoint with every tensor name of the released 4B model, made without the plugin's help.

Names and kinds of shapes are the published ones: 27, 6 and 32 layers; only the widths are small.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

D, F, P, PATCH = 32, 40, 16, 4  # encoder: width, MLP, positions, side of a patch
Q, X = 8, 48  # sampler: queries, inner width of its 16 heads
E, M = 64, 48  # LLM: width of its 32 heads together, MLP
FIRST, ROWS = 372, 384  # <image>'s id; rows of the large table
TOKENIZER = Path(__file__).parents[2] / "golden" / "sft" / "tokenizer_rstrip.json"
CANVASES = [[16, 32], [32, 16], [32, 32], [48, 16], [16, 48]]


def norm(name: str, width: int) -> dict[str, tuple[int, ...]]:
    return {f"{name}.weight": (width,), f"{name}.bias": (width,)}


def linear(name: str, rows: int, columns: int) -> dict[str, tuple[int, ...]]:
    return {f"{name}.weight": (rows, columns), f"{name}.bias": (rows,)}


def encoder_shapes(layers: int) -> dict[str, tuple[int, ...]]:
    shapes = {
        "embeddings.patch_embedding.weight": (D, 3, PATCH, PATCH),
        "embeddings.patch_embedding.bias": (D,),
        "embeddings.position_embedding.weight": (P, D),
        **norm("post_layernorm", D),
        "head.probe": (1, 1, D),
        "head.attention.in_proj_weight": (3 * D, D),
        "head.attention.in_proj_bias": (3 * D,),
        **linear("head.attention.out_proj", D, D),
        **norm("head.layernorm", D),
        **linear("head.mlp.fc1", F, D),
        **linear("head.mlp.fc2", D, F),
    }
    for i in range(layers):
        layer = f"encoder.layers.{i}"
        shapes |= norm(f"{layer}.layer_norm1", D) | norm(f"{layer}.layer_norm2", D)
        for one in ("q", "k", "v", "out"):
            shapes |= linear(f"{layer}.self_attn.{one}_proj", D, D)
        shapes |= linear(f"{layer}.mlp.fc1", F, D) | linear(f"{layer}.mlp.fc2", D, F)
    return {f"vision_encoder.{name}": shape for name, shape in shapes.items()}


def sampler_shapes(layers: int) -> dict[str, tuple[int, ...]]:
    shapes = {"latents": (Q, D), **norm("norm", D), **linear("projection", E, D)}
    for i in range(layers):
        shapes |= norm(f"layers.{i}.0.norm_media", D) | norm(f"layers.{i}.0.norm_latents", D)
        shapes |= {
            f"layers.{i}.0.to_q.weight": (X, D),
            f"layers.{i}.0.to_kv.weight": (2 * X, D),
            f"layers.{i}.0.to_out.weight": (D, X),
            f"layers.{i}.1.1.weight": (4 * D, D),
            f"layers.{i}.1.3.weight": (D, 4 * D),
        }
        shapes |= norm(f"layers.{i}.1.0", D)
    return {f"vision_tokenizer.{name}": shape for name, shape in shapes.items()}


def llm_shapes(layers: int) -> dict[str, tuple[int, ...]]:
    shapes: dict[str, tuple[int, ...]] = {
        "model.embed_tokens.weight": (ROWS, E),
        "model.embed_tokens.additional_embedding.weight": (3, E),
        "model.norm.weight": (E,),
        "lm_head.weight": (ROWS, E),
        "lm_head.bias": (ROWS,),
        "lm_head.additional_fc.weight": (3, E),
        "lm_head.additional_fc.bias": (3,),
    }
    for i in range(layers):
        shapes |= {
            f"model.layers.{i}.input_layernorm.weight": (E,),
            f"model.layers.{i}.post_attention_layernorm.weight": (E,),
            f"model.layers.{i}.self_attn.qkv_proj.weight": (3 * E, E),
            f"model.layers.{i}.self_attn.o_proj.weight": (E, E),
            f"model.layers.{i}.mlp.gate_up_proj.weight": (2 * M, E),
            f"model.layers.{i}.mlp.down_proj.weight": (E, M),
        }
    return {f"lang_model.{name}": shape for name, shape in shapes.items()}


def made(encoder: int, sampler: int, llm: int) -> dict[str, torch.Tensor]:
    """A model of so many layers as the training code holds it."""
    generator = torch.Generator().manual_seed(11)
    tensors = {}
    shapes = encoder_shapes(encoder) | sampler_shapes(sampler) | llm_shapes(llm)
    for name, shape in shapes.items():
        tensor = torch.randn(shape, generator=generator) * 0.1
        tensors[name] = tensor + 1 if "norm" in name and name.endswith("weight") else tensor
    return tensors


@pytest.fixture(scope="session")
def state() -> dict[str, torch.Tensor]:
    """With all the layers that the released model has."""
    return made(27, 6, 32)


@pytest.fixture(scope="session")
def small() -> dict[str, torch.Tensor]:
    """With fewer, for tests that need many checkpoints."""
    return made(3, 2, 3)


CONFIG = {
    "architectures": ["XGenMMModelForConditionalGeneration"],
    "model_type": "xgenmm",
    "torch_dtype": "float32",
    "vision_encoder_config": {
        "model_name": "google/siglip-so400m-patch14-384",
        "anyres_grids": CANVASES,
        "image_aspect_ratio": "anyres",
        "anyres_patch_sampling": True,
    },
    "vision_tokenizer_config": {
        "vis_feature_dim": D,
        "lang_embedding_dim": E,
        "num_vis_tokens": Q,
        "image_aspect_ratio": "anyres",
    },
    "text_config": {
        "initial_tokenizer_len": FIRST,
        "model_type": "phi3",
        "sliding_window": 2047,
        "torch_dtype": "bfloat16",
    },
}


def write_released(folder: Path, state: dict[str, torch.Tensor]) -> Path:
    """A folder as released: three shards, index, config, tokenizer."""
    folder.mkdir(parents=True)
    names = [f"vlm.{name}" for name in state]
    files = [f"model-{n + 1:05d}-of-00003.safetensors" for n in range(3)]
    owner = {name: files[n * 3 // len(names)] for n, name in enumerate(names)}
    for file in files:
        held = {name: state[name.removeprefix("vlm.")] for name in names if owner[name] == file}
        if held:
            save_file(held, folder / file, metadata={"format": "pt"})
    index = {"metadata": {}, "weight_map": owner}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    (folder / "config.json").write_text(json.dumps(CONFIG))
    (folder / "tokenizer.json").write_bytes(TOKENIZER.read_bytes())
    (folder / "modeling_xgenmm.py").write_text("raise SystemExit('never run')\n")
    return folder


@pytest.fixture(scope="session")
def released(tmp_path_factory, state) -> Path:
    return write_released(tmp_path_factory.mktemp("released") / "xgen", state)


@pytest.fixture(scope="session")
def released_small(tmp_path_factory, small) -> Path:
    return write_released(tmp_path_factory.mktemp("released") / "small", small)


@pytest.fixture
def release(tmp_path):
    """Write a released folder of other tensors than the released ones."""
    return lambda state: write_released(tmp_path / "xgen", state)
