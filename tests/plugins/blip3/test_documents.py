"""Interleaved documents: texts and pictures in reading order, from hand-made files."""

import io
import json
import tarfile

import pyarrow as pa
import pytest
from PIL import Image

from mmcore.interfaces import ImagePart, ImageRef, Rejection, TextPart
from mmcore.testing.source import check_source
from mmcore_blip3.documents_spec import (
    Mint1tArxivSpec,
    Mint1tHtmlSpec,
    Mint1tPdfSpec,
    ObelicsSpec,
)

ALL = (ObelicsSpec, Mint1tHtmlSpec, Mint1tPdfSpec, Mint1tArxivSpec)


@pytest.mark.parametrize("spec", ALL)
def test_keeps_the_contract_of_sources(spec, tmp_path):
    check_source(spec(path="x/*"), tmp_path / "made-up")


@pytest.fixture
def page(write_parquet, key):
    """The sample of one row of a parquet file."""

    def read(spec=ObelicsSpec, keys=None, **columns):
        types = {"image_bytes": pa.list_(pa.binary())}
        arrays = {name: pa.array([value], types.get(name)) for name, value in columns.items()}
        path = write_parquet(arrays)
        source = spec(path=str(path), **(keys or {})).open()
        (shard,) = source.shards()
        (row,) = source.rows(shard, 0, 1)
        return source.parse(row, key)

    return read


@pytest.fixture
def tarred(tmp_path, key):
    """The sample of the first row of a tar with these members."""

    def read(spec, members, **keys):
        with tarfile.open(tmp_path / "0.tar", "w") as tar:
            for name, data in members.items():
                member = tarfile.TarInfo(name)
                member.size = len(data)
                tar.addfile(member, io.BytesIO(data))
        source = spec(path=str(tmp_path / "0.tar"), **keys).open()
        (shard,) = source.shards()
        row = next(iter(source.rows(shard, 0, 1)))
        return source.parse(row, key)

    return read


def test_a_web_page_stands_in_reading_order(page):
    sample = page(
        images=["http://x/a.jpg", None, None, "http://x/b.jpg", None],
        texts=[None, " First. ", "Second.", None, "Third."],
        metadata="[{}, null, null, {}, null]",
        general_metadata="{}",
        image_bytes=[b"A", None, None, b"B", None],
    )
    assert sample.parts == (
        ImagePart(ImageRef(data=b"A")),
        TextPart("First.\n\n"),
        TextPart("Second."),
        ImagePart(ImageRef(data=b"B")),
        TextPart("Third."),
    )
    assert all(part.loss for part in sample.parts if isinstance(part, TextPart))


def test_a_dead_link_is_left_out_and_its_text_stays(page):
    sample = page(
        images=["http://x/a.jpg", None, "http://x/b.jpg", None],
        texts=[None, "One.", None, "Two."],
        image_bytes=[b"A", None, None, None],
    )
    assert sample.parts == (
        ImagePart(ImageRef(data=b"A")),
        TextPart("One.\n\n"),  # what stood between the texts is gone
        TextPart("Two."),
    )


def test_hashes_that_are_not_aligned_do_not_matter(page):
    sample = page(
        Mint1tHtmlSpec,
        {"separator": " "},
        texts=["Intro", None, "More", "", "End"],
        images=[None, "http://x/b.png", None, None, None],
        image_hashes=["ab12"],
        url="http://x",
        cc_dump="CC-MAIN-2020-05",
        image_bytes=[None, b"B", None, None, None],
    )
    assert sample.parts == (
        TextPart("Intro"),
        ImagePart(ImageRef(data=b"B")),
        TextPart("More "),
        TextPart("End"),
    )


@pytest.mark.parametrize(
    ("columns", "reason"),
    [
        ({"texts": ["a"], "images": [None, "u"], "image_bytes": [None, b"B"]}, "malformed-row"),
        ({"texts": ["a", "b"], "images": ["u", None], "image_bytes": [b"", None]}, "malformed-row"),
        ({"texts": ["a", None], "images": [None, "u"], "image_bytes": [b"B"]}, "malformed-row"),
        ({"texts": ["a", None], "images": [None, "u"], "image_bytes": None}, "malformed-row"),
        ({"texts": ["a\0", None], "images": [None, "u"], "image_bytes": [None, b"B"]}, "malformed"),
        ({"texts": ["a", None], "images": [None, "u"], "image_bytes": [None, None]}, "too-few"),
        (
            {"texts": [" ", None], "images": [None, "u"], "image_bytes": [None, b"B"]},
            "text-missing",
        ),
        ({"texts": [], "images": [], "image_bytes": []}, "text-missing"),
    ],
)
def test_a_page_that_cannot_be_used_says_why(page, columns, reason):
    types = {"texts": pa.list_(pa.string()), "images": pa.list_(pa.string())}
    typed = {name: value for name, value in columns.items() if name not in types}
    arrays = {name: pa.scalar(columns[name], types[name]).as_py() for name in types}
    with pytest.raises(Rejection, match=reason):
        page(**arrays, **typed)


def test_a_page_without_pictures_may_be_wanted(page):
    columns = {"texts": ["Only words."], "images": [None], "image_bytes": [None]}
    sample = page(keys={"min_images": 0}, **columns)
    assert sample.parts == (TextPart("Only words."),)


def test_files_without_the_pictures_bytes_say_what_is_wanted(write_parquet):
    path = write_parquet({"texts": [["a"]], "images": [["u"]], "image_hashes": [["h"]]})
    source = ObelicsSpec(path=str(path)).open()
    (shard,) = source.shards()
    with pytest.raises(ValueError, match="no column 'image_bytes'; wanted the same rows with the"):
        next(source.rows(shard, 0, 1))


def frames(*colours):
    """A TIFF of one picture for every colour, each of another size."""
    pictures = [Image.new("RGB", (10 + n, 8), colour) for n, colour in enumerate(colours)]
    out = io.BytesIO()
    pictures[0].save(out, "tiff", save_all=True, append_images=pictures[1:])
    return out.getvalue()


PDF = {
    "texts": [None, "Fig. 1 shows", None, None, "End"],
    "images": ["page_0_image_85", None, "page_1_image_7", "page_1_image_9", None],
    # The TIFF's frames in another order, and one picture without a frame.
    "image_metadata": [{"page": 1, "xref": 7}, {"page": 0, "xref": 85, "sha256": "03"}],
}


def test_a_picture_of_a_pdf_is_the_frame_of_its_metadata(tarred):
    tiff = frames("red", "blue")
    sample = tarred(Mint1tPdfSpec, {"ab.json": json.dumps(PDF).encode(), "ab.tiff": tiff})
    assert sample.parts == (
        ImagePart(ImageRef(data=tiff, frame=1)),
        TextPart("Fig. 1 shows"),
        ImagePart(ImageRef(data=tiff, frame=0)),
        TextPart("End"),
    )
    first, second = (part.ref.data for part in sample.parts if isinstance(part, ImagePart))
    assert first is second, "the bytes of a document are held once"


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"images": ["page_0_img_85", None, None, None, None]}, r"images\[0\] is 'page_0_img_85'"),
        ({"image_metadata": [{"page": 1}]}, "wanted an object with page and xref"),
        ({"image_metadata": None}, "image_metadata is None, wanted a list"),
        ({"texts": "words"}, "texts is 'words', wanted a list"),
    ],
)
def test_a_pdf_that_cannot_be_used_says_why(tarred, change, reason):
    members = {"ab.json": json.dumps({**PDF, **change}).encode(), "ab.tiff": frames("red")}
    with pytest.raises(Rejection, match=reason):
        tarred(Mint1tPdfSpec, members)


def test_a_pdf_without_its_pictures_is_rejected(tarred):
    with pytest.raises(Rejection, match="too-few-images: 0 pictures and 3 dead ones, wanted 1"):
        tarred(Mint1tPdfSpec, {"ab.json": json.dumps(PDF).encode()})
    with pytest.raises(Rejection, match="text-missing: the row has no member 'json'"):
        tarred(Mint1tPdfSpec, {"ab.tiff": frames("red")})
    with pytest.raises(Rejection, match="malformed-json"):
        tarred(Mint1tPdfSpec, {"ab.json": b"[1]", "ab.tiff": frames("red")})


def test_figures_of_a_paper_are_members_of_its_key(tarred):
    paper = {"texts": ["Intro \\\\cite{a}", None, None], "images": [None, "Fig1.PNG", "gone.png"]}
    members = {"a7.json": json.dumps(paper).encode(), "a7.Fig1.PNG": b"P"}
    sample = tarred(Mint1tArxivSpec, members)
    assert sample.parts == (TextPart("Intro \\\\cite{a}"), ImagePart(ImageRef(data=b"P")))


def test_names_of_a_papers_lists_are_recipe_keys(tarred):
    members = {"a.meta": b'{"t": ["x", null], "i": [null, "f.jpg"]}', "a.f.jpg": b"J"}
    keys = {"json_member": "meta", "texts_key": "t", "images_key": "i"}
    sample = tarred(Mint1tArxivSpec, members, **keys)
    assert sample.parts == (TextPart("x"), ImagePart(ImageRef(data=b"J")))
