"""Hugging Face datasets: saved, prepared and streamed; nothing is fetched, nothing decoded."""

import json

import datasets
import pytest

from mmcore.interfaces import Rejection, SyntheticContent
from mmcore.testing.source import check_source
from mmcore_registry import Problem
from mmcore_sources import hf_source, hf_spec
from mmcore_sources.hf_spec import HfSpec

FORMS = {
    "captions": {},
    "streamed": {"streaming": True, "split": "validation"},
    "conversations": {"conversations_column": "conversations", "group_column": "kind"},
    "questions": {"question_column": "q", "answer_column": "a", "image_columns": ("x", "y")},
    "words alone": {"image_columns": (), "conversations_column": "talk", "streaming": True},
}


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    """Prepared datasets of a test lie in its own folder; progress bars say nothing."""
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    datasets.disable_progress_bars()


@pytest.mark.parametrize("keys", FORMS.values(), ids=FORMS)
def test_keeps_the_contract_of_sources(keys, tmp_path):
    check_source(HfSpec(path="x", **keys), tmp_path / "made-up")


def test_same_content_gives_the_same_rows(tmp_path, read):
    rows = []
    for name in "ab":
        spec = HfSpec(path="x", **FORMS["conversations"])
        spec.synthesize(tmp_path / name, SyntheticContent(rows=5, seed=2))
        rows.append(read(spec.relocated(tmp_path / name)))
    assert rows[0] == rows[1]
    assert len(rows[0]) == 5


@pytest.fixture
def captions(pictures):
    """Seven rows with all that can go wrong, under Hugging Face's own features."""
    rows = {
        "image": [{"bytes": one, "path": None} for one in pictures] + [None] * 4,
        "text": ["a", None, "c", "d", "e", "f", "g"],
        "n": list(range(7)),
    }
    image, text, number = datasets.Image(), datasets.Value("string"), datasets.Value("int64")
    features = datasets.Features({"image": image, "text": text, "n": number})
    return datasets.Dataset.from_dict(rows, features=features)


def seen(pictures):
    return [
        [pictures[0], "document+: a"],
        "caption-missing",
        [pictures[2], "document+: c"],
        *["image-missing"] * 4,
    ]


def test_saved_dataset(captions, pictures, tmp_path, read):
    captions.save_to_disk(tmp_path / "one", num_shards=3)
    spec = HfSpec(path=str(tmp_path / "one"))
    assert read(spec) == seen(pictures)
    source = spec.open()
    names = [f"data-{n:05}-of-00003.arrow" for n in range(3)]
    assert [shard.name for shard in source.shards()] == names
    assert [source.length(shard) for shard in source.shards()] == [3, 2, 2]


def test_saved_splits(captions, pictures, tmp_path, read):
    both = datasets.DatasetDict({"train": captions, "test": captions.select([2])})
    both.save_to_disk(tmp_path / "both")
    path = str(tmp_path / "both")
    assert read(HfSpec(path=path)) == seen(pictures)
    assert read(HfSpec(path=path, split="test")) == [[pictures[2], "document+: c"]]
    with pytest.raises(FileNotFoundError, match="no split 'dev'; it has: train, test"):
        HfSpec(path=path, split="dev").open().shards()


def test_what_was_selected_and_shuffled_is_what_was_saved(captions, tmp_path, read, pictures):
    captions.select([2, 0]).save_to_disk(tmp_path / "x")
    assert [row[1] for row in read(HfSpec(path=str(tmp_path / "x")))] == [
        "document+: c",
        "document+: a",
    ]


def test_any_rows_can_be_read_alone_and_few_at_a_time(captions, tmp_path, monkeypatch):
    monkeypatch.setattr(hf_source, "ROWS_AT_ONCE", 3)
    captions.save_to_disk(tmp_path / "x")
    source = HfSpec(path=str(tmp_path / "x")).open()
    (shard,) = source.shards()
    whole = list(source.rows(shard, 0, 7))
    assert [row["text"] for row in whole] == [b"a", None, b"c", b"d", b"e", b"f", b"g"]
    for start in range(8):
        for stop in range(start, 8):
            assert list(source.rows(shard, start, stop)) == whole[start:stop]


def test_messages_and_lists_of_pictures(pictures, tmp_path, read):
    """The chat form: contents in parts, whose keys are the same in all of them."""
    words = {"type": "text", "text": "Same?"}
    shown = {"type": "image", "text": None}
    question = {"role": "user", "content": [shown, words, shown]}
    answer = {"role": "assistant", "content": [{"type": "text", "text": "No."}]}
    rows = {
        "images": [[{"bytes": one, "path": None} for one in pictures[:2]]],
        "messages": [[question, answer]],
    }
    dataset = datasets.Dataset.from_dict(rows)
    dataset.cast_column("images", datasets.List(datasets.Image())).save_to_disk(tmp_path / "x")
    spec = HfSpec(
        path=str(tmp_path / "x"), image_columns=("images",), conversations_column="messages"
    )
    a, b, _ = pictures
    assert read(spec) == [[a, "user: Same?", b, "assistant+: No."]]


def test_questions_with_several_answers(pictures, tmp_path, read):
    rows = {
        "image": [{"bytes": one, "path": None} for one in pictures[:2]],
        "question": ["What?", "Where?"],
        "answers": [["cat", "dog", "dog"], []],
    }
    datasets.Dataset.from_dict(rows).save_to_disk(tmp_path / "x")
    spec = HfSpec(path=str(tmp_path / "x"), question_column="question", answer_column="answers")
    assert read(spec) == [[pictures[0], "user: What?", "assistant+: dog"], "missing-answer"]


@pytest.fixture
def repository(captions, tmp_path):
    """A folder laid out like a dataset of the Hub, whose README names its files."""
    folder = tmp_path / "repository"
    (folder / "shards").mkdir(parents=True)
    for number in range(2):
        part = captions.shard(2, number, contiguous=True)
        part.to_parquet(folder / "shards" / f"part{number}.parquet")
    configs = [{"config_name": "all", "data_files": [{"split": "dev", "path": "shards/*"}]}]
    (folder / "README.md").write_text(f"---\nconfigs: {json.dumps(configs)}\n---\n")
    return folder


def test_streamed_folder_is_read_where_it_lies(repository, pictures, tmp_path, read):
    spec = HfSpec(path=str(repository), split="dev", config="all", streaming=True)
    assert read(spec) == seen(pictures)
    assert [shard.name for shard in spec.open().shards()] == ["part0.parquet", "part1.parquet"]
    assert not list((tmp_path / "cache").rglob("*.arrow"))


def test_streamed_arrow_files(captions, pictures, tmp_path, read):
    captions.save_to_disk(tmp_path / "saved", num_shards=2)
    (tmp_path / "plain").mkdir()
    for path in (tmp_path / "saved").glob("*.arrow"):
        path.rename(tmp_path / "plain" / path.name)
    assert read(HfSpec(path=str(tmp_path / "plain"), streaming=True)) == seen(pictures)


def test_folder_must_be_prepared_before(repository, pictures, read):
    spec = HfSpec(path=str(repository), split="dev", config="all")
    (problem,) = spec.problems()
    assert problem.machine
    command = f"datasets.load_dataset('{repository}', 'all')"
    assert command in problem.message
    assert "streaming = true" in problem.message
    datasets.load_dataset(str(repository), "all")
    assert not list(spec.problems())
    assert read(spec) == seen(pictures)


def test_pictures_of_a_prepared_folder_are_read_where_they_lie(pictures, tmp_path, read):
    """The prepared table has their whole paths; those elsewhere stay out of reach."""
    folder = tmp_path / "photos"
    folder.mkdir()
    lines = []
    for number, data in enumerate(pictures):
        (folder / f"{number}.png").write_bytes(data)
        lines.append(json.dumps({"file_name": f"{number}.png", "text": f"{number}"}))
    (folder / "metadata.jsonl").write_text("\n".join(lines))
    prepared = datasets.load_dataset(str(folder), split="train")
    assert prepared.with_format("arrow")[:]["image"].to_pylist()[0]["bytes"] is None
    wanted = [[data, f"document+: {number}"] for number, data in enumerate(pictures)]
    assert read(HfSpec(path=str(folder))) == wanted
    (tmp_path / "elsewhere").mkdir()
    with pytest.raises(Rejection, match="image-outside-root"):
        read(HfSpec(path=str(folder), images=str(tmp_path / "elsewhere")))


def test_name_is_looked_up_in_the_cache_alone(captions, pictures, tmp_path, read, monkeypatch):
    asked = []
    monkeypatch.setattr("socket.socket.connect", lambda *where: asked.append(where))
    monkeypatch.setattr("socket.getaddrinfo", lambda *where, **_: asked.append(where) or [])
    spec = HfSpec(path="me/mine")
    assert "nothing is fetched or copied" in next(iter(spec.problems())).message
    folder = tmp_path / "cache" / "me___mine" / "default" / "0.0.0" / "abc"
    captions.save_to_disk(tmp_path / "saved")
    folder.mkdir(parents=True)
    (tmp_path / "saved" / "data-00000-of-00001.arrow").rename(folder / "mine-train.arrow")
    info = datasets.DatasetInfo(
        features=captions.features,
        builder_name="mine",
        dataset_name="mine",
        config_name="default",
        version="0.0.0",
        splits=datasets.SplitDict(
            {"train": datasets.SplitInfo("train", num_examples=7, dataset_name="mine")}
        ),
    )
    info.write_to_directory(folder)
    assert read(spec) == seen(pictures)
    assert not list(spec.problems())
    assert asked == []


def test_a_store_is_not_asked_by_a_check():
    assert not list(HfSpec(path="memory://nowhere", streaming=True).problems())
    assert list(HfSpec(path="memory://nowhere").problems())
    assert list(HfSpec(path="hf://datasets/me/mine", streaming=True).problems())


def test_the_hub_is_never_streamed():
    for path in ("hf://datasets/me/mine", "me/mine"):
        with pytest.raises(FileNotFoundError, match="hf download --repo-type dataset me/mine"):
            HfSpec(path=path, streaming=True).open().shards()


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("a.tar", "use = 'webdataset' reads tars"),
        ("a.jsonl", "'llava-json' reads conversations"),
        ("a.csv", "'captioned-folder' reads a metadata.csv"),
        ("a.txt", "save it as parquet"),
    ],
)
def test_files_whose_rows_cannot_be_counted_name_their_source(name, message, tmp_path):
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / name).write_bytes(b"\0" * 1024)
    with pytest.raises(ValueError, match=f"{name} cannot be streamed.*{message}"):
        HfSpec(path=str(tmp_path / "data"), streaming=True).open().shards()


def test_missing_column_and_split_are_named(captions, tmp_path):
    captions.save_to_disk(tmp_path / "x")
    source = HfSpec(path=str(tmp_path / "x"), text_column="caption").open()
    with pytest.raises(ValueError, match="has no column 'caption'; it has: image, text, n"):
        list(source.rows(source.shards()[0], 0, 1))
    with pytest.raises(ValueError, match="split"):
        HfSpec(path="x", split="train[:10%]")


def test_damaged_file_is_named(captions, tmp_path):
    captions.save_to_disk(tmp_path / "x")
    path = tmp_path / "x" / "data-00000-of-00001.arrow"
    path.write_bytes(b"not arrow at all")
    source = HfSpec(path=str(tmp_path / "x")).open()
    with pytest.raises(ValueError, match=r"data-00000-of-00001\.arrow cannot be read as Arrow"):
        source.length(source.shards()[0])


def test_without_the_package_the_extra_is_named(monkeypatch):
    monkeypatch.setattr(hf_spec, "find_spec", lambda _: None)
    spec = HfSpec(path="x")
    needed = Problem("use", "needs the package datasets", "pip install 'mmcore[hf]'", machine=True)
    assert list(spec.problems()) == [needed]
    with pytest.raises(ValueError, match=r"pip install 'mmcore\[hf\]'"):
        spec.open()
