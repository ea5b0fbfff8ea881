"""Made-up data sets: readable by their own sources, the same every time, whole or not there."""

import io
import json
from collections import Counter

import pytest
from PIL import Image

from mmcore.interfaces import ImagePart, SampleKey, SyntheticContent, TextPart
from mmcore.kit.made_up import MARKER, write_whole
from mmcore.kit.picture_bytes import picture_bytes
from mmcore_blip3.annotations_spec import Blip3OcrSpec
from mmcore_blip3.spec import LlavaJsonSpec

SPECS = [
    LlavaJsonSpec(path="data/made-up/*.json"),
    LlavaJsonSpec(path="data/made-up/*.json", pictures=3, turns=2),
    LlavaJsonSpec(path="data/made-up/*.json", pictures=0, turns=2),
    Blip3OcrSpec(path="data/made-up/*.parquet"),
    Blip3OcrSpec(path="data/made-up/*.parquet", granularity=5, with_alt_text=True),
]


def read(spec):
    source = spec.open()
    samples = []
    for shard in source.shards():
        for number, row in enumerate(source.rows(shard, 0, source.length(shard))):
            samples.append(source.parse(row, SampleKey(spec.name, shard.name, number)))
    return samples


def contents(folder):
    files = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def texts(samples):
    return [part.text for one in samples for part in one.parts if isinstance(part, TextPart)]


@pytest.mark.parametrize("spec", SPECS)
def test_reads_what_it_wrote(spec, tmp_path):
    folder = tmp_path / "deep" / "made-up"
    spec.synthesize(folder, SyntheticContent(rows=10, seed=3))
    relocated = spec.relocated(folder)
    assert relocated.folder == folder
    samples = read(relocated)
    assert len(samples) == 10
    assert len(relocated.open().shards()) == 4
    assert len({str(sample.key) for sample in samples}) == 10
    for sample in samples:
        pictures = [part for part in sample.parts if isinstance(part, ImagePart)]
        assert len(pictures) == getattr(spec, "pictures", 1)
        for picture in pictures:
            assert Image.open(io.BytesIO(picture_bytes(picture.ref))).mode == "RGB"
        assert any(part.loss for part in sample.parts if isinstance(part, TextPart))


@pytest.mark.parametrize("spec", SPECS)
def test_same_content_gives_the_same_bytes(spec, tmp_path):
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        spec.synthesize(tmp_path / name, SyntheticContent(rows=5, seed=seed))
    a, b, c = (contents(tmp_path / name) for name in "abc")
    assert a == b
    assert a.keys() == c.keys()
    assert a != c


def test_turns_of_a_row(tmp_path):
    spec = LlavaJsonSpec(path="x.json", turns=2)
    spec.synthesize(tmp_path / "x", SyntheticContent(rows=20, topics=("word pages",)))
    for sample in read(spec.relocated(tmp_path / "x")):
        assert [part.role for part in sample.parts[1:]] == ["user", "assistant"] * 2
        assert sample.group == ""


def test_held_out_rows_ask_one_question_of_a_kind(tmp_path):
    spec = LlavaJsonSpec(path="x.json")
    spec.synthesize(
        tmp_path / "x", SyntheticContent(rows=40, held_out=True, topics=("number pages",))
    )
    samples = read(spec.relocated(tmp_path / "x"))
    assert all(len(sample.parts) == 3 for sample in samples)
    kinds = Counter(sample.group for sample in samples)
    assert len(kinds) == 4
    assert max(kinds.values()) - min(kinds.values()) <= 1


def test_conversations_about_nothing_but_words(tmp_path):
    answers = {}
    for held_out in (False, True):
        folder = tmp_path / str(held_out)
        LlavaJsonSpec(path="x.json", pictures=0).synthesize(
            folder, SyntheticContent(rows=40, held_out=held_out)
        )
        assert not (folder / "pictures").exists()
        entries = [e for path in folder.glob("part-*.json") for e in json.loads(path.read_text())]
        assert all("image" not in entry for entry in entries)
        assert all("<image>" not in turn["value"] for e in entries for turn in e["conversations"])
        answers[held_out] = {
            turn["value"]
            for entry in entries
            for turn in entry["conversations"]
            if turn["value"].isdigit()
        }
    assert answers[False]
    assert answers[False].isdisjoint(answers[True])


@pytest.mark.parametrize("topic", ["numbers", "words"])
def test_held_out_texts_are_never_trained(topic, tmp_path):
    spec = Blip3OcrSpec(path="x.parquet")
    read_texts = {}
    for held_out in (False, True):
        folder = tmp_path / str(held_out)
        content = SyntheticContent(rows=60, held_out=held_out, topics=(topic,))
        spec.synthesize(folder, content)
        read_texts[held_out] = set(texts(read(spec.relocated(folder))))
    assert read_texts[False]
    assert read_texts[False].isdisjoint(read_texts[True])


def test_ocr_captions_have_the_true_columns_and_levels(tmp_path):
    import pyarrow.parquet as pq

    Blip3OcrSpec(path="x.parquet").synthesize(tmp_path / "x", SyntheticContent(rows=2))
    table = pq.read_table(tmp_path / "x" / "001.parquet")
    assert table.column_names == ["uid", "url", "captions", "metadata", "image_bytes"]
    captions = json.loads(table["captions"][0].as_py())
    held = {(one["granularity"], one["include_datacomp_raw_cap"]) for one in captions}
    assert held == {(level, mixed) for level in range(6) for mixed in (False, True)}
    assert captions[0]["text"].startswith('The image contains the text "')


@pytest.mark.parametrize("spec", [SPECS[0], SPECS[3]])
def test_unknown_topic_leaves_nothing_behind(spec, tmp_path):
    with pytest.raises(ValueError, match="topic is 'nonsense'"):
        spec.synthesize(tmp_path / "x", SyntheticContent(rows=2, topics=("nonsense",)))
    assert list(tmp_path.iterdir()) == []


def test_made_up_twice_is_written_once(tmp_path):
    spec, content = SPECS[0], SyntheticContent(rows=2)
    spec.synthesize(tmp_path / "x", content)
    before = (tmp_path / "x" / "part-000.json").stat().st_mtime_ns
    spec.synthesize(tmp_path / "x", content)
    assert (tmp_path / "x" / "part-000.json").stat().st_mtime_ns == before


def test_other_content_is_never_overwritten(tmp_path):
    spec = SPECS[0]
    spec.synthesize(tmp_path / "x", SyntheticContent(rows=2))
    with pytest.raises(ValueError, match=r"holds made-up rows of .*'rows': 2.*wanted .*'rows': 3"):
        spec.synthesize(tmp_path / "x", SyntheticContent(rows=3))
    (tmp_path / "x" / MARKER).unlink()
    with pytest.raises(ValueError, match="was not made up"):
        spec.synthesize(tmp_path / "x", SyntheticContent(rows=2))


def test_slower_process_accepts_what_the_faster_wrote(tmp_path):
    content, folder = SyntheticContent(rows=1), tmp_path / "x"

    def faster(scratch):
        (scratch / "data").write_text("same")

    def slower(scratch):
        write_whole(folder, "test", content, {}, faster)
        (scratch / "data").write_text("same")

    write_whole(folder, "test", content, {}, slower)
    assert contents(folder).keys() == {"data", MARKER}
    assert [path.name for path in tmp_path.iterdir()] == ["x"]
