"""What a folder of features was made with, and how that differs from what a stage has."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

import attrs

FORMAT = 1
"""Of the folder; another one is refused."""

HEADER = "features.json"

Stored = Literal["fp32", "bf16"]


class FeaturesError(ValueError):
    """A folder of features cannot be used here; the message says which, why, and what helps."""


@attrs.frozen(kw_only=True)
class FeatureHeader:
    """All that decides about features beside the pictures. It imports no torch.

    Attributes:
        encoder: its table in the recipe, but for keys that do not change what it computes.
        weights: fingerprint of its parameters' values.
        tiler: the table of what cut the pictures.
        computed: number format of the matrix products that made them.
        stored: number format in which they are kept.
        patches, width: P and D.
    """

    encoder: Mapping[str, Any]
    weights: str
    tiler: Mapping[str, Any]
    computed: str
    stored: Stored
    patches: int
    width: int

    @property
    def view_bytes(self) -> int:
        """What the features of one view take up."""
        return self.patches * self.width * (4 if self.stored == "fp32" else 2)

    def differences(self, wanted: FeatureHeader) -> Iterator[str]:
        """Every fact of which ``wanted`` has another value, in words. How features are stored is
        the folder's own affair; weights that are not known yet (empty) are not compared."""
        for name in ("encoder", "tiler"):
            yield from _differences(name, getattr(self, name), getattr(wanted, name))
        if self.computed != wanted.computed:
            yield f"engine.precision was {self.computed!r}, is {wanted.computed!r}"
        sizes = [f"{one.patches} patches of width {one.width}" for one in (self, wanted)]
        if sizes[0] != sizes[1]:
            yield f"a view was {sizes[0]}, is {sizes[1]}"
        if wanted.weights and self.weights != wanted.weights:
            yield (
                f"the encoder's weights were others (their fingerprint was {self.weights}, is "
                f"{wanted.weights})"
            )

    def to_json(self) -> str:
        return json.dumps({"format": FORMAT, **attrs.asdict(self)}, indent=1) + "\n"


def read_header(folder: Path) -> FeatureHeader | None:
    """The header of a folder; None where there is none.

    Raises:
        FeaturesError: the file is none of ours, or of another format.
    """
    path = folder / HEADER
    try:
        table = json.loads(path.read_text(encoding="utf-8"))
        version = table.pop("format")
        if version != FORMAT:
            raise FeaturesError(f"{path} has format {version}, this mmcore reads {FORMAT}")
        return FeatureHeader(**table)
    except FileNotFoundError:
        return None
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        if isinstance(error, FeaturesError):
            raise
        raise FeaturesError(f"{path} is no header of features: {error}") from error


def _differences(name: str, had: Mapping[str, Any], has: Mapping[str, Any]) -> Iterator[str]:
    for key in dict.fromkeys([*had, *has]):
        # Both as JSON has them: a tuple is a list there.
        old, new = (json.loads(json.dumps(one.get(key))) for one in (had, has))
        if old != new:
            yield f"{name}.{key} was {old!r}, is {new!r}"
