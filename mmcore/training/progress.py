"""How far a run has come: the counters that a checkpoint holds and reports are made of."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self

import attrs

from mmcore.training.spikes import HISTORY

Counts = Mapping[str, int]

SAMPLES = "samples"
"""The loader's count of samples in packs; with ``/LABEL`` behind it, of those of a source."""
DRAWN = "drawn/"
"""Prefix of the loader's counts of rows read of a source, rejected ones included."""
REJECTED = "rejected/"
"""Prefix of the loader's counts of rows rejected for a reason."""

HELD_OUT = "held_out/"
"""Prefix of the loader's counts of rows that are kept for validation."""

FITTED = ("shrunk", "split", "truncated", "dropped_pieces")
"""The loader's counts of what was done to rows that fit no pack."""


def _below(counts: Counts, prefix: str) -> dict[str, int]:
    """The counts whose names begin so, without the beginning."""
    return {name.removeprefix(prefix): n for name, n in counts.items() if name.startswith(prefix)}


def _listed(counts: Counts) -> str:
    return ", ".join(f"{name} {number:,}" for name, number in counts.items())


def _added(one: Counts, other: Mapping[str, float]) -> dict[str, int]:
    keys = sorted({*one, *other})
    return {key: one.get(key, 0) + round(other.get(key, 0)) for key in keys}


_CONTAINERS = {"counts": dict, "watched": dict, "losses": list}


@attrs.frozen(kw_only=True)
class Progress:
    """Counters of the run, and of the stage that it is in.

    Attributes:
        stage_index: number of the stage in the recipe, from 0.
        stage: its name.
        finished: whether the stage's budget is spent.
        step, tokens, samples: of the whole run.
        stage_step, stage_tokens: of the stage.
        counts: of the stage, by the loader's names, such as ``samples``, ``drawn/llava-json``,
            ``split``, ``rejected/image-missing``.
        skipped: steps of the stage that changed nothing, for the gradient was not finite.
        skipped_in_a_row: how many of them were the latest.
        watched: what ``EarlyStop`` remembers of the stage.
        ended_early: why the stage ended before its budget was spent, or empty.
        losses: of the stage's latest steps, those that were finite; what a spike is told by.
        validation_due: whether the latest step's validation was put off, as the run was to stop.
    """

    stage_index: int = 0
    stage: str = ""
    finished: bool = False
    step: int = 0
    tokens: int = 0
    samples: int = 0
    stage_step: int = 0
    stage_tokens: int = 0
    counts: Counts = attrs.field(factory=dict)
    skipped: int = 0
    skipped_in_a_row: int = 0
    watched: Mapping[str, float] = attrs.field(factory=dict)
    ended_early: str = ""
    losses: tuple[float, ...] = ()
    validation_due: bool = False

    def in_stage(self, index: int, name: str) -> Self:
        """The same run at the beginning of another stage."""
        return attrs.evolve(
            self,
            stage_index=index,
            stage=name,
            finished=False,
            stage_step=0,
            stage_tokens=0,
            counts={},
            skipped=0,
            skipped_in_a_row=0,
            watched={},
            ended_early="",
            losses=(),
            validation_due=False,
        )

    def after_step(
        self,
        *,
        tokens: int,
        counts: Mapping[str, float],
        finite: bool,
        loss: float | None = None,
    ) -> Self:
        """One step further; ``counts`` are the step's, over all ranks."""
        return attrs.evolve(
            self,
            step=self.step + 1,
            tokens=self.tokens + tokens,
            samples=self.samples + round(counts.get(SAMPLES, 0)),
            stage_step=self.stage_step + 1,
            stage_tokens=self.stage_tokens + tokens,
            counts=_added(self.counts, counts),
            skipped=self.skipped + (not finite),
            skipped_in_a_row=0 if finite else self.skipped_in_a_row + 1,
            losses=self.losses if loss is None else (*self.losses, loss)[-HISTORY:],
        )

    def lines(self) -> list[str]:
        """What the stage was trained on so far, for people."""
        counts = self.counts
        told = [
            f"trained on {counts.get(SAMPLES, 0):,} samples and {self.stage_tokens:,} tokens in "
            f"{self.stage_step:,} steps"
        ]
        if sources := _below(counts, f"{SAMPLES}/"):
            told.append(f"samples: {_listed(sources)}")
        fitted = {name: counts[name] for name in FITTED if counts.get(name)}
        if fitted:
            told.append(f"made to fit: {_listed(fitted)}")
        if held_out := _below(counts, HELD_OUT):
            told.append(f"held out for validation, and passed over: {_listed(held_out)}")
        if rejected := _below(counts, REJECTED):
            told.append(f"rejected: {_listed(rejected)}")
        if self.skipped:
            told.append(f"skipped steps, for the gradient was not finite: {self.skipped:,}")
        if self.ended_early:
            told.append(self.ended_early)
        return told

    def to_json(self) -> dict[str, Any]:
        return {**attrs.asdict(self), "losses": list(self.losses)}

    @classmethod
    def from_json(cls, table: Mapping[str, Any]) -> Self:
        """The inverse of ``to_json``.

        Raises:
            ValueError: a counter is missing, unknown, or of another type.
        """
        fields = attrs.fields_dict(cls)
        table = {
            "losses": [],
            "validation_due": False,
            **table,
        }  # which earlier checkpoints do not have
        if set(table) != set(fields):
            odd = ", ".join(sorted(set(table) ^ set(fields)))
            raise ValueError(f"the progress lacks, or has beyond what is known: {odd}")
        for name, field in fields.items():
            wanted = _CONTAINERS.get(name) or type(field.default)
            if type(table[name]) is not wanted:
                raise ValueError(f"{name} is {table[name]!r}, wanted {wanted.__name__}")
        return cls(**{**table, "losses": tuple(table["losses"])})


@attrs.frozen(kw_only=True)
class Budget:
    """How long a stage lasts, in exactly one of three measures.

    Attributes:
        tokens: packed positions that hold a sample, pictures included.
        steps: optimizer steps.
        epochs: times that every source is gone through, with ``rows`` the rows of each source.
    """

    tokens: float | None = None
    steps: int | None = None
    epochs: float | None = None
    rows: Counts = attrs.field(factory=dict)

    def __attrs_post_init__(self) -> None:
        given = [one for one in (self.tokens, self.steps, self.epochs) if one is not None]
        if len(given) != 1 or given[0] <= 0:
            raise ValueError(
                f"a budget is one of tokens, steps, epochs, above 0; had tokens={self.tokens}, "
                f"steps={self.steps}, epochs={self.epochs}"
            )
        if self.epochs is not None and not any(self.rows.values()):
            raise ValueError("a budget in epochs needs the number of rows of every source")

    def spent(self, progress: Progress) -> float:
        """Share of the budget behind us; 1 or more when the stage is over."""
        if self.tokens is not None:
            return progress.stage_tokens / self.tokens
        if self.steps is not None:
            return progress.stage_step / self.steps
        assert self.epochs is not None
        turns = [
            progress.counts.get(f"{DRAWN}{source}", 0) / rows
            for source, rows in self.rows.items()
            if rows
        ]
        return min(turns) / self.epochs
