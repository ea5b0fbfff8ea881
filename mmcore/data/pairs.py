"""Making a preference pair fit a pack: the question stays whole, both answers end at one length."""

from __future__ import annotations

from collections.abc import Sequence

import attrs

from mmcore.data.fitting import Atom, Bounds, Picture, Words
from mmcore.interfaces import ImagePart, Part, Rejection, Sample


def both_turns(sample: Sample) -> tuple[tuple[Part, ...], tuple[Part, ...]]:
    """The question with the preferred answer and with the other; of the question nothing is
    learned, whatever its earlier answers say of themselves."""
    question = tuple(
        part if isinstance(part, ImagePart) else attrs.evolve(part, loss=False)
        for part in sample.question
    )
    return (*question, *sample.answer), (*question, *sample.dispreferred)


def check_pair(preferred: Sequence[Atom], dispreferred: Sequence[Atom]) -> None:
    """Whether there is anything to compare.

    Raises:
        Rejection: ``nothing-to-learn``, where an answer is not learned; ``equal-answers``.
    """
    for atoms in (preferred, dispreferred):
        if not any(words.learned and words.tokens for words in _answer(atoms)):
            raise Rejection("nothing-to-learn", "an answer of the pair has no learned token")
    asked, also_asked = _flat(_question(preferred)), _flat(_question(dispreferred))
    assert asked == also_asked, f"the text format spoke one question in two ways: {asked}"
    if _flat(_answer(preferred)) == _flat(_answer(dispreferred)):
        raise Rejection("equal-answers", "both answers of the pair are the same tokens")


def truncate_both(
    preferred: Sequence[Atom], dispreferred: Sequence[Atom], bounds: Bounds
) -> list[list[Atom]]:
    """Both with at most the same number of tokens of their answers, as many as fit together;
    nothing where the question leaves no room for a token of each."""
    question = _question(preferred)
    answers = _answer(preferred), _answer(dispreferred)
    room = bounds.room([*question, *question])
    if room < 2 or not bounds.fit(question):
        return []
    shorter = min(sum(words.tokens for words in answer) for answer in answers)
    most = max(room // 2, room - shorter)  # what the shorter one leaves is the other's
    return [[*question, *_cut(answer, most)] for answer in answers]


def _question(atoms: Sequence[Atom]) -> list[Atom]:
    """Everything before the first learned word."""
    return list(atoms[: _begin(atoms)])


def _answer(atoms: Sequence[Atom]) -> list[Words]:
    """From the first learned word on."""
    words = [atom for atom in atoms[_begin(atoms) :] if isinstance(atom, Words)]
    assert len(words) == len(atoms) - _begin(atoms), "an answer of a pair is text"
    return words


def _begin(atoms: Sequence[Atom]) -> int:
    learned = (n for n, atom in enumerate(atoms) if isinstance(atom, Words) and atom.learned)
    return next(learned, len(atoms))


def _flat(atoms: Sequence[Atom]) -> list[int | Picture]:
    """Ids and pictures, however a text format grouped them into runs."""
    flat: list[int | Picture] = []
    for atom in atoms:
        flat.extend([atom] if isinstance(atom, Picture) else atom.ids)
    return flat


def _cut(answer: Sequence[Words], most: int) -> list[Words]:
    kept = []
    for words in answer:
        kept.append(Words(words.ids[:most], words.learned))
        most -= min(most, words.tokens)
    return [words for words in kept if words.tokens]
