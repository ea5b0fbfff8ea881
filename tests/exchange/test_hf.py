"""An exported folder in transformers' hands: its Auto classes, its generate, our numbers."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from transformers import AutoConfig, AutoModelForImageTextToText, AutoProcessor, AutoTokenizer

import mmcore
import mmcore.hf
from mmcore.data.collate import collate
from mmcore.exchange import export_model
from mmcore.interfaces import SampleKey, WeightsError
from mmcore.loading import parts_of


@pytest.fixture(scope="module")
def folder(trained, tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("hf") / "model"
    receipt = export_model(trained, out, "hf")
    assert receipt.largest_difference == 0.0
    assert receipt.before.ids == receipt.after.ids
    return out


@pytest.fixture(scope="module")
def model(folder):
    return AutoModelForImageTextToText.from_pretrained(folder)


@pytest.fixture(scope="module")
def processor(folder):
    return AutoProcessor.from_pretrained(folder)


@pytest.fixture
def ours(trained):
    return mmcore.load(trained, device="cpu")


@pytest.fixture
def conversations(home):
    """Two, of different lengths: pictures and text, text alone."""
    picture = {"type": "image", "path": str(home / "a.png")}
    text = {"type": "text", "text": "What does the picture show, and who is in it?"}
    return [
        [{"role": "user", "content": [picture, text, picture]}],
        [{"role": "user", "content": "Who?"}],
    ]


def packed_logits(ours, conversations) -> list[torch.Tensor]:
    """Logits of every prompt by mmcore's own packed forward, without any padding."""
    preparer, model = ours._answerer.preparer, ours._answerer.model.eval()
    prompts = [
        preparer.prompt(SampleKey("test", "", n), parts_of(one))
        for n, one in enumerate(conversations)
    ]
    batch = collate(
        prompts,
        [preparer.realise(one) for one in prompts],
        view=preparer.view,
        tokens_per_view=preparer.tokens_per_view,
        lane=0,
    )
    return list(model.llm.head(model.hidden(batch)).split([one.tokens for one in prompts]))


@torch.no_grad()
def test_logits_are_those_of_the_packed_forward(model, processor, ours, conversations):
    inputs = processor.apply_chat_template(conversations)
    logits_BTV = model(**inputs).logits
    wanted = packed_logits(ours, conversations)
    assert [len(one) for one in wanted] == inputs["attention_mask"].sum(1).tolist()
    for row, want_TV in zip(logits_BTV, wanted, strict=True):
        torch.testing.assert_close(row[-len(want_TV) :], want_TV, atol=2e-5, rtol=1e-5)


def test_greedy_answers_are_ours(model, processor, ours, conversations):
    answers = [ours.generate(one, max_new_tokens=12) for one in conversations]
    inputs = processor.apply_chat_template(conversations)
    outputs = model.generate(**inputs, max_new_tokens=12)
    new = outputs[:, inputs["input_ids"].shape[1] :]
    assert [one.strip() for one in processor.batch_decode(new, True)] == answers
    assert all(answers)


@pytest.mark.parametrize("words", [{}, {"num_beams": 3}])
def test_generation_with_the_cache_equals_that_without(model, processor, conversations, words):
    """Beams see the pictures of their own prompt."""
    inputs = processor.apply_chat_template(conversations)
    first, second = (
        model.generate(**inputs, **words, max_new_tokens=8, use_cache=use_cache)
        for use_cache in (True, False)
    )
    assert torch.equal(first, second)


def test_looking_up_the_prompt_changes_no_greedy_answer(model, processor, conversations):
    inputs = processor.apply_chat_template(conversations[:1])
    wanted = model.generate(**inputs, max_new_tokens=10)
    assert torch.equal(
        model.generate(**inputs, max_new_tokens=10, prompt_lookup_num_tokens=3), wanted
    )


def test_a_misspelt_word_is_refused(model, processor, conversations):
    inputs = processor.apply_chat_template(conversations)
    with pytest.raises(ValueError, match="tempratur"):
        model.generate(**inputs, tempratur=1.0)


def test_beams_of_a_batch_are_those_of_its_prompts_alone(model, processor, conversations, home):
    other = home / "b.png"
    Image.new("RGB", (60, 20), "orange").save(other)
    second = [{"role": "user", "content": [{"type": "image", "path": str(other)}]}]
    batch = [conversations[0], second]
    found = []
    for asked in (batch, *([one] for one in batch)):
        inputs = processor.apply_chat_template(asked)
        outputs = model.generate(
            **inputs, num_beams=3, num_return_sequences=2, max_new_tokens=6, min_new_tokens=6
        )
        found.append(outputs[:, inputs["input_ids"].shape[1] :])
    assert torch.equal(found[0], torch.cat(found[1:]))


def test_the_pictures_matter(model, processor, conversations):
    inputs = processor.apply_chat_template(conversations[:1])
    seen = model(**inputs).logits
    changed = model(**inputs | {"pixel_values": 255 - inputs["pixel_values"]}).logits
    assert not torch.allclose(seen[:, -1], changed[:, -1], atol=1e-3)


def test_the_loss_is_the_mean_over_labels(model, processor, conversations):
    inputs = processor.apply_chat_template(conversations[1:])
    ids = inputs["input_ids"]
    output = model(**inputs, labels=ids)
    wanted = torch.nn.functional.cross_entropy(output.logits[0, :-1], ids[0, 1:])
    torch.testing.assert_close(output.loss, wanted)


def test_auto_classes_know_the_folder(folder, model, processor):
    config = AutoConfig.from_pretrained(folder)
    assert type(config) is mmcore.hf.MMCoreConfig
    assert config.file().name == "little"
    assert type(model) is mmcore.hf.MMCoreForConditionalGeneration
    assert type(processor) is mmcore.hf.MMCoreProcessor
    tokenizer = AutoTokenizer.from_pretrained(folder)
    assert tokenizer.decode(tokenizer("a cat", add_special_tokens=False)["input_ids"]) == "a cat"
    stops = processor.preparer.text.stop_ids
    assert set(model.generation_config.eos_token_id) == stops
    assert tokenizer.eos_token_id in stops


def test_nothing_in_the_folder_is_a_program(folder):
    assert {one.suffix for one in folder.rglob("*") if one.is_file()} == {".json", ".safetensors"}
    assert "auto_map" not in (folder / "config.json").read_text()


def test_it_is_saved_and_loaded_again_elsewhere(model, processor, folder, tmp_path, conversations):
    moved = tmp_path / "again"
    model.save_pretrained(moved)
    processor.save_pretrained(moved)
    again = AutoModelForImageTextToText.from_pretrained(moved)
    inputs = AutoProcessor.from_pretrained(moved).apply_chat_template(conversations)
    with torch.no_grad():
        assert torch.equal(again(**inputs).logits, model(**inputs).logits)


def test_a_folder_from_a_hub_is_loaded_by_its_id(folder, model, tmp_path, conversations):
    """From the cache as huggingface_hub lays it out, so that nothing is downloaded."""
    home = tmp_path / "models--me--little"
    shutil.copytree(folder, home / "snapshots" / "abc")
    (home / "refs").mkdir()
    (home / "refs" / "main").write_text("abc")
    where = {"cache_dir": tmp_path, "local_files_only": True}
    again = AutoModelForImageTextToText.from_pretrained("me/little", **where)
    inputs = AutoProcessor.from_pretrained("me/little", **where).apply_chat_template(conversations)
    with torch.no_grad():
        assert torch.equal(again(**inputs).logits, model(**inputs).logits)


def test_half_precision_is_near(folder, model, processor, conversations):
    half = AutoModelForImageTextToText.from_pretrained(folder, dtype=torch.bfloat16)
    assert half.dtype == torch.bfloat16
    inputs = processor.apply_chat_template(conversations[:1])
    with torch.no_grad():
        near, exact = half(**inputs).logits.float(), model(**inputs).logits
    assert (near - exact).abs().mean() < 0.05 * exact.abs().mean()


def test_plain_texts_are_gone_on_with(processor, home):
    picture = Image.open(home / "a.png")
    inputs = processor([picture, picture], ["see <image> and", "<image>"])
    tokens = (inputs["input_ids"] == processor.preparer.text.image_id).sum(1)
    assert tokens.tolist() == [len(inputs["pixel_values"]) // 2 * 3] * 2
    assert processor.decode(inputs["input_ids"][0], skip_special_tokens=True) == "see  and"
    with pytest.raises(ValueError, match="2 marks '<image>' for 1 pictures"):
        processor(picture, "<image><image>")


def test_a_pil_image_is_as_good_as_its_file(processor, home):
    named = processor(str(home / "a.png"), "<image>")
    held = processor(Image.open(home / "a.png"), "<image>")
    assert torch.equal(named["pixel_values"], held["pixel_values"])


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ([{"type": "image", "url": "http://example.com/a.png"}], "wanted"),
        ([{"type": "image", "path": "nowhere.png"}], "image-missing"),
        ([{"type": "image", "image": 5}], "a picture is a int"),
        ([{"type": "text", "text": "word " * 5000}], "too-long"),
    ],
)
def test_what_cannot_be_shown_is_refused(processor, content, said):
    with pytest.raises(ValueError, match=said):
        processor.apply_chat_template([{"role": "user", "content": content}])


def test_tensors_that_do_not_fit_are_an_error_that_names_them_all(folder, tmp_path):
    broken = tmp_path / "broken"
    shutil.copytree(folder, broken)
    tensors = load_file(broken / "model.safetensors")
    del tensors["model.token_sampler.latents"]
    tensors["model.surprise"] = torch.zeros(2)
    save_file(tensors, broken / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(WeightsError) as caught:
        AutoModelForImageTextToText.from_pretrained(broken)
    assert "missing: model.token_sampler.latents" in str(caught.value)
    assert "no place for: model.surprise" in str(caught.value)


def test_an_llm_that_transformers_cannot_drive_is_refused(trained, tmp_path, monkeypatch):
    monkeypatch.setattr(
        "mmcore_phi3.spec.Phi3Spec.build", lambda self, *, attention: torch.nn.Linear(1, 1)
    )
    with pytest.raises(ValueError, match="has no `extend`; export it with --format mmcore"):
        export_model(trained, tmp_path / "out", "hf")
    assert list(tmp_path.iterdir()) == []
