"""Preference pairs: which answers of a row are compared, in every form in which they are kept."""

import io
import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from mmcore.interfaces import ImagePart, ImageRef, Rejection, SyntheticContent, TextPart
from mmcore.kit.drawing import PAPERS
from mmcore.kit.picture_bytes import picture_bytes
from mmcore.testing.source import check_source
from mmcore_blip3.preferences_spec import PreferencePairsSpec, VlFeedbackSpec

ASPECTS = ("Helpfulness", "Visual Faithfulness", "Ethical Considerations")


def rated(response, *ratings, aspects=ASPECTS):
    judged = zip(aspects, ratings, strict=True)
    return {
        "annotations": {name: {"Rating": one, "Rationale": "so"} for name, one in judged},
        "model": "m",
        "response": response,
    }


def instruction(*completions, **changes):
    return {
        "id": "vg-1",
        "prompt": "How many dogs?",
        "models": ["a", "b", "c", "d"],
        "completions": list(completions),
        "img_path": "vg/1.jpg",
        **changes,
    }


GOOD, BAD = rated("Two dogs.", "5", "5", "4"), rated("A cat.", "2", "1", "5")


@pytest.fixture
def read(tmp_path, key):
    """Parse the one row of a file: a table goes to parquet, an object to JSON lines."""

    def one(spec, row, **keys):
        if isinstance(row, pa.Table):
            path = tmp_path / "a.parquet"
            pq.write_table(row, path)
        else:
            path = tmp_path / "a.jsonl"
            path.write_text(json.dumps(row))
        source = spec(path=str(path), **keys).open()
        (shard,) = source.shards()
        assert source.length(shard) == 1
        (raw,) = source.rows(shard, 0, 1)
        return source.parse(raw, key)

    return one


def said(sample):
    """What the assistant says, the preferred answer first."""
    return sample.parts[-1].text, *(part.text for part in sample.dispreferred)


@pytest.mark.parametrize("spec", [VlFeedbackSpec, PreferencePairsSpec])
@pytest.mark.parametrize("learn", ["pairs", "preferred"])
def test_keeps_the_contract_of_sources(tmp_path, spec, learn):
    check_source(spec(path="x/*", learn=learn), tmp_path / "made-up")
    assert spec(path="x/*", learn=learn).gives_pairs == (learn == "pairs")


def test_made_up_rows_hold_to_columns_of_other_names(tmp_path):
    columns = {"prompt_column": "question", "image_columns": ("photo",)}
    check_source(
        VlFeedbackSpec(
            path="x/*", completions_column="answers", aspects=("Helpfulness",), **columns
        ),
        tmp_path / "rated",
    )
    check_source(
        PreferencePairsSpec(path="x/*", packed_column="text", chosen_column="yes", **columns),
        tmp_path / "paired",
    )


@pytest.mark.parametrize("spec", [VlFeedbackSpec, PreferencePairsSpec])
def test_made_up_rows_prefer_what_the_picture_shows(tmp_path, key, spec):
    """Seen at the background, of which a corner is a sample."""
    made = spec(path="x")
    made.synthesize(tmp_path / "x", SyntheticContent(rows=40))
    source = made.relocated(tmp_path / "x").open()
    backgrounds = 0
    for shard in source.shards():
        for row in source.rows(shard, 0, source.length(shard)):
            sample = source.parse(row, key)
            picture, question = sample.parts[:2]
            if "background" not in question.text:
                continue
            backgrounds += 1
            with Image.open(io.BytesIO(picture_bytes(picture.ref))) as image:
                shown = image.convert("RGB").getpixel((0, 0))
            preferred, dispreferred = said(sample)
            assert PAPERS[preferred] == shown
            assert PAPERS[dispreferred] != shown
    assert backgrounds > 3


# vlfeedback


def columns_of(row, completions):
    """A table as `datasets` writes it: the picture as bytes and path."""
    judged = pa.struct({"Rating": pa.string(), "Rationale": pa.string()})
    annotations = pa.struct(dict.fromkeys(ASPECTS, judged))
    schema = {
        "id": pa.string(),
        "image": pa.struct({"bytes": pa.binary(), "path": pa.string()}),
        "prompt": pa.string(),
        "models": pa.list_(pa.string()),
        "completions": completions(annotations),
    }
    return pa.Table.from_pylist([{name: row[name] for name in schema}], schema=pa.schema(schema))


def test_highest_and_lowest_mean_of_a_record_of_lists(read):
    middle = rated("Perhaps two.", "4", "4", "4")
    listed = [middle, BAD, GOOD]
    row = instruction(image={"bytes": b"jpeg", "path": "1.jpg"})
    row["completions"] = {name: [one[name] for one in listed] for name in middle}
    table = columns_of(
        row,
        lambda annotations: pa.struct(
            {
                "annotations": pa.list_(annotations),
                "model": pa.list_(pa.string()),
                "response": pa.list_(pa.string()),
            }
        ),
    )
    sample = read(VlFeedbackSpec, table)
    assert sample.parts == (
        ImagePart(ImageRef(data=b"jpeg"), "user"),
        TextPart("How many dogs?", "user", loss=False),
        TextPart("Two dogs.", "assistant"),
    )
    assert sample.dispreferred == (TextPart("A cat.", "assistant"),)


def test_a_list_of_records_in_parquet(read):
    row = instruction(BAD, GOOD, image={"bytes": b"jpeg", "path": None})
    table = columns_of(
        row,
        lambda annotations: pa.list_(
            pa.struct({"annotations": annotations, "model": pa.string(), "response": pa.string()})
        ),
    )
    assert said(read(VlFeedbackSpec, table)) == ("Two dogs.", "A cat.")


def test_json_lines_name_the_picture(read):
    sample = read(VlFeedbackSpec, instruction(BAD, GOOD), images="/pictures")
    assert sample.parts[0] == ImagePart(ImageRef(path="vg/1.jpg", root="/pictures"), "user")
    assert said(sample) == ("Two dogs.", "A cat.")


def test_the_preferred_alone_is_a_conversation(read):
    sample = read(VlFeedbackSpec, instruction(BAD, GOOD), learn="preferred")
    assert said(sample) == ("Two dogs.",)


def test_of_equal_means_the_first_is_taken(read):
    also_good, also_bad = rated("Dogs: two.", "4", "5", "5"), rated("One.", "1", "2", "5")
    row = instruction(BAD, also_good, also_bad, GOOD)
    assert said(read(VlFeedbackSpec, row)) == ("Dogs: two.", "A cat.")


def test_answers_without_all_scores_or_words_are_not_compared(read):
    worst = rated("Worst.", "1", "1", "N/A")
    best = rated("Best.", "5", "5", None)
    mute = rated(" ", "1", "1", "1")
    row = instruction(worst, best, mute, BAD, GOOD)
    assert said(read(VlFeedbackSpec, row)) == ("Two dogs.", "A cat.")


def test_aspects_and_columns_are_recipe_keys(read):
    row = {
        "q": "Which?",
        "a": [
            rated("x", "1", aspects=["Wit"]),
            rated("y", 3.5, aspects=["Wit"]),
        ],
        "file": "1.png",
    }
    keys = {"prompt_column": "q", "completions_column": "a", "name_columns": ("file",)}
    assert said(read(VlFeedbackSpec, row, aspects=("Wit",), **keys)) == ("y", "x")


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        (instruction(GOOD), "too-few-answers"),
        (instruction(), "too-few-answers"),
        (instruction(GOOD, rated("A cat.", "2", "N/A", "5")), "scores-missing"),
        (instruction(GOOD, rated("A cat.", "nan", "1", "5")), "scores-missing"),
        (instruction(GOOD, {"response": "A cat.", "annotations": None}), "scores-missing"),
        (instruction(GOOD, rated("Dogs.", "4", "5", "5")), "answers-tied"),
        (instruction(GOOD, rated("Two dogs. ", "1", "1", "1")), "equal-answers"),
        (instruction(GOOD, BAD, prompt=" "), "empty-turn"),
        (instruction(GOOD, BAD, prompt=3), "malformed-row"),
        (instruction(GOOD, BAD, img_path=None), "image-missing"),
        (instruction(GOOD, BAD, img_path=""), "malformed-row"),
        (instruction(GOOD, BAD, prompt="<image> <image>"), "image-count"),
        (instruction(GOOD, {**BAD, "response": 3}), "malformed-row"),
        (instruction(completions=None), "malformed-row"),
        (instruction(completions=["Two."]), "malformed-row"),
        (instruction(completions={"response": ["a", "b"], "annotations": []}), "malformed-row"),
        ([], "malformed-row"),
    ],
)
def test_rows_without_a_pair_are_rejected(read, row, reason):
    with pytest.raises(Rejection) as caught:
        read(VlFeedbackSpec, row)
    assert caught.value.reason == reason


def test_text_that_is_not_utf8_spoils_one_row(read):
    encoded = pa.array([b"\xff", b"fine"])
    text = pa.Array.from_buffers(pa.string(), 2, encoded.buffers())
    answers = pa.ListArray.from_arrays([0, 2], pa.StructArray.from_arrays([text], ["response"]))
    table = pa.table({"prompt": ["q"], "completions": answers})
    with pytest.raises(Rejection, match=r"malformed-row: completions: .*UTF-8"):
        read(VlFeedbackSpec, table)


def test_a_missing_column_stops_the_run_and_is_named(read):
    with pytest.raises(ValueError, match="has no column 'completions'; it has: prompt, answers"):
        read(VlFeedbackSpec, pa.table({"prompt": ["q"], "answers": ["a"]}))


def test_other_files_are_refused(tmp_path):
    (tmp_path / "a.csv").write_text("x")
    with pytest.raises(ValueError, match=r"a\.csv is none of \.json, \.jsonl, \.parquet"):
        VlFeedbackSpec(path=str(tmp_path / "a.csv")).open().shards()


# preference-pairs

ASKED = {"role": "user", "content": "What is it?"}


def reply(text):
    return {"role": "assistant", "content": text}


@pytest.mark.parametrize(
    "row",
    [
        {"prompt": "What is it?", "chosen": "A boat.", "rejected": "A car."},
        {"prompt": [ASKED], "chosen": [reply("A boat.")], "rejected": [reply("A car.")]},
        {"chosen": [ASKED, reply("A boat.")], "rejected": [ASKED, reply("A car.")]},
        {
            "prompt": "What is it?",
            "chosen": [ASKED, reply("A boat.")],
            "rejected": [ASKED, reply("A car.")],
        },
        {
            "prompt": [{"role": "user", "content": [{"type": "text", "text": "What is it?"}]}],
            "chosen": [reply([{"type": "text", "text": "A boat."}])],
            "rejected": "A car.",
        },
    ],
)
def test_forms_in_which_text_is_kept(read, row):
    sample = read(PreferencePairsSpec, row)
    assert sample.parts == (
        TextPart("What is it?", "user", loss=False),
        TextPart("A boat.", "assistant"),
    )
    assert sample.dispreferred == (TextPart("A car.", "assistant"),)
    assert said(read(PreferencePairsSpec, row, learn="preferred")) == ("A boat.",)


def test_pictures_stand_where_the_messages_say(read):
    content = [{"type": "text", "text": "Is "}, {"type": "image"}, {"type": "text", "text": "it?"}]
    row = {
        "images": ["a.png"],
        "prompt": [{"role": "user", "content": content}],
        "chosen": "Yes.",
        "rejected": "No.",
    }
    sample = read(PreferencePairsSpec, row, images="/p")
    assert sample.question == (
        TextPart("Is ", "user", loss=False),
        ImagePart(ImageRef(path="a.png", root="/p"), "user"),
        TextPart("it?", "user", loss=False),
    )


def test_several_pictures_and_turns(read):
    turns = [ASKED, reply("A boat."), {"role": "user", "content": "And this? <image>"}]
    row = {
        "image": ["a.png", "b.png"],
        "prompt": turns,
        "chosen": "A car.",
        "rejected": "Another boat.",
    }
    sample = read(PreferencePairsSpec, row)
    shown = [p.ref.path if isinstance(p, ImagePart) else p.text for p in sample.parts]
    assert shown == ["a.png", "What is it?", "A boat.", "And this? ", "b.png", "A car."]
    assert said(sample) == ("A car.", "Another boat.")


def test_parquet_as_rlaif_v_writes_it(read):
    table = pa.table(
        {
            "ds_name": ["x"],
            "image": [{"bytes": b"jpeg", "path": "0.jpg"}],
            "question": ["What is it?"],
            "chosen": ["A boat."],
            "rejected": ["A car."],
            "image_path": ["elsewhere/0.jpg"],
        }
    )
    sample = read(PreferencePairsSpec, table, prompt_column="question")
    assert sample.parts[0] == ImagePart(ImageRef(data=b"jpeg"), "user")
    assert said(sample) == ("A boat.", "A car.")


def test_parquet_as_rlhf_v_writes_it(read):
    text = json.dumps({"question": "What is it?", "chosen": "A boat.", "rejected": "A car."})
    table = pa.table({"image": [{"bytes": b"jpeg", "path": "0.jpg"}], "text": [text]})
    keys = {"prompt_column": "question", "packed_column": "text"}
    sample = read(PreferencePairsSpec, table, **keys)
    assert sample.parts[1].text == "What is it?"
    assert said(sample) == ("A boat.", "A car.")
    with pytest.raises(Rejection, match="malformed-json: text"):
        read(PreferencePairsSpec, {"text": "{"}, **keys)


def test_parquet_of_several_encoded_pictures_and_messages(read):
    pictures = [{"bytes": b"one", "path": None}, {"bytes": None, "path": "two.png"}]
    table = pa.table(
        {
            "images": [pictures],
            "prompt": [[ASKED]],
            "chosen": [[reply("A boat.")]],
            "rejected": [[reply("A car.")]],
        }
    )
    sample = read(PreferencePairsSpec, table, images="/p")
    assert [part.ref for part in sample.parts[:2]] == [
        ImageRef(data=b"one"),
        ImageRef(path="two.png", root="/p"),
    ]
    assert said(sample) == ("A boat.", "A car.")


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"chosen": None}, "malformed-row"),
        ({"prompt": None}, "malformed-row"),
        ({"prompt": [3]}, "malformed-row"),
        ({"prompt": ""}, "empty-turn"),
        ({"chosen": " "}, "missing-answer"),
        ({"rejected": ""}, "missing-answer"),
        ({"rejected": "A boat."}, "equal-answers"),
        ({"rejected": [{**ASKED, "content": "Who?"}, reply("A car.")]}, "questions-differ"),
        ({"prompt": [ASKED, ASKED]}, "turn-order"),
        ({"prompt": [reply("Hm.")]}, "turn-order"),
        ({"prompt": [{"role": "narrator", "content": "x"}]}, "unknown-role"),
        ({"prompt": [{"role": "user", "content": [{"type": "audio"}]}]}, "malformed-row"),
        ({"prompt": "<image> What?"}, "image-count"),
        ({"image": 3}, "malformed-row"),
        ({"image": {"path": None}}, "image-missing"),
    ],
)
def test_rows_that_are_no_pair_are_rejected(read, changes, reason):
    row = {"prompt": "What is it?", "chosen": "A boat.", "rejected": "A car.", **changes}
    with pytest.raises(Rejection) as caught:
        read(PreferencePairsSpec, row)
    assert caught.value.reason == reason
