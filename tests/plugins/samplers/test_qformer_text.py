"""The Q-Former's words: BERT's ids, whichever file they come from, and vocabularies that do not
fit."""

from __future__ import annotations

import pickle
import string

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer
from tokenizers.models import BPE
from transformers import BertTokenizer

from mmcore.interfaces import WeightsError
from mmcore_samplers.qformer_spec import QFormerSpec
from mmcore_samplers.qformer_text import SPECIAL
from mmcore_samplers.qformer_words import CHARACTER_ROWS

WORDS = [
    *SPECIAL,
    *string.ascii_lowercase,
    *(f"##{one}" for one in string.ascii_lowercase),
    *string.punctuation,
    *("the", "cat", "##s", "sit", "##ting", "两", "on", "##ly", "2", "##0"),
]
WORDS = list(dict.fromkeys(WORDS))
TEXTS = [
    "The cats sit, sitting ONLY on 200 cats!",
    "  naïve Café\tcat\n两两 𝒳 ",
    "",
    "cat " * 50,
    "a" * 300,
    "[SEP] the [CLS] cat [dec]",
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("bert")
    (folder / "vocab.txt").write_text("\n".join(WORDS) + "\n", encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def theirs(folder):
    return BertTokenizer(str(folder / "vocab.txt"))


def spec(folder, **changes):
    made = QFormerSpec(vocabulary=str(folder), vocabulary_size=len(WORDS) + 1)
    return attrs.evolve(made, **changes)


def want(theirs, text, most=32):
    return tuple(theirs(text, truncation=True, max_length=most)["input_ids"])


def test_ids_are_berts(folder, theirs):
    read = spec(folder).pair_text()
    for text in TEXTS:
        assert read(text) == want(theirs, text), text
    assert len(read(TEXTS[3])) == 32
    short = spec(folder, text_tokens=5).pair_text()
    assert short("the cat sits on") == want(theirs, "the cat sits on", 5)


@given(st.text(st.sampled_from("the cats 20,.ÄßéİΣ两[]#\t\x00-"), max_size=40))
def test_ids_are_berts_whatever_is_said(folder, theirs, text):
    assert spec(folder).pair_text()(text) == want(theirs, text)


def test_a_saved_tokenizer_gives_the_same_ids(folder, theirs, tmp_path):
    theirs.save_pretrained(tmp_path)
    (tmp_path / "vocab.txt").unlink(missing_ok=True)
    read, other = spec(folder).pair_text(), spec(tmp_path).pair_text()
    assert all(read(text) == other(text) for text in TEXTS)
    assert pickle.loads(pickle.dumps(other))(TEXTS[0]) == read(TEXTS[0])


def test_a_saved_tokenizer_may_know_the_word_that_begins_captions(theirs, folder, tmp_path):
    other = BertTokenizer(str(folder / "vocab.txt"))
    other.add_special_tokens({"bos_token": "[DEC]"})
    other.save_pretrained(tmp_path)
    assert spec(tmp_path).pair_text()(TEXTS[0]) == want(theirs, TEXTS[0])
    with pytest.raises(
        WeightsError, match=rf"wanted the last .* vocabulary_size = {len(WORDS) + 1}"
    ):
        spec(tmp_path, vocabulary_size=len(WORDS) + 9).pair_text()


def test_characters_need_no_file():
    characters = QFormerSpec()
    assert characters.vocabulary_size == CHARACTER_ROWS
    read = characters.pair_text()
    words = read.tokenizer.get_vocab()
    assert sorted(words.values()) == list(range(CHARACTER_ROWS - 1))
    assert read.tokenizer.encode("A cat, 2").tokens == [
        *("[CLS]", "a", "c", "##a", "##t", ",", "2", "[SEP]")
    ]


def test_berts_own_vocabulary_has_the_rows_of_blip_2():
    assert QFormerSpec(vocabulary="hf://google-bert/bert-base-uncased").vocabulary_size == 30523


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "has neither 'tokenizer.json' nor 'vocab.txt'"),
        ({"vocab.txt": "the\ncat\n"}, r"it has no \[PAD\], \[UNK\], \[CLS\], \[SEP\], \[MASK\]"),
        ({"vocab.txt": b"\xff\xfe"}, "cannot be read"),
        ({"tokenizer.json": "{}"}, "cannot be read"),
        ({"tokenizer.json": Tokenizer(BPE()).to_str()}, r"wanted \['\[CLS\]', '\[SEP\]'\]"),
        ({"vocab.txt": "\n".join(WORDS)}, f"wanted vocabulary_size = {len(WORDS) + 1} or more"),
    ],
)
def test_what_is_no_vocabulary_is_refused(tmp_path, content, said):
    for name, text in (content or {}).items():
        (tmp_path / name).write_bytes(text if isinstance(text, bytes) else text.encode())
    refused = QFormerSpec(vocabulary=str(tmp_path), vocabulary_size=len(WORDS))
    with pytest.raises(WeightsError, match=said):
        refused.pair_text()
    [problem] = refused.problems()
    assert (problem.key, problem.machine) == ("vocabulary", False)


def test_a_vocabulary_that_is_not_here_is_this_machines_lack():
    away = QFormerSpec(vocabulary="/nowhere/bert")
    [problem] = away.problems()
    assert (problem.key, problem.machine) == ("vocabulary", True)
    assert problem.message == "vocabulary: no folder '/nowhere/bert'"
    assert not list(attrs.evolve(away, text_tower=False).problems())
    hub = QFormerSpec(vocabulary="hf://google-bert/bert-base-uncased")
    assert [one.key for one in hub.wants()] == ["vocabulary"]
    assert not list(attrs.evolve(hub, text_tower=False).wants())
