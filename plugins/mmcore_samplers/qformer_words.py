"""Which words a Q-Former's text tower has, said without a tokenizer."""

from __future__ import annotations

from typing import Final

CHARACTERS: Final = "characters"
"""The vocabulary that needs no file."""

VOCABULARY: Final = "vocab.txt"

CHARACTER_ROWS: Final = 110
"""Five special words, 36 letters and digits at the beginning of a word and as many within, 32
signs, and the one that begins captions."""

BERT_ROWS: Final = 30523
"""Of bert-base-uncased, and one more that begins captions, as BLIP-2 has them."""


def rows_of(vocabulary: str) -> int:
    """How many rows of embeddings go with a vocabulary, as long as a recipe does not say."""
    return CHARACTER_ROWS if vocabulary == CHARACTERS else BERT_ROWS
