"""config.json without transformers: what is read, what is refused, what is missing."""

from __future__ import annotations

import json
import re
import subprocess
import sys

import pytest
import transformers

from mmcore.interfaces import TextPart
from mmcore_hf_causal.decoder import transformers_config
from mmcore_hf_causal.small import CHATML, small_tokenizer
from mmcore_hf_causal.spec import HfCausalSpec

QWEN = {
    "model_type": "qwen2",
    "hidden_size": 3584,
    "num_hidden_layers": 28,
    "num_attention_heads": 28,
    "num_key_value_heads": 4,
    "intermediate_size": 18944,
    "vocab_size": 152064,
    "max_position_embeddings": 32768,
    "max_window_layers": 28,
    "sliding_window": 131072,
    "use_sliding_window": False,
    "rope_theta": 1000000.0,
    "rms_norm_eps": 1e-06,
    "tie_word_embeddings": False,
    "hidden_act": "silu",
}
GEMMA3 = {
    "model_type": "gemma3_text",
    "hidden_size": 1152,
    "num_hidden_layers": 26,
    "num_attention_heads": 4,
    "num_key_value_heads": 1,
    "intermediate_size": 6912,
    "vocab_size": 262144,
    "max_position_embeddings": 32768,
    "head_dim": 256,
    "sliding_window": 512,
    "sliding_window_pattern": 6,
    "query_pre_attn_scalar": 256,
    "rope_theta": 1000000,
    "rope_local_base_freq": 10000,
    "rope_scaling": None,
    "hidden_activation": "gelu_pytorch_tanh",
    "attn_logit_softcapping": None,
    "final_logit_softcapping": None,
}
GEMMA2 = {
    "model_type": "gemma2",
    "hidden_size": 2304,
    "num_hidden_layers": 26,
    "num_attention_heads": 8,
    "num_key_value_heads": 4,
    "intermediate_size": 9216,
    "vocab_size": 256000,
    "max_position_embeddings": 8192,
    "hidden_activation": "gelu_pytorch_tanh",
}
PHI4_MINI = {
    "model_type": "phi3",
    "hidden_size": 3072,
    "num_hidden_layers": 32,
    "num_attention_heads": 24,
    "num_key_value_heads": 8,
    "intermediate_size": 8192,
    "vocab_size": 200064,
    "max_position_embeddings": 131072,
    "original_max_position_embeddings": 4096,
    "partial_rotary_factor": 0.75,
    "rope_theta": 10000.0,
    "rope_scaling": {"type": "longrope", "short_factor": [1.0] * 48, "long_factor": [2.0] * 48},
    "sliding_window": 262144,
    "tie_word_embeddings": True,
}
LLAMA = {
    "model_type": "llama",
    "hidden_size": 2048,
    "num_hidden_layers": 16,
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
    "head_dim": 64,
    "intermediate_size": 8192,
    "vocab_size": 128256,
    "max_position_embeddings": 131072,
    "rope_theta": 500000.0,
    "rope_scaling": {
        "factor": 32.0,
        "high_freq_factor": 4.0,
        "low_freq_factor": 1.0,
        "original_max_position_embeddings": 8192,
        "rope_type": "llama3",
    },
    "tie_word_embeddings": True,
    "rms_norm_eps": 1e-05,
}
QWEN3 = QWEN | {
    "model_type": "qwen3",
    "head_dim": 128,
    "num_attention_heads": 32,
    "hidden_size": 4096,
    "num_key_value_heads": 8,
    "use_sliding_window": True,
    "sliding_window": 4096,
    "max_window_layers": 20,
}


@pytest.fixture
def folder(tmp_path):
    def write(config, **files):
        (tmp_path / "config.json").write_text(json.dumps(config))
        for name, text in files.items():
            (tmp_path / f"{name}.json").write_text(text)
        return str(tmp_path)

    return write


@pytest.mark.parametrize(
    ("title", "config"),
    [
        ("Qwen2Config", QWEN),
        ("Qwen3Config", QWEN3),
        ("LlamaConfig", LLAMA),
        ("Gemma2Config", GEMMA2),
        ("Gemma3TextConfig", GEMMA3),
        ("Phi3Config", PHI4_MINI),
    ],
)
def test_numbers_are_read_as_transformers_reads_them(title, config, folder):
    spec = HfCausalSpec(config=folder(config), tokenizer="unused")
    wanted = getattr(transformers, title)(**(config | {"pad_token_id": None})).to_dict()
    got = transformers_config(spec._numbers()).to_dict()
    left_out = {"bos_token_id", "eos_token_id", "max_window_layers", "sliding_window_pattern"}
    left_out |= {"sliding_window", "partial_rotary_factor", "rope_local_base_freq"}
    left_out |= {"transformers_version", "_sliding_window_pattern", "original_rope"}
    wanted["rope_parameters"].pop("type", None)  # the old name of rope_type
    for key in (got.keys() & wanted.keys()) - left_out:
        assert got[key] == wanted[key], key
    if wanted.get("layer_types") is None or "sliding_attention" in wanted["layer_types"]:
        assert got.get("sliding_window") == wanted.get("sliding_window")


def test_longrope_by_its_first_names(folder):
    for kind in ("su", "yarn"):
        scaling = PHI4_MINI["rope_scaling"] | {"type": kind}
        spec = HfCausalSpec(config=folder(PHI4_MINI | {"rope_scaling": scaling}))
        assert spec.rope["rope_type"] == "longrope"
        assert spec.rope["original_max_position_embeddings"] == 4096
        assert spec.rope["long_factor"] == (2.0,) * 48
        assert spec.rope_share == 0.75


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"model_type": "mamba"}, "family 'mamba', which is not tested.*llama, qwen2"),
        ({"hidden_act": "relu"}, "activation is 'relu', tested is 'silu'"),
        ({"hidden_size": None}, "lacks hidden_size"),
        ({"rope_scaling": {"type": "dynamic", "factor": 2.0}}, "rotary positions are 'dynamic'"),
        ({"quantization_config": {"bits": 4}}, "quantized"),
        ({"use_bidirectional_attention": True}, "not causal"),
    ],
)
def test_what_is_not_supported_is_refused_with_the_reason(change, message, folder):
    spec = HfCausalSpec(config=folder(QWEN | change))
    (problem,) = spec.problems()
    assert (problem.key, problem.machine) == ("config", False)
    assert re.search(message, problem.message), problem.message


def test_a_missing_file_is_a_lack_of_the_machine_and_no_crash():
    for weights in ("/no/where", "hf://no-one/has-this"):
        spec = HfCausalSpec(weights=weights)
        assert {problem.machine for problem in spec.problems()} == {True}
        assert {problem.key for problem in spec.problems()} == {"weights"}
        assert list(spec.tiny().problems()) == []


def test_keys_of_the_recipe_go_before_the_file(folder):
    spec = HfCausalSpec(config=folder(QWEN), layers=3, window=64, window_layers=(1,))
    assert (spec.width, spec.layers, spec.window_layers) == (3584, 3, (1,))
    assert spec.family == "qwen2"


def test_contradictions_are_faults_all_at_once(folder):
    spec = HfCausalSpec(config=folder(QWEN), kv_heads=3, head_width=64, window_layers=(0,))
    assert [problem.key for problem in spec.problems()] == ["kv_heads", "head_width", "window"]
    spec = HfCausalSpec(family="llama", window=8, window_layers=(0,))
    assert [problem.key for problem in spec.problems()] == ["window_layers"]


def test_the_tokenizer_lies_beside_the_config_or_where_it_is_named(folder, tmp_path):
    small = small_tokenizer(CHATML)
    config = json.dumps({"eos_token": "<|im_end|>", "chat_template": small.template})
    path = folder(QWEN, tokenizer=small.tokenizer, tokenizer_config=config)
    turns = [TextPart("a", "user"), TextPart("b", "assistant")]
    wanted = HfCausalSpec(family="qwen2").text().render(turns)
    for spec in (HfCausalSpec(config=path), HfCausalSpec(tokenizer=path)):
        assert spec.text().render(turns) == wanted
    template = tmp_path / "own.jinja"
    template.write_text(small.template.replace("user", "human"))
    own = HfCausalSpec(config=path, chat_template=str(template))
    assert list(own.problems()) == []
    (problem,) = HfCausalSpec(chat_template="/no/where").problems()
    assert (problem.key, problem.machine) == ("chat_template", True)


def test_spec_and_tokenizer_need_neither_torch_nor_transformers(folder):
    code = (
        "import sys; from mmcore_hf_causal.spec import HfCausalSpec as S; "
        "spec = S(config=sys.argv[1]); list(spec.problems()); spec.tiny().text(); "
        "print(spec.width, *{'torch', 'transformers'} & sys.modules.keys())"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, folder(QWEN)], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "3584"
