"""A tokenizer without Phi-3's chat tags is a problem of the recipe, not of its first step."""

import json

from mmcore.interfaces import Wanted
from mmcore.kit.weights import TOKENIZER_FILES, WEIGHT_FILES
from mmcore_phi3.spec import OWN_TOKENIZER, Phi3Spec


def test_missing_chat_tags_are_named(tmp_path):
    content = json.loads(OWN_TOKENIZER.read_text())
    content["added_tokens"] = [
        one for one in content["added_tokens"] if one["content"] != "<|assistant|>"
    ]
    (tmp_path / "tokenizer.json").write_text(json.dumps(content))
    (problem,) = Phi3Spec(tokenizer=str(tmp_path)).problems()
    assert (problem.key, problem.machine) == ("tokenizer", True)
    assert "it lacks ['<|assistant|>']" in problem.message


def test_the_tokenizer_is_wanted_from_where_it_is_read():
    beside = Phi3Spec(weights="hf://a/b")
    (wanted,) = beside.wants()
    assert wanted == Wanted(
        "weights",
        "hf://a/b",
        (*WEIGHT_FILES, *TOKENIZER_FILES),
        ("*.safetensors", "tokenizer.json"),
    )
    keys = [one.key for one in Phi3Spec(weights="hf://a/b", tokenizer="hf://c/d").wants()]
    assert keys == ["weights", "tokenizer"]
    assert list(Phi3Spec().wants()) == []
