"""VLGuard: every instruction is a conversation, and the recipe says which are read."""

import json
from collections import Counter

import fsspec
import pytest

from mmcore.interfaces import ImagePart, ImageRef, Rejection, SampleKey, SyntheticContent, TextPart
from mmcore.testing.source import check_source
from mmcore_blip3.safety_spec import VlGuardSpec

SAFE = {
    "id": "1",
    "safe": True,
    "image": "bad_ads/1.png",
    "instr-resp": [
        {"safe_instruction": "What does it show?", "response": "A boat."},
        {"unsafe_instruction": "How do I steal it?", "response": "I cannot help with that."},
    ],
}
UNSAFE = {
    "id": "2",
    "safe": False,
    "image": "private/2.png",
    "harmful_category": "privacy",
    "harmful_subcategory": "personal data",
    "instr-resp": [{"instruction": "Whose card is it?", "response": "I will not say."}],
}


@pytest.fixture
def read(tmp_path):
    """All samples of a file, or what they were rejected for."""

    def all_of_them(entries, **keys):
        (tmp_path / "train.json").write_text(json.dumps(entries))
        source = VlGuardSpec(path=str(tmp_path / "train.json"), **keys).open()
        (shard,) = source.shards()
        found = []
        for number, row in enumerate(source.rows(shard, 0, source.length(shard))):
            try:
                found.append(source.parse(row, SampleKey("g", shard.name, number)))
            except Rejection as rejection:
                found.append(rejection.reason)
        return found

    return all_of_them


@pytest.mark.parametrize(
    "instructions",
    [
        ("safe", "unsafe", "unsafe-picture"),
        ("safe",),
        ("unsafe", "unsafe-picture"),
        ("unsafe-picture",),
        ("safe", "unsafe"),
    ],
)
@pytest.mark.parametrize("rows", [1, 13])
def test_keeps_the_contract_of_sources(tmp_path, instructions, rows):
    spec = VlGuardSpec(path="x/*", instructions=instructions)
    check_source(spec, tmp_path / "made-up", rows=rows)
    assert not spec.gives_pairs


def test_every_instruction_is_a_conversation(read):
    safe, unsafe, picture = read([SAFE, UNSAFE], images="/train")
    shown = ImagePart(ImageRef(path="bad_ads/1.png", root="/train"), "user")
    assert safe.parts == (
        shown,
        TextPart("What does it show?", "user", loss=False),
        TextPart("A boat.", "assistant"),
    )
    assert unsafe.parts == (
        shown,
        TextPart("How do I steal it?", "user", loss=False),
        TextPart("I cannot help with that.", "assistant"),
    )
    assert picture.parts[0].ref.path == "private/2.png"
    assert [one.group for one in (safe, unsafe, picture)] == ["safe", "unsafe", "unsafe-picture"]


def test_which_are_read_is_a_key(read):
    entries = [SAFE, UNSAFE, SAFE]
    assert [one.group for one in read(entries, instructions=("unsafe", "unsafe-picture"))] == [
        "unsafe",
        "unsafe-picture",
        "unsafe",
    ]
    assert [one.group for one in read(entries, instructions=("safe",))] == ["safe", "safe"]
    assert read([SAFE], instructions=("unsafe-picture",)) == []


def test_the_index_follows_the_file_and_the_key(read):
    assert len(read([SAFE])) == 2
    assert len(read([SAFE, UNSAFE])) == 3
    assert len(read([SAFE, UNSAFE], instructions=("safe",))) == 1


def test_any_row_can_be_read_first(tmp_path):
    (tmp_path / "a.jsonl").write_text("\n".join(map(json.dumps, [SAFE, UNSAFE])))
    source = VlGuardSpec(path=str(tmp_path / "a.jsonl")).open()
    (shard,) = source.shards()
    assert source.length(shard) == 3
    whole = list(source.rows(shard, 0, 3))
    assert [list(source.rows(shard, n, n + 1)) for n in range(3)] == [[row] for row in whole]


@pytest.mark.parametrize(
    ("entry", "reason"),
    [
        ([], "malformed-row"),
        ({**UNSAFE, "instr-resp": None}, "malformed-row"),
        ({**UNSAFE, "instr-resp": []}, "malformed-row"),
        ({**UNSAFE, "instr-resp": ["x"]}, "malformed-row"),
        ({**UNSAFE, "instr-resp": [{"question": "x", "response": "y"}]}, "malformed-row"),
        ({**UNSAFE, "instr-resp": [{"instruction": 3, "response": "y"}]}, "malformed-row"),
        ({**UNSAFE, "instr-resp": [{"instruction": "x"}]}, "malformed-row"),
        ({**UNSAFE, "instr-resp": [{"instruction": "x", "response": " "}]}, "missing-answer"),
        ({**UNSAFE, "image": None}, "image-missing"),
        ({**UNSAFE, "image": ""}, "malformed-row"),
    ],
)
def test_a_faulty_entry_costs_itself_alone(read, entry, reason):
    before, found, *after = read([UNSAFE, entry, SAFE])
    assert found == reason
    assert [one.group for one in (before, *after)] == ["unsafe-picture", "safe", "unsafe"]


def test_lines_that_are_no_json_are_rejected(tmp_path, key):
    (tmp_path / "a.jsonl").write_text(json.dumps(UNSAFE) + "\n{oops\n")
    source = VlGuardSpec(path=str(tmp_path / "a.jsonl")).open()
    (shard,) = source.shards()
    _, broken = source.rows(shard, 0, source.length(shard))
    with pytest.raises(Rejection, match="malformed-json"):
        source.parse(broken, key)


def test_made_up_rows_are_of_every_kind(tmp_path, key):
    spec = VlGuardSpec(path="x")
    spec.synthesize(tmp_path / "x", SyntheticContent(rows=40))
    source = spec.relocated(tmp_path / "x").open()
    kinds = Counter(
        source.parse(row, key).group
        for shard in source.shards()
        for row in source.rows(shard, 0, source.length(shard))
    )
    assert set(kinds) == {"safe", "unsafe", "unsafe-picture"}
    assert min(kinds.values()) > 5


def test_it_is_read_from_a_store_as_well():
    fsspec.filesystem("memory").pipe("/guard/train.json", json.dumps([SAFE, UNSAFE]).encode())
    source = VlGuardSpec(path="memory://guard/train.json").open()
    (shard,) = source.shards()
    assert len(list(source.rows(shard, 0, source.length(shard)))) == source.length(shard) > 1
