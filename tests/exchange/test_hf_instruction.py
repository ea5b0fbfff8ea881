"""An instruction-aware sampler in transformers' hands gives our numbers."""

from __future__ import annotations

import pytest
import torch
from transformers import AutoModelForImageTextToText, AutoProcessor

import mmcore
import mmcore.hf
from mmcore.exchange import export_model


@pytest.fixture(scope="module")
def trained(home):
    changes = ["name=asked", "model.token_sampler.instruction=true"]
    recipe = mmcore.load_recipe(home / "little.toml", changes)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(home)
        mmcore.run(recipe, root=home / "runs")
    return home / "runs" / "asked"


@pytest.fixture(scope="module")
def folder(trained, tmp_path_factory):
    out = tmp_path_factory.mktemp("asked") / "model"
    assert export_model(trained, out, "hf").largest_difference == 0.0
    return out


def talk(home, question):
    picture = {"type": "image", "path": str(home / "a.png")}
    return [{"role": "user", "content": [picture, {"type": "text", "text": question}]}]


@pytest.mark.parametrize("beams", [1, 3])
def test_answers_are_ours_and_hear_the_question(home, trained, folder, beams):
    model = AutoModelForImageTextToText.from_pretrained(folder)
    processor = AutoProcessor.from_pretrained(folder)
    talks = [talk(home, "What does it show?"), talk(home, "Who?")]
    inputs = processor.apply_chat_template(talks)
    assert inputs["instruction_ids"].shape == inputs["instruction_mask"].shape
    assert len(inputs["instruction_ids"]) == len(inputs["patch_mask"])
    outputs = model.generate(**inputs, num_beams=beams, max_new_tokens=8)
    if beams == 1:
        ours = mmcore.load(trained, device="cpu")
        new = outputs[:, inputs["input_ids"].shape[1] :]
        wanted = [ours.generate(one, max_new_tokens=8) for one in talks]
        assert [one.strip() for one in processor.batch_decode(new, True)] == wanted
    again = model.generate(**inputs, num_beams=beams, max_new_tokens=8, use_cache=False)
    assert torch.equal(outputs, again)

    with torch.no_grad():
        heard = model(**inputs).logits
        deaf = model(**inputs | {"instruction_mask": inputs["instruction_mask"] & False}).logits
    assert not torch.allclose(heard[:, -1], deaf[:, -1], atol=1e-4)
