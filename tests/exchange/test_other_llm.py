"""A model with an LLM of another plugin goes out with its configuration and chat template."""

from __future__ import annotations

import pytest
import torch
from transformers import AutoModelForImageTextToText, AutoProcessor

import mmcore
import mmcore.hf
from mmcore.exchange import export_model

ASKED = [{"role": "user", "content": "What?"}]


@pytest.fixture(scope="module", params=["gemma2", "qwen3"])
def run(request, home, tmp_path_factory):
    """A run whose output layer is tied to the embedding, or not."""
    text = (home / "little.toml").read_text()
    llm, rest = text.index("[model.llm]"), text.index("[data]")
    table = f'[model.llm]\nuse = "hf-causal"\nfamily = "{request.param}"\ninit_std = 0.3\n'
    folder = tmp_path_factory.mktemp(request.param)
    (folder / "little.toml").write_text(text[:llm] + table + text[rest:])
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(home)
        mmcore.run(mmcore.load_recipe(folder / "little.toml"), root=folder / "runs")
    return folder / "runs" / "little"


def test_the_model_folder_answers_as_the_run(run, tmp_path):
    assert export_model(run, tmp_path / "own", "mmcore").largest_difference == 0.0
    answers = [
        mmcore.load(one, device="cpu").generate(ASKED, max_new_tokens=8)
        for one in (run, tmp_path / "own")
    ]
    assert answers[0] == answers[1]


def test_transformers_answers_as_the_run(run, tmp_path):
    assert export_model(run, tmp_path / "hf", "hf").largest_difference == 0.0
    model = AutoModelForImageTextToText.from_pretrained(tmp_path / "hf")
    processor = AutoProcessor.from_pretrained(tmp_path / "hf")
    inputs = processor.apply_chat_template(ASKED)
    new = model.generate(**inputs, max_new_tokens=8)[:, inputs["input_ids"].shape[1] :]
    wanted = mmcore.load(run, device="cpu").generate(ASKED, max_new_tokens=8)
    assert processor.batch_decode(new, skip_special_tokens=True)[0].strip() == wanted
    again = tmp_path / "again"
    model.save_pretrained(again)
    processor.save_pretrained(again)
    with torch.no_grad():
        saved = AutoModelForImageTextToText.from_pretrained(again)(**inputs).logits
        assert torch.equal(saved, model(**inputs).logits)
