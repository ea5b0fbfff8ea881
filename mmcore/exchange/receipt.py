"""The receipt of an exchange: every tensor, and what the model answers on both sides."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, TypeAlias

import attrs
import torch

from mmcore.exchange.model_folder import RECEIPT
from mmcore.exchange.probe import Answer
from mmcore.interfaces import PARTS
from mmcore.kit.tensor_file import raw

OnProgress = Callable[[int, int], None]
"""Told the bytes that were copied, and the bytes of all."""

Named: TypeAlias = Iterable[tuple[str, torch.Tensor]]


@attrs.frozen
class TensorRecord:
    """One tensor on one side."""

    name: str
    shape: tuple[int, ...]
    dtype: str
    sha256: str

    @classmethod
    def of(cls, name: str, tensor: torch.Tensor) -> TensorRecord:
        digest = hashlib.sha256(raw(tensor)).hexdigest()
        dtype = str(tensor.dtype).removeprefix("torch.")
        return cls(name, tuple(tensor.shape), dtype, digest)


@attrs.frozen
class Move:
    """Tensors that became others: which, and which.

    Attributes:
        part: of the model.
        sources, results: on the side they come from, and on the side they go to.
    """

    part: str
    sources: tuple[TensorRecord, ...]
    results: tuple[TensorRecord, ...]


def move(part: str, sources: Named, results: Named) -> Move:
    return Move(
        part,
        tuple(TensorRecord.of(name, tensor) for name, tensor in sources),
        tuple(TensorRecord.of(name, tensor) for name, tensor in results),
    )


@attrs.define
class Receipt:
    """What happened to a model on its way.

    Attributes:
        verb: import or export.
        format: the foreign format.
        origin, target: folders or files.
        moves: every tensor that was read or made.
        new: for each part, its tensors that the checkpoint did not have, and where they were
            taken from instead.
        unused: tensors of the checkpoint that have no place here, by intention.
        aside: tensors that were kept aside.
        remarks: what a reader should know.
        before, after: what the model answers on the side it comes from, and on the other; None
            where it was not asked.
    """

    verb: str
    format: str
    origin: str
    target: str
    moves: list[Move] = attrs.Factory(list)
    new: dict[str, str] = attrs.Factory(dict)
    unused: tuple[str, ...] = ()
    aside: tuple[str, ...] = ()
    remarks: tuple[str, ...] = ()
    before: Answer | None = None
    after: Answer | None = None

    @property
    def largest_difference(self) -> float | None:
        """Of the logits of the ids that both sides have; None where the model was not asked."""
        if self.before is None or self.after is None:
            return None
        before_SV, after_SV = self.before.logits_SV, self.after.logits_SV
        shared = min(before_SV.shape[1], after_SV.shape[1])
        return (before_SV[:, :shared] - after_SV[:, :shared]).abs().max().item()

    def write(self, folder: Path) -> None:
        """Put ``receipt.json`` into a folder."""
        text = json.dumps(self._table(), indent=1)
        (folder / RECEIPT).write_text(text + "\n", encoding="utf-8")

    def summary(self) -> Iterable[str]:
        """A few lines for a person."""
        done = "loaded" if self.verb == "import" else "written"
        for part in PARTS:
            moves = [one for one in self.moves if one.part == part]
            results = [record for move in moves for record in move.results]
            made = sum(not move.sources for move in moves)
            numbers = [
                f"{len(results) - made if part not in self.new else 0} tensors {done}",
                f"{len(results)} from {self.new[part]}" if part in self.new else f"{made} new",
                f"{sum(one.name in self.aside for one in results)} of them kept aside",
            ]
            yield f"{part:<15}{', '.join(numbers)}"
        yield f"{'unused':<15}{', '.join(self.unused) or 'nothing'}"
        if self.before is not None and self.after is not None:
            same = "the same" if self.before.ids == self.after.ids else "NOT the same"
            yield (
                f"fixed inputs: token ids {same}, logits differ by at most "
                f"{self.largest_difference:.3g}"
            )
        yield from (f"note: {one}" for one in self.remarks)

    def _table(self) -> dict[str, Any]:
        moves = [
            {
                "part": move.part,
                "from": [attrs.asdict(one) for one in move.sources],
                "to": [attrs.asdict(one) for one in move.results],
            }
            for move in self.moves
        ]
        return {
            "verb": self.verb,
            "format": self.format,
            "from": self.origin,
            "to": self.target,
            "remarks": list(self.remarks),
            "fixed_inputs": {
                "before": self.before and self.before.facts(),
                "after": self.after and self.after.facts(),
                "largest_difference": self.largest_difference,
            },
            "taken_from_elsewhere": self.new,
            "kept_aside": list(self.aside),
            "unused": list(self.unused),
            "tensors": moves,
        }
