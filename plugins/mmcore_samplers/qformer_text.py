"""The texts of pictures as a Q-Former's text tower reads them: BERT's words, from files or made."""

from __future__ import annotations

import string
from pathlib import Path
from typing import Final

import attrs
from tokenizers import Tokenizer
from tokenizers.models import WordPiece
from tokenizers.normalizers import BertNormalizer
from tokenizers.pre_tokenizers import BertPreTokenizer
from tokenizers.processors import TemplateProcessing

from mmcore.interfaces import PairText, WeightsError
from mmcore.kit.weights import TOKENIZER, locate
from mmcore_samplers.qformer_words import CHARACTERS, VOCABULARY

SPECIAL: Final = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
BEGIN: Final = "[DEC]"
"""Begins captions. It is the last row of the embeddings, and no text has its id."""

MOST_FILE: Final = 64 << 20
"""Bytes of a vocabulary file; BERT's has a quarter of a megabyte."""


@attrs.frozen(eq=False)
class BertText:
    """Words as BERT's ids, ``[CLS]`` before and ``[SEP]`` behind them. Can be pickled.

    Attributes:
        tokenizer: cuts off what is too long.
    """

    tokenizer: Tokenizer

    def __call__(self, words: str) -> tuple[int, ...]:
        return tuple(self.tokenizer.encode(words).ids)


def read_text(vocabulary: str, *, size: int, most: int) -> PairText:
    """The tokenizer that a recipe names.

    Args:
        vocabulary: "characters", or a folder or hub id with ``tokenizer.json`` or ``vocab.txt``.
        size: rows of the embeddings; the last one is no text's.
        most: ids of a text at the most, with those before and behind it.

    Raises:
        WeightsError: it is missing, is no BERT's, or has more words than there are rows.
    """
    tokenizer = _characters() if vocabulary == CHARACTERS else _of_folder(vocabulary)
    _check(tokenizer, vocabulary, size)
    tokenizer.no_padding()
    tokenizer.enable_truncation(max_length=most)
    return BertText(tokenizer)


def _of_folder(vocabulary: str) -> Tokenizer:
    folder = locate(vocabulary, "vocabulary")
    for name, read in ((TOKENIZER, _from_json), (VOCABULARY, _from_list)):
        path = folder / name
        if not path.is_file():
            continue
        if path.stat().st_size > MOST_FILE:
            raise WeightsError(f"vocabulary: {str(path)!r} is too large for a list of words")
        try:
            return read(path)
        except Exception as error:  # tokenizers raises plain Exceptions for whatever it dislikes
            raise WeightsError(f"vocabulary: {str(path)!r} cannot be read: {error}") from None
    raise WeightsError(f"vocabulary: {vocabulary} has neither {TOKENIZER!r} nor {VOCABULARY!r}")


def _from_json(path: Path) -> Tokenizer:
    return Tokenizer.from_file(str(path))


def _from_list(path: Path) -> Tokenizer:
    """A line for every word, as BERT was published."""
    lines = path.read_text(encoding="utf-8").removesuffix("\n").split("\n")
    return _bert({word: row for row, word in enumerate(lines)})


def _characters() -> Tokenizer:
    """Letters, digits and signs, as the beginning of a word and within one; no file is read."""
    inside = string.ascii_lowercase + string.digits
    words = [*SPECIAL, *inside, *(f"##{one}" for one in inside), *string.punctuation]
    return _bert({word: row for row, word in enumerate(words)})


def _bert(words: dict[str, int]) -> Tokenizer:
    """The tokenizer of BERT without capitals.

    Raises:
        ValueError: one of the special words is missing.
    """
    missing = [one for one in SPECIAL if one not in words]
    if missing:
        raise ValueError(f"it has no {', '.join(missing)}")
    tokenizer = Tokenizer(WordPiece(words, unk_token="[UNK]"))
    tokenizer.normalizer = BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = BertPreTokenizer()
    tokenizer.post_processor = TemplateProcessing(
        single="[CLS] $A [SEP]",
        special_tokens=[(one, words[one]) for one in ("[CLS]", "[SEP]")],
    )
    tokenizer.add_special_tokens(list(SPECIAL))
    return tokenizer


def _check(tokenizer: Tokenizer, vocabulary: str, size: int) -> None:
    words = dict(tokenizer.get_vocab())
    if [tokenizer.id_to_token(one) for one in tokenizer.encode("").ids] != ["[CLS]", "[SEP]"]:
        raise WeightsError(
            f"vocabulary: {vocabulary} puts {tokenizer.encode('').tokens} around a text, wanted "
            "['[CLS]', '[SEP]'] as BERT's tokenizer does"
        )
    begin = words.pop(BEGIN, size - 1)
    last = max(words.values())
    if begin != size - 1 or last > size - 2:
        raise WeightsError(
            f"vocabulary: {vocabulary} has {last + 1} words, and {BEGIN} behind them is row "
            f"{size - 1} of vocabulary_size = {size}: wanted vocabulary_size = {last + 2} or more"
            if begin == size - 1
            else f"vocabulary: {vocabulary} has {BEGIN} as row {begin}, wanted the last of "
            f"vocabulary_size = {size} rows; set vocabulary_size = {begin + 1}"
        )
