"""What a config.json is read as, and how one that makes no model is told."""

import json

import pytest

from mmcore.interfaces import WeightsError
from mmcore_hf_causal.config import numbers_of


@pytest.mark.parametrize(
    "change",
    [
        {"num_attention_heads": 0, "head_dim": None},
        {"rope_scaling": [1]},
        {"rope_theta": "abc"},
    ],
)
def test_values_that_make_no_model_are_told_with_the_file(tmp_path, change):
    raw = {"model_type": "llama", "hidden_size": 64, "num_hidden_layers": 2}
    raw |= {"num_attention_heads": 4, "num_key_value_heads": 2, "intermediate_size": 128}
    raw |= {"vocab_size": 300, "max_position_embeddings": 512}
    (tmp_path / "config.json").write_text(json.dumps(raw | change))
    with pytest.raises(WeightsError, match=r"config\.json'"):
        numbers_of(str(tmp_path))
