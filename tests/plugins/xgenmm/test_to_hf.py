"""A released checkpoint, imported and handed to transformers, answers as it does here."""

from __future__ import annotations

import pytest
import torch
from PIL import Image
from transformers import AutoModelForImageTextToText, AutoProcessor

import mmcore
import mmcore.hf
from mmcore.exchange import export_model, import_checkpoint


@pytest.fixture(scope="module")
def folders(released_small, tmp_path_factory):
    home = tmp_path_factory.mktemp("models")
    import_checkpoint("xgen-mm", released_small, home / "own", probe=False)
    receipt = export_model(home / "own", home / "hf", "hf")
    return home, receipt


def test_nothing_is_lost_but_what_nothing_reads(folders):
    _, receipt = folders
    assert receipt.largest_difference == 0.0
    assert "3 tensors that were kept aside" in receipt.remarks[0]


@pytest.mark.parametrize(
    ("size", "is_regrouped"), [((9, 30), True), ((40, 33), True), ((16, 16), False)]
)
def test_answers_are_the_same_through_raster_bands(folders, tmp_path, size, is_regrouped):
    home, _ = folders
    file = tmp_path / "a.png"
    generator = torch.Generator().manual_seed(size[0])
    pixels = torch.randint(0, 256, (*size, 3), dtype=torch.uint8, generator=generator)
    Image.fromarray(pixels.numpy()).save(file)
    piece = {"type": "image", "path": str(file)}
    asked = [{"role": "user", "content": [piece, {"type": "text", "text": "What is it?"}]}]
    wanted = mmcore.load(home / "own", device="cpu").generate(asked, max_new_tokens=10)

    model = AutoModelForImageTextToText.from_pretrained(home / "hf")
    processor = AutoProcessor.from_pretrained(home / "hf")
    inputs = processor.apply_chat_template(asked)
    outputs = model.generate(**inputs, max_new_tokens=10)
    new = outputs[:, inputs["input_ids"].shape[1] :]
    assert processor.batch_decode(new, skip_special_tokens=True)[0].strip() == wanted
    # Tiles below one another are bands as they are.
    assert ("patch_order" in inputs) == is_regrouped
    beams = model.generate(**inputs, max_new_tokens=4, num_beams=2)
    uncached = model.generate(**inputs, max_new_tokens=4, num_beams=2, use_cache=False)
    assert torch.equal(beams, uncached)
