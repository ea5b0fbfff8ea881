"""OBELICS and MINT-1T from hand-made files with the published columns and members."""

import io
import itertools
import json
import tarfile

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from mmcore.data.images import decode, image_size, of_picture
from mmcore.interfaces import ImagePart, ImageRef, Rejection, SampleKey, SyntheticContent, TextPart
from mmcore.testing import check_source
from mmcore_blip3.documents_spec import (
    Mint1tArxivSpec,
    Mint1tHtmlSpec,
    Mint1tPdfSpec,
    ObelicsSpec,
)

SPECS = [
    ObelicsSpec(path="x/*"),
    Mint1tHtmlSpec(path="x/*", bytes_column="pics"),
    Mint1tPdfSpec(path="x/*"),
    Mint1tArxivSpec(path="x/*"),
    Mint1tArxivSpec(path="x/*", texts_key="t", images_key="i", image_member="fig{n}.{image}"),
]

LISTS = {
    "texts": pa.list_(pa.string()),
    "images": pa.list_(pa.string()),
    "image_hashes": pa.list_(pa.string()),
    "image_bytes": pa.list_(pa.binary()),
}


def samples(spec):
    source = spec.open()
    for shard in source.shards():
        for number, row in enumerate(source.rows(shard, 0, source.length(shard))):
            yield source.parse(row, SampleKey(spec.name, shard.name, number))


@pytest.fixture
def parquet(tmp_path):
    """``parquet({"texts": [[...]]}, ...)`` -> the file."""

    def write(columns):
        arrays = {name: pa.array(values, LISTS.get(name)) for name, values in columns.items()}
        pq.write_table(pa.table(arrays), tmp_path / "train-00000-of-01335.parquet")
        return str(tmp_path / "*.parquet")

    return write


@pytest.fixture
def tar(tmp_path):
    """``tar({"a.json": {...}, "a.tiff": b"..."})`` -> the file."""

    def write(members):
        with tarfile.open(tmp_path / "0.tar", "w") as file:
            for name, content in members.items():
                data = content if isinstance(content, bytes) else json.dumps(content).encode()
                member = tarfile.TarInfo(name)
                member.size = len(data)
                file.addfile(member, io.BytesIO(data))
        return str(tmp_path / "*.tar")

    return write


@pytest.mark.parametrize("spec", SPECS, ids=lambda spec: spec.name)
def test_keeps_the_contract_of_sources(spec, tmp_path):
    check_source(spec, tmp_path / "made-up", rows=30)


def test_obelics(parquet):
    path = parquet(
        {
            "images": [["http://x/a.jpg", None, None, "http://x/b.jpg", None], [None, "http://x"]],
            "texts": [[None, "Some paragraph.", "Another.", None, "End."], ["Gone", None]],
            "metadata": ["[{}, null, null, {}, null]", "[null, {}]"],
            "general_metadata": ['{"url": "http://x"}'] * 2,
            "image_bytes": [[b"a", None, None, None, None], [None, b""]],
        }
    )
    source = ObelicsSpec(path=path).open()
    (shard,) = source.shards()
    first, second = source.rows(shard, 0, 2)
    assert source.parse(first, SampleKey("s", "s", 0)).parts == (
        ImagePart(ImageRef(data=b"a")),
        TextPart("Some paragraph.\n\nAnother.\n\nEnd."),
    )
    with pytest.raises(Rejection, match="too-few-images: 0"):
        source.parse(second, SampleKey("s", "s", 1))


def test_mint1t_html_follows_images_and_not_the_hashes(parquet):
    path = parquet(
        {
            "texts": [["Intro", None, "More", None]],
            "images": [[None, "http://x/b.png", None, "http://x/c.png"]],
            "url": ["http://x"],
            "cc_dump": ["CC-MAIN-2020-05"],
            "image_hashes": [["ab12", "cd34"]],
            "image_bytes": [[None, b"b", None, b"c"]],
        }
    )
    (sample,) = samples(Mint1tHtmlSpec(path=path))
    assert sample.parts == (
        TextPart("Intro"),
        ImagePart(ImageRef(data=b"b")),
        TextPart("More"),
        ImagePart(ImageRef(data=b"c")),
    )


def test_bytes_beside_the_hashes_are_refused(parquet):
    path = parquet({"texts": [["Intro", None]], "image_bytes": [[b"b"]]})
    with pytest.raises(Rejection, match="malformed-row: 2 texts and 1 images"):
        list(samples(Mint1tHtmlSpec(path=path)))


@pytest.mark.parametrize("spec", [ObelicsSpec, Mint1tHtmlSpec])
def test_published_files_without_bytes_are_refused(spec, parquet):
    path = parquet({"texts": [["a", None]], "images": [[None, "http://x"]]})
    with pytest.raises(ValueError, match=r"no column 'image_bytes'.*fetches nothing.*texts, im"):
        list(samples(spec(path=path)))
    with pytest.raises(ValueError, match="no column 'texts'"):
        list(samples(spec(path=parquet({"image_bytes": [[b"a"]]}))))


def test_keys_reach_the_layout(parquet):
    path = parquet({"texts": [["a", "b", None]], "image_bytes": [[None, None, b"x"]]})
    (sample,) = samples(ObelicsSpec(path=path, text_separator=" / "))
    assert sample.parts[0] == TextPart("a / b")
    with pytest.raises(Rejection, match="too-few-images"):
        list(samples(ObelicsSpec(path=path, min_images=2)))


PDF = {
    "texts": [None, "Fig. 1 shows...", None, "Fig. 2", None],
    "images": ["page_0_image_85", None, "page_1_image_7", None, "page_2_image_85"],
    # Frames are not in reading order, the page alone or the number alone is not enough, and the
    # last slot has no entry.
    "image_metadata": [
        {"page": 1, "xref": 7, "sha256": "03", "width": 5, "height": 4},
        {"page": 1, "xref": 85, "sha256": "04", "width": 8, "height": 8},
        {"page": 0, "xref": 85, "sha256": "05", "width": 9, "height": 6},
    ],
    "language_id_whole_page_fasttext": {"en": 0.9},
    "bff_contained_ngram_count_before_dedupe": 3,
    "pdf_name": "a.pdf",
}
KEY = "0123456789abcdef0123456789abcdef"


def tiff():
    looks = [((5, 4), "red"), ((8, 8), "lime"), ((9, 6), "blue")]
    first, *others = (Image.new("RGB", size, colour) for size, colour in looks)
    out = io.BytesIO()
    first.save(out, "TIFF", save_all=True, append_images=others)
    return out.getvalue()


def test_mint1t_pdf_finds_the_frame_of_every_slot(tar):
    (sample,) = samples(Mint1tPdfSpec(path=tar({f"{KEY}.json": PDF, f"{KEY}.tiff": tiff()})))
    first, text, second, rest = sample.parts
    assert (text, rest) == (TextPart("Fig. 1 shows..."), TextPart("Fig. 2"))
    assert of_picture(first.ref, decode).getpixel((8, 5)) == (0, 0, 255)
    assert of_picture(second.ref, decode).getpixel((4, 3)) == (255, 0, 0)
    assert [of_picture(one.ref, image_size) for one in (first, second)] == [(9, 6), (5, 4)]
    # All pictures share the one file, however large it is.
    assert first.ref.data is second.ref.data


def test_mint1t_pdf_leaves_small_pictures_out_by_their_metadata(tar):
    path = tar({f"{KEY}.json": PDF, f"{KEY}.tiff": b"never opened"})
    (sample,) = samples(Mint1tPdfSpec(path=path, min_side=5))
    assert sample.parts == (
        ImagePart(ImageRef(data=b"never opened", frame=2)),
        TextPart("Fig. 1 shows...\n\nFig. 2"),
    )


def test_frame_that_the_file_lacks_is_rejected_when_read(tar):
    out = io.BytesIO()
    Image.new("RGB", (3, 3)).save(out, "TIFF")
    (sample,) = samples(Mint1tPdfSpec(path=tar({"a.json": PDF, "a.tiff": out.getvalue()})))
    with pytest.raises(Rejection, match="frame-missing: frame 2"):
        of_picture(sample.parts[0].ref, image_size)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"images": ["figure 1", None, None, None, None]}, "malformed-row: a picture is 'figure"),
        ({"images": [f"page_{'9' * 5000}_image_1", *[None] * 4]}, "malformed-row: a picture is"),
        ({"images": [3, None, None, None, None]}, "malformed-row: a picture is 3"),
        ({"image_metadata": 3}, "malformed-row: image_metadata is 3"),
        ({"image_metadata": [{"page": 0}]}, r"malformed-row: image_metadata\[0\]"),
        ({"image_metadata": None}, "too-few-images"),
        ({"texts": None}, "malformed-row"),
    ],
)
def test_faulty_pdf_documents(change, reason, tar):
    path = tar({"a.json": PDF | change, "a.tiff": b"t"})
    with pytest.raises(Rejection, match=reason):
        list(samples(Mint1tPdfSpec(path=path)))


@pytest.mark.parametrize(
    ("members", "reason"),
    [
        ({"a.json": PDF}, "image-missing"),
        ({"a.tiff": b"t"}, "text-missing"),
        ({"a.json": b"{", "a.tiff": b"t"}, "malformed-json"),
        ({"a.json": [], "a.tiff": b"t"}, "malformed-row"),
    ],
)
def test_faulty_members(members, reason, tar):
    with pytest.raises(Rejection, match=reason):
        list(samples(Mint1tPdfSpec(path=tar(members))))


def test_document_in_which_a_tar_was_cut_is_rejected(tar, tmp_path):
    spec = Mint1tPdfSpec(path=tar({"a.json": PDF, "a.tiff": b"t" * 2000}))
    file = tmp_path / "0.tar"
    file.write_bytes(file.read_bytes()[:3000])
    with (
        pytest.warns(UserWarning, match="row 0 is rejected"),
        pytest.raises(Rejection, match="tar-cut"),
    ):
        list(samples(spec))


def test_mint1t_arxiv_takes_names_whole_or_after_the_key(tar):
    paper = {"texts": ["1", None, "2", None, "3", None], "images": [None] * 6}
    paper["images"][1::2] = ["Fig1.PNG", f"{KEY}.fig2.png", "gone.png"]
    members = {f"{KEY}.json": paper, f"{KEY}.fig1.png": b"a", f"{KEY}.Fig2.png": b"b"}
    (sample,) = samples(Mint1tArxivSpec(path=tar(members)))
    assert sample.parts == (
        TextPart("1"),
        ImagePart(ImageRef(data=b"a")),
        TextPart("2"),
        ImagePart(ImageRef(data=b"b")),
        TextPart("3"),
    )


@pytest.mark.parametrize("paper", ["2301.12345", "1234.5678v2", "hep-th9901001", "math.GT"])
def test_papers_are_called_by_numbers_with_a_dot(paper, tar):
    document = {"texts": [None, "x"], "images": ["0.png", None]}
    path = tar({f"{paper}.json": document, f"{paper}.0.png": b"a", "2301.99999.json": document})
    key = "math" if paper == "math.GT" else paper
    spec = Mint1tArxivSpec(path=path, min_images=0)
    source = spec.open()
    (shard,) = source.shards()
    first, second = source.rows(shard, 0, source.length(shard))
    assert (first["__key__"], second["__key__"]) == (key.encode(), b"2301.99999")
    if key == paper:
        assert source.parse(first, SampleKey("s", "t", 0)).parts[0] == ImagePart(
            ImageRef(data=b"a")
        )


def test_a_key_pattern_says_otherwise(tar):
    document = {"texts": [None, "x"], "images": ["f.png", None]}
    path = tar({"a.b.c.json": document, "a.b.c.f.png": b"a"})
    (sample,) = samples(Mint1tArxivSpec(path=path, key_pattern=r".+\.c"))
    assert sample.parts[0] == ImagePart(ImageRef(data=b"a"))
    with pytest.raises(ValueError, match=r"key_pattern is '\(', wanted a regular expression: miss"):
        Mint1tArxivSpec(path=path, key_pattern="(")


def test_mint1t_arxiv_names_are_recipe_keys(tar):
    path = tar({"a.json": {"t": [None, "x", None], "i": ["f", None, "g"]}, "a.2_1.jpg": b"g"})
    keys = {"texts_key": "t", "images_key": "i", "image_member": "2_{n}.jpg"}
    (sample,) = samples(Mint1tArxivSpec(path=path, **keys))
    assert sample.parts == (TextPart("x"), ImagePart(ImageRef(data=b"g")))


def told(part):
    return part.text.split("\n\n") if isinstance(part, TextPart) else []


@pytest.mark.parametrize("spec", SPECS, ids=lambda spec: spec.name)
def test_made_up_documents_say_what_their_pictures_show(spec, tmp_path, monkeypatch):
    """A picture is the one that the next paragraph describes: drawn anew, it looks the same."""
    from mmcore_blip3 import made_up_documents

    drawn = {}
    original = made_up_documents.describe

    def watched(picture):
        drawn.setdefault(original(picture), []).append(picture.image.tobytes())
        return original(picture)

    monkeypatch.setattr(made_up_documents, "describe", watched)
    spec.synthesize(tmp_path / "x", SyntheticContent(rows=40))
    first, counts = set(), set()
    for sample in samples(spec.relocated(tmp_path / "x")):
        parts = sample.parts
        pictures = [part for part in parts if isinstance(part, ImagePart)]
        counts.add(len(pictures))
        first.add(type(parts[0]))
        for part, after in itertools.pairwise(parts):
            if isinstance(part, ImagePart):
                assert of_picture(part.ref, decode).tobytes() in drawn[told(after)[0]]
    assert counts == set(range(1, 7))
    assert first == {TextPart, ImagePart}


@pytest.mark.parametrize("spec", SPECS, ids=lambda spec: spec.name)
def test_made_up_rows_do_not_depend_on_their_number_and_hold_out(spec, tmp_path):
    def made(name, **content):
        spec.synthesize(tmp_path / name, SyntheticContent(topics=("words",), **content))
        found = samples(spec.relocated(tmp_path / name))
        return [
            [told(part) or of_picture(part.ref, decode).tobytes() for part in one.parts]
            for one in found
        ]

    few, many = made("few", rows=3), made("many", rows=8)
    assert few == many[:3]
    held = made("held", rows=8, held_out=True)

    def words(rows):
        texts = {text for row in rows for part in row if isinstance(part, list) for text in part}
        return {text.split()[0] for text in texts if "background" in text}

    assert words(held)
    assert words(many).isdisjoint(words(held))


@pytest.mark.parametrize(
    ("spec", "columns"),
    [
        (SPECS[0], ["images", "texts", "metadata", "general_metadata", "image_bytes"]),
        (SPECS[1], ["texts", "images", "url", "cc_dump", "image_hashes", "pics"]),
    ],
)
def test_made_up_parquet_has_the_true_columns_and_dead_links(spec, columns, tmp_path):
    spec.synthesize(tmp_path / "x", SyntheticContent(rows=30))
    dead = 0
    for path in sorted((tmp_path / "x").glob("*.parquet")):
        table = pq.read_table(path)
        assert table.column_names == columns
        for row in table.to_pylist():
            slots = list(zip(row["texts"], row["images"], row[columns[-1]], strict=True))
            assert all((text is None) != (link is None) for text, link, _ in slots)
            dead += sum(link is not None and data is None for _, link, data in slots)
            hashes = row.get("image_hashes")
            assert hashes is None or len(hashes) == sum(link is not None for _, link, _ in slots)
        groups = pq.ParquetFile(path).metadata
        for number in range(groups.num_row_groups):
            assert groups.row_group(number).total_byte_size < 16 * 2**20
    assert dead


def test_made_up_pdf_has_frames_out_of_reading_order_and_a_slot_without_metadata(tmp_path):
    spec = Mint1tPdfSpec(path="x")
    spec.synthesize(tmp_path / "x", SyntheticContent(rows=30))
    source = spec.relocated(tmp_path / "x").open()
    unordered = unknown = 0
    for shard in source.shards():
        for row in source.rows(shard, 0, source.length(shard)):
            document = json.loads(row["json"])
            held = [f"page_{m['page']}_image_{m['xref']}" for m in document["image_metadata"]]
            slots = [slot for slot in document["images"] if slot]
            unknown += len(slots) - len(held)
            unordered += held != [slot for slot in slots if slot in held]
            with Image.open(io.BytesIO(row["tiff"])) as file:
                assert file.n_frames == len(held)
    assert unordered
    assert unknown
