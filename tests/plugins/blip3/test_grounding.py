"""Grounded captions: three forms from a Python literal that is never evaluated; the OCR-HD twin."""

import io

import pytest
from PIL import Image

from mmcore.interfaces import ImagePart, ImageRef, Rejection, SyntheticContent, TextPart
from mmcore.kit.picture_bytes import picture_bytes
from mmcore.testing.source import check_source
from mmcore_blip3.annotations_spec import Blip3GroundingSpec, Blip3OcrHdSpec
from mmcore_blip3.blip3_grounding import MAX_LITERAL, choose_form

LITERAL = (
    "[['A dog (in the center) on grass.', 0, False], ['alt. A dog', 0, True], "
    "['A dog (starts at [0.1, 0.2] and extends upto [0.5, 0.9])', 1, False], "
    '("<object>dog</object><bbox>[0.100, 0.200][0.500, 0.900]</bbox>", 2, False)]'
)


@pytest.fixture
def read(write_parquet, key):
    def one(captions=LITERAL, **keys):
        path = write_parquet(
            {
                "url": ["http://x/e.jpg"],
                "cogvlm_caption": ["A dog on grass."],
                "captions": [captions],
                "image_bytes": [b"p"],
            }
        )
        source = Blip3GroundingSpec(path=str(path), **keys).open()
        (shard,) = source.shards()
        (row,) = source.rows(shard, 0, 1)
        return source.parse(row, key)

    return one


@pytest.mark.parametrize("spec", [Blip3GroundingSpec, Blip3OcrHdSpec])
@pytest.mark.parametrize("keys", [{}, {"granularity": 2, "with_alt_text": True}])
def test_keeps_the_contract_of_sources(spec, keys, tmp_path):
    check_source(spec(path="x/*", **keys), tmp_path / "made-up")


@pytest.mark.parametrize(
    ("keys", "text"),
    [
        ({}, "A dog (in the center) on grass."),
        ({"with_alt_text": True}, "alt. A dog"),
        ({"granularity": 1}, "A dog (starts at [0.1, 0.2] and extends upto [0.5, 0.9])"),
        ({"granularity": 2}, "<object>dog</object><bbox>[0.100, 0.200][0.500, 0.900]</bbox>"),
        ({"plain": True}, "A dog on grass."),
    ],
)
def test_form_is_chosen(keys, text, read):
    assert read(**keys).parts == (ImagePart(ImageRef(data=b"p")), TextPart(text))


@pytest.mark.parametrize(
    ("captions", "reason"),
    [
        ("[", "malformed-literal"),
        ("3", "malformed-literal"),
        ("[3]", "malformed-literal"),
        ("[0x" + "f" * 10_000 + "]", "malformed-literal"),  # too long to be written in decimals
        ("[['a', 0]]", "malformed-literal"),
        ("[[5, 0, False]]", "malformed-literal"),
        ("__import__('os').system('true')", "malformed-literal"),
        ("(" * 50_000, "malformed-literal"),
        ("-" * 50_000 + "1", "malformed-literal"),
        (r"[['\ud800', 0, False]]", "malformed-literal"),
        (r"[['a\x00', 0, False]]", "malformed-row"),
        ("[['', 0, False]]", "caption-missing"),
        ("[]", "caption-missing"),
        ("['" + "a" * MAX_LITERAL + "']", "malformed-literal"),
    ],
)
def test_faulty_literal_is_rejected(captions, reason):
    with pytest.raises(Rejection) as caught:
        choose_form(captions, 0, False)
    assert caught.value.reason == reason


def test_null_captions_are_rejected(read):
    with pytest.raises(Rejection, match="captions is null"):
        read(captions=None)


def test_pictures_of_ocr_hd_are_large(tmp_path, key):
    spec = Blip3OcrHdSpec(path="x")
    spec.synthesize(tmp_path / "x", SyntheticContent(rows=3))
    source = spec.relocated(tmp_path / "x").open()
    for shard in source.shards():
        for row in source.rows(shard, 0, source.length(shard)):
            picture = picture_bytes(source.parse(row, key).parts[0].ref)
            assert min(Image.open(io.BytesIO(picture)).size) > 512
