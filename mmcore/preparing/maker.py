"""The files of one unit: pairs with what the model thinks of them, and pairs of its own making."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import attrs

from mmcore.data.references import fingerprint
from mmcore.interfaces import ImagePart, PairReference, Rejection, Sample, SampleKey, TextPart
from mmcore.kit.pair_rows import pair_row
from mmcore.kit.seeds import seed_of
from mmcore.preparing.asking import Asked, Reference
from mmcore.preparing.pictures import keep
from mmcore.preparing.work import Unit
from mmcore.run_folder.folder import write_whole

GIVEN, NOISED = "given", "noised"
"""Names of the files: pairs as the sources have them, and those with an answer to noised pictures
in the worse one's place."""


@attrs.frozen
class Noised:
    """How the second worse answers are made.

    Attributes:
        step: of the noise, 0 to 999.
        longest: tokens of an answer, at most.
    """

    step: int
    longest: int


@attrs.frozen
class Counts:
    """What became of rows; of a unit, or of all.

    Attributes:
        rows: that were read.
        given, noised: pairs that were written.
        agreed: of the given ones, those of which the model itself finds the preferred answer
            likelier.
        cut: of the noised ones, those whose answer was cut off at the longest length.
        rejected: key, reason and detail of what could not be used.
    """

    rows: int = 0
    given: int = 0
    noised: int = 0
    agreed: int = 0
    cut: int = 0
    rejected: tuple[tuple[str, str, str], ...] = ()

    def __add__(self, other: Counts) -> Counts:
        mine, theirs = attrs.astuple(self), attrs.astuple(other)
        return Counts(*(one + two for one, two in zip(mine, theirs, strict=True)))

    @classmethod
    def from_json(cls, table: Mapping[str, Any]) -> Counts:
        return cls(**{**table, "rejected": tuple(map(tuple, table["rejected"]))})

    @property
    def reasons(self) -> dict[str, int]:
        return dict(Counter(reason for _, reason, _ in self.rejected).most_common())


@attrs.frozen(eq=False)
class Maker:
    """Makes the files of one unit after another."""

    reference: Reference
    folder: Path
    noise: Noised | None
    seed: int

    def make(self, unit: Unit) -> Counts:
        """Write the unit's files, except for its receipt."""
        rejected: list[tuple[str, str, str]] = []

        def reject(key: SampleKey, rejection: Rejection) -> None:
            rejected.append((str(key), rejection.reason, rejection.detail))

        given = list(self._referred(self._parsed(unit, reject), unit, reject))
        answered: list[tuple[Sample, bool]] = []
        noised: list[tuple[Sample, PairReference]] = []
        if self.noise is not None:
            answered = list(self._answered([pair for pair, _ in given], self.noise, reject))
            noised = list(self._referred([pair for pair, _ in answered], unit, reject))
        cut = {pair.key for pair, was_cut in answered if was_cut}
        self._write(GIVEN, unit, given, {})
        if self.noise is not None:
            self._write(NOISED, unit, noised, {"noise_step": self.noise.step})
        return Counts(
            rows=unit.rows,
            given=len(given),
            noised=len(noised),
            agreed=sum(one.preferred > one.dispreferred for _, one in given),
            cut=sum(pair.key in cut for pair, _ in noised),
            rejected=tuple(rejected),
        )

    def _parsed(self, unit: Unit, reject: Callable[[SampleKey, Rejection], None]) -> list[Sample]:
        found = []
        for key, row in unit.read():
            try:
                sample = unit.reader.parse(row, key)
                if not sample.dispreferred:
                    raise Rejection("no-rejected-answer", "the sample has no worse answer")
            except Rejection as rejection:
                reject(key, rejection)
            else:
                found.append(attrs.evolve(sample, reference=None))
        return found

    def _referred(
        self,
        pairs: Iterable[Sample],
        unit: Unit,
        reject: Callable[[SampleKey, Rejection], None],
    ) -> Iterable[tuple[Sample, PairReference]]:
        """The pairs that can be used, with what the model thinks of their answers."""
        asked = []
        for pair in pairs:
            try:
                [sample] = self.reference.preparer.tokenize(pair, unit.reader.spec.overflow)
            except Rejection as rejection:
                reject(pair.key, rejection)
            else:
                asked.append(Asked(sample, (pair, fingerprint(sample))))
        for (pair, tokens), told in self.reference.log_probabilities(asked):
            if isinstance(told, Rejection):
                reject(pair.key, told)
            else:
                yield pair, PairReference(told[0], told[1], tokens)

    def _answered(
        self,
        pairs: Sequence[Sample],
        noise: Noised,
        reject: Callable[[SampleKey, Rejection], None],
    ) -> Iterable[tuple[Sample, bool]]:
        """The pairs with the model's own answer to noised pictures as the worse one; and whether
        it was cut off."""
        asked, seeds = [], []
        for pair in pairs:
            try:
                if not any(isinstance(part, ImagePart) for part in pair.question):
                    raise Rejection(
                        "noised-without-picture", "the question shows none to put noise on"
                    )
                prompt = self.reference.preparer.prompt(pair.key, pair.question)
                if prompt.tokens + noise.longest > self.reference.context:
                    raise Rejection(
                        "noised-without-room",
                        f"a question of {prompt.tokens} tokens and an answer of {noise.longest}; "
                        f"the LLM reads {self.reference.context}",
                    )
            except Rejection as rejection:
                reject(pair.key, rejection)
            else:
                asked.append(Asked(prompt, pair))
                seeds.append(seed_of(self.seed, "noise", str(pair.key)))
        answers = self.reference.answers(asked, step=noise.step, seeds=seeds, longest=noise.longest)
        for pair, told in answers:
            try:
                if isinstance(told, Rejection):
                    raise told
                yield _with_worse(pair, told.text), told.cut
            except Rejection as rejection:
                reject(pair.key, rejection)

    def _write(
        self,
        kind: str,
        unit: Unit,
        pairs: Sequence[tuple[Sample, PairReference]],
        facts: Mapping[str, object],
    ) -> None:
        lines = []
        for pair, reference in pairs:
            row = pair_row(pair, reference, lambda ref: keep(self.folder, ref))
            lines.append(json.dumps({**row, "of": str(pair.key), **facts}, ensure_ascii=False))
        path = self.folder / f"{kind}-{unit.number:05}.jsonl"
        write_whole(path, "".join(f"{line}\n" for line in lines))


def _with_worse(pair: Sample, answer: str) -> Sample:
    """The same question and preferred answer beside another worse one.

    Raises:
        Rejection: ``noised-answer-empty`` or ``noised-answer-equal``: there is nothing to compare.
    """
    better = "".join(part.text for part in pair.answer if isinstance(part, TextPart))
    if not answer:
        raise Rejection("noised-answer-empty", "to the noised picture the model said nothing")
    if answer == better.strip():
        raise Rejection("noised-answer-equal", f"to the noised picture it also said {answer!r}")
    return attrs.evolve(pair, dispreferred=(TextPart(answer, "assistant"),))
