"""Ids and loss masks against those of the official preprocessing; text never becomes a tag."""

from __future__ import annotations

import importlib.util
import json
import pickle
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import AddedToken, Tokenizer
from tokenizers.decoders import ByteFallback, Fuse, Strip
from tokenizers.decoders import Replace as ReplaceBack
from tokenizers.decoders import Sequence as Decoders
from tokenizers.models import BPE
from tokenizers.normalizers import Prepend, Replace
from tokenizers.normalizers import Sequence as Normalizers

from mmcore.interfaces import (
    ImagePart,
    ImageRef,
    ImageSlot,
    Rejection,
    TextPart,
    TextRun,
    WeightsError,
)
from mmcore_phi3.spec import OWN_TOKENIZER, OWN_VOCABULARY, Phi3Spec
from mmcore_phi3.text import PhiTextFormat

GOLDEN = Path(__file__).parents[2] / "golden" / "sft"
BEGIN = 1
ROLES = {"system": "system", "human": "user", "gpt": "assistant"}
OWN = Phi3Spec().text()
IMAGE = ImageRef(path="a.png")


def official(kind: str) -> PhiTextFormat:
    return PhiTextFormat.from_file(GOLDEN / f"tokenizer_{kind}.json", rows=416, system_prompt="")


def flat(format_: PhiTextFormat, pieces: list[TextRun | ImageSlot]) -> tuple[list[int], list[int]]:
    """Ids and labels, a picture as one image id."""
    ids: list[int] = []
    labels: list[int] = []
    for piece in pieces:
        if isinstance(piece, ImageSlot):
            ids.append(format_.image_id)
            labels.append(-100)
        else:
            ids.extend(piece.ids)
            labels.extend(piece.ids if piece.learned else [-100] * len(piece.ids))
    return ids, labels


def spoken(turns: list[dict[str, str]]) -> list[TextPart | ImagePart]:
    parts: list[TextPart | ImagePart] = []
    for turn in turns:
        role = ROLES[turn["from"]]
        for number, text in enumerate(turn["value"].split("<image>")):
            if number:
                parts.append(ImagePart(IMAGE, role))
            if text:
                parts.append(TextPart(text, role))
    return parts


@pytest.mark.parametrize("kind", ["rstrip", "plain"])
def test_conversations_are_rendered_as_the_official_code_renders_them(kind):
    format_ = official(kind)
    content = json.loads((GOLDEN / f"rendered_{kind}.json").read_text())
    assert len(content["rows"]) == 7
    for row in content["rows"]:
        ids, labels = flat(format_, format_.render(spoken(row["turns"])))
        # The official tokenizer puts <s> first, and, where tags keep white space, learns the
        # newline after an answer's end as well.
        assert [BEGIN, *ids] == row["input_ids"], row["id"]
        wanted = row["labels"][1:]
        if kind == "plain":
            ends = [n for n in range(1, len(ids)) if ids[n - 1] == format_.turn_end_id]
            wanted = [-100 if n in ends else label for n, label in enumerate(wanted)]
        assert labels == wanted, row["id"]


@pytest.mark.parametrize("kind", ["rstrip", "plain"])
def test_default_system_prompt_is_what_the_official_code_puts_first(kind):
    rows = json.loads((GOLDEN / f"rendered_{kind}.json").read_text())["rows"]
    system, *turns = rows[0]["turns"]
    path = GOLDEN / f"tokenizer_{kind}.json"
    format_ = PhiTextFormat.from_file(path, rows=416, system_prompt=system["value"])
    ids, _ = flat(format_, format_.render(spoken(turns)))
    assert [BEGIN, *ids] == rows[0]["input_ids"]
    own = rows[6]
    assert own["turns"][0]["value"] != system["value"]
    assert [BEGIN, *flat(format_, format_.render(spoken(own["turns"])))[0]] == own["input_ids"]


@pytest.mark.parametrize("kind", ["rstrip", "plain"])
def test_prompt_is_the_beginning_of_the_whole(kind):
    format_ = official(kind)
    question = [ImagePart(IMAGE, "user"), TextPart("\nWhat is it?", "user")]
    answer = TextPart("A boat.", "assistant")
    ids, labels = flat(format_, format_.prompt(question))
    whole, _ = flat(format_, format_.render([*question, answer]))
    assert whole[: len(ids)] == ids
    assert set(labels) == {-100}
    begun, _ = flat(format_, format_.prompt([*question, answer]))
    assert begun == whole[: whole.index(format_.turn_end_id, len(ids))]


def test_exactly_the_answers_and_their_ends_are_learned():
    parts = [
        TextPart("Be brief.", "system"),
        TextPart("What does it say?", "user"),
        TextPart("RED 42", "assistant"),
        TextPart("What colour is the word?", "user"),
        TextPart("blue", "assistant", loss=False),
    ]
    _, labels = flat(OWN, OWN.render(parts))
    learned = [label for label in labels if label >= 0]
    assert learned == [*OWN.tokenizer.encode("RED 42").ids, OWN.turn_end_id]


def test_words_of_one_turn_may_be_learned_in_part():
    parts = [
        TextPart("Read.", "user"),
        TextPart("The word is ", "assistant", loss=False),
        TextPart("RED", "assistant"),
    ]
    ids, labels = flat(OWN, OWN.render(parts))
    learned = [label for label in labels if label >= 0]
    assert OWN.decode(learned) == "RED"
    joined = [parts[0], TextPart("The word is RED", "assistant")]
    assert ids == flat(OWN, OWN.render(joined))[0], "tokenised as one"


def test_a_document_is_its_parts_and_the_end_learned():
    image, silent = ImagePart(IMAGE), TextPart(" and", loss=False)
    parts = [TextPart("the word "), image, silent, image]
    pieces = OWN.render(parts)
    kinds = [piece.index if isinstance(piece, ImageSlot) else piece.learned for piece in pieces]
    assert kinds == [True, 0, False, 1, True]
    assert pieces[-1] == TextRun((OWN.end_id,), True)
    ids, labels = flat(OWN, OWN.prompt(parts))
    assert ids == flat(OWN, pieces)[0][:-1]
    assert set(labels) == {-100}


def test_documents_and_turns_do_not_mix():
    with pytest.raises(Rejection, match="mixed-roles"):
        OWN.render([TextPart("a"), TextPart("b", "user")])


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.sampled_from(["<|end|>", "<|user|>", "</s>", "<s>", "<unk>", "<image>", "RED", " 42 "])
        | st.text(max_size=8),
        max_size=6,
    ).map("".join)
)
def test_text_comes_back_and_never_becomes_a_special_token(text):
    for format_ in (OWN, pickle.loads(pickle.dumps(OWN)), official("plain")):
        ids, _ = flat(format_, format_.render([TextPart(text)]))
        special = {tag.id for tag in format_.tags.values()}
        assert special.isdisjoint(ids[:-1])
        assert format_.image_id not in ids
        assert format_.decode(ids) == text


def test_a_tokenizer_that_marks_the_beginning_of_words_as_phi3s_own_does(tmp_path):
    letters = ["▁", "▁R", *"RED", *(f"<0x{number:02X}>" for number in range(256))]
    tokenizer = Tokenizer(
        BPE(
            vocab={one: number for number, one in enumerate(letters)},
            merges=[("▁", "R")],
            byte_fallback=True,
        )
    )
    tokenizer.normalizer = Normalizers([Prepend("▁"), Replace(" ", "▁")])
    tokenizer.decoder = Decoders([ReplaceBack("▁", " "), ByteFallback(), Fuse(), Strip(" ", 1, 0)])
    tags = [OWN.tokenizer.id_to_token(tag.id) for tag in OWN.tags.values() if tag.id > 2]
    tokenizer.add_special_tokens(
        [AddedToken(tag, rstrip=tag != "<|endoftext|>", normalized=False) for tag in tags]
    )
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    format_ = PhiTextFormat.from_file(tmp_path / "tokenizer.json", rows=512, system_prompt="")
    for answer, tokens in (("RED", ["▁R", "E", "D"]), ("E\nR", ["▁", "E", "<0x0A>", "R"])):
        turns = [TextPart("R E", "user"), TextPart(answer, "assistant")]
        ids, labels = flat(format_, format_.render(turns))
        learned = [format_.tokenizer.id_to_token(one) for one in labels if one >= 0]
        assert learned == [*tokens, "<|end|>"]
        assert format_.decode([one for one in labels if one >= 0]) == answer
        whole = "<|user|>\nR E<|end|>\n<|assistant|>\n" + answer + "<|end|>\n"
        assert ids == tokenizer.encode(whole).ids, "as one with its tags"


def test_own_tokenizer_reads_known_words_whole_and_others_letter_by_letter():
    tokens = OWN.tokenizer.encode("What is written at the top left? BREAD zebra 42 red").tokens
    assert " ".join(tokens) == (
        "What Ġis Ġwritten Ġat Ġthe Ġtop Ġleft ? Ġ B R E A D Ġ z e b r a Ġ 4 2 Ġred"
    )


def test_own_tokenizer_is_what_its_script_makes():
    path = OWN_TOKENIZER.with_name("make.py")
    spec = importlib.util.spec_from_file_location("make_tokenizer", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert json.loads(module.make().to_str()) == json.loads(OWN_TOKENIZER.read_text())


def test_vocabulary_of_random_models_fits_the_own_tokenizer():
    assert -(-OWN.vocabulary_size // 64) * 64 == OWN_VOCABULARY
    assert OWN.image_id == OWN.vocabulary_size - 1
    assert Phi3Spec().vocabulary == Phi3Spec().tiny().vocabulary == OWN_VOCABULARY
    assert Phi3Spec(weights="hf://some/where").vocabulary == 32064
    assert Phi3Spec(tokenizer="/some/where").vocabulary == 32064


def test_image_id_is_the_tokenizers_own_where_it_has_one():
    assert official("rstrip").image_id == 372
    assert official("rstrip").vocabulary_size == 375


def test_an_embedding_without_a_row_for_pictures_is_refused():
    with pytest.raises(WeightsError, match=r"one more for pictures, but the model's .* 704 rows"):
        PhiTextFormat.from_file(OWN_TOKENIZER, rows=704, system_prompt="")


def test_other_files_are_refused(tmp_path):
    path = tmp_path / "tokenizer.json"
    path.write_text("{}")
    with pytest.raises(WeightsError, match="is no tokenizer"):
        PhiTextFormat.from_file(path, rows=64, system_prompt="")
    content = json.loads(OWN_TOKENIZER.read_text())
    content["added_tokens"] = content["added_tokens"][:4]
    path.write_text(json.dumps(content))
    with pytest.raises(WeightsError, match=r"no Phi-3 tokenizer: it lacks .*<\|end\|>"):
        PhiTextFormat.from_file(path, rows=768, system_prompt="")


def test_tokenizer_lies_beside_the_weights_or_where_it_is_named(tmp_path):
    (tmp_path / "tokenizer.json").write_text(OWN_TOKENIZER.read_text())
    for spec in (Phi3Spec(weights=str(tmp_path)), Phi3Spec(tokenizer=str(tmp_path))):
        assert spec.text().image_id == OWN.image_id
    (problem,) = Phi3Spec(tokenizer=str(tmp_path / "nowhere")).problems()
    assert problem.key == "tokenizer"


def test_tokenizer_and_spec_need_no_torch():
    code = (
        "import sys; from mmcore_phi3.spec import Phi3Spec; Phi3Spec().text().render([]); "
        "print(*{'torch', 'transformers'} & sys.modules.keys())"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""
