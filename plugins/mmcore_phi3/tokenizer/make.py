"""Make tokenizer.json: known words as one token each, all other text byte by byte.

Words that a small model should read letter by letter are not among the known ones, nor is any
number, so what it learned to spell carries over to words that it never saw. The special tokens,
and which of them swallow white space, are Phi-3's. Run it after a change:
``python plugins/mmcore_phi3/tokenizer/make.py``.
"""

from __future__ import annotations

import re
from pathlib import Path

from tokenizers import AddedToken, Tokenizer
from tokenizers.decoders import ByteLevel as ByteLevelDecoder
from tokenizers.models import BPE
from tokenizers.pre_tokenizers import ByteLevel

BASE = ("<unk>", "<s>", "</s>")
SPECIAL = (
    "<|endoftext|>",
    "<|assistant|>",
    "<|placeholder1|>",
    "<|placeholder2|>",
    "<|placeholder3|>",
    "<|placeholder4|>",
    "<|system|>",
    "<|end|>",
    "<|placeholder5|>",
    "<|placeholder6|>",
    "<|user|>",
)
KEEPS_SPACE = ("<unk>", "<s>", "<|endoftext|>")

SENTENCES = """
What does it say? What does the first picture say? What does the image say?
What is written? What is written at the top left? What is written on the right?
What colour is the word? What colour is the number? What colour is the background?
What colour is the word at the bottom right? What colour is the text of the second picture?
What color is the letter in the middle? Which picture says that? Which picture shows the word?
Which number is larger? Which number is smaller? Where is the word? Where is the number?
How many words are there? How many numbers are there? How many pictures are there?
Read the text. Read the word in the image. Describe the picture. Describe the image in one sentence.
Is there a number in the picture? Yes, there is. No, there is not. Who is it? When was it? Why?
The image contains the text, the text located at the top left corner, and the text located at the
bottom right corner. Located above the center, below the center, left of the center, in the center.
Located at the bottom of the image from top to bottom and left of the image from left to right.
The text starts at and extends upto the end. The text approximately starts at and extends upto it.
The ocr text lies in a bbox. A card. A white card. A yellow card. A pink card. A grey card.
A picture of a word. An image with two words. Two pictures. One word. Three numbers. Four lines.
The word is red. The background is white. The third picture says this. The fourth picture is blue.
It says that the number is on the left. They are on the same line. These words have the same colour.
A chat between a curious user and an artificial intelligence assistant. The assistant gives
helpful, detailed, and polite answers to the user's questions.
Please look at this picture and answer the question with one word or one number.
I can see some text. You can read it here. We do not know what it means, but it looks like a sign.
This page has a title, a table and a list. Each row of the table has a name and a value.
First read the top line, then the next line, and so on. If there is no text, then say so.
Our document was made to be read by a small model that has to learn from very few examples.
The sum of both numbers is shown below. All of these can also be used for other questions.
"""

ANSWERS = """
black blue green purple red brown white yellow pink grey gray orange
left right top bottom middle center centre corner above below
first second third fourth yes no one two three four five six seven eight nine ten zero none
"""


def make() -> Tokenizer:
    """The tokenizer: special tokens, 256 bytes, then words in alphabetical order."""
    tokens = [*BASE, *sorted(ByteLevel.alphabet()), *known_words()]
    tokenizer = Tokenizer(
        BPE(vocab={token: number for number, token in enumerate(tokens)}, merges=[])
    )
    tokenizer.model.ignore_merges = True  # a whole word, or else its bytes
    tokenizer.pre_tokenizer = ByteLevel(add_prefix_space=False)
    tokenizer.decoder = ByteLevelDecoder()
    tokenizer.add_special_tokens(
        [
            AddedToken(token, rstrip=token not in KEEPS_SPACE, normalized=False, special=True)
            for token in (*BASE, *SPECIAL)
        ]
    )
    return tokenizer


def known_words() -> list[str]:
    """Words of two letters and more, each as it stands after a space (Ġ) and without one; and the
    quotation mark that opens after a space, which every caption of a written text has."""
    answers = ANSWERS.split()
    words = set(re.findall(r"[A-Za-z]{2,}", SENTENCES))
    words |= {*answers, *(word.capitalize() for word in answers)}
    return sorted(words | {f"Ġ{word}" for word in words} | {'Ġ"'})


if __name__ == "__main__":
    make().save(str(Path(__file__).parent / "tokenizer.json"))
