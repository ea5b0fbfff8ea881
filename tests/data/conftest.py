"""Sources in memory, a text format of bytes and a small tiler, for all tests of the data room."""

from __future__ import annotations

import io
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Self

import attrs
import numpy as np
import pytest
from PIL import Image

from mmcore.data.prepare import Preparer
from mmcore.interfaces import (
    ImagePart,
    ImageRef,
    ImageSlot,
    Part,
    Rejection,
    Row,
    Sample,
    SampleKey,
    Shard,
    SourceSpec,
    SyntheticContent,
    TextPart,
    TextRun,
    TilePlan,
    TilerSpec,
    Tiles,
    ViewFormat,
)

VIEW = ViewFormat(size=8, patch_rows=2, patch_cols=2, patch_size=4)


class ByteText:
    """Bytes are ids; 256 ends a document, 257 a turn; 258 is a picture; above are roles."""

    image_id, end_id, turn_end_id, vocabulary_size = 258, 256, 257, 264
    stop_ids = frozenset({256, 257})
    roles: ClassVar[Mapping[str, int]] = {"system": 259, "user": 260, "assistant": 261}

    def render(self, parts: Sequence[Part]) -> list[TextRun | ImageSlot]:
        roles = {part.role for part in parts}
        if "document" in roles and len(roles) > 1:
            raise Rejection("mixed-roles", f"{sorted(roles)}")
        items: list[TextRun | ImageSlot] = []
        pictures = 0
        for index, part in enumerate(parts):
            talk = part.role != "document"
            if talk and (index == 0 or parts[index - 1].role != part.role):
                items.append(TextRun((self.roles[part.role],), False))
            learned = isinstance(part, TextPart) and part.loss and part.role != "user"
            if isinstance(part, ImagePart):
                items.append(ImageSlot(pictures))
                pictures += 1
            else:
                items.append(TextRun(tuple(part.text.encode()), learned))
            if talk and (index == len(parts) - 1 or parts[index + 1].role != part.role):
                items.append(TextRun((self.turn_end_id,), learned and part.role == "assistant"))
        if "document" in roles:
            items.append(TextRun((self.end_id,), True))
        return items

    def prompt(self, parts: Sequence[Part]) -> list[TextRun | ImageSlot]:
        return [*self.render(parts), TextRun((self.roles["assistant"],), False)]

    def decode(self, ids: Sequence[int]) -> str:
        return bytes(one for one in ids if one < 256).decode(errors="replace")

    def special(self, token: int) -> str:
        return f"<{token}>" if token >= 256 else ""


@attrs.frozen(kw_only=True)
class GridTiler(TilerSpec):
    """A thumbnail, and for pictures larger than a view a grid of tiles."""

    name: ClassVar[str] = "grid"
    largest: int = 5

    @property
    def max_views(self) -> int:
        return self.largest

    def plan(
        self, width: int, height: int, view: ViewFormat, max_views: int | None = None
    ) -> TilePlan:
        most = min(self.largest, max_views or self.largest)
        cols, rows = max(1, width // view.size), max(1, height // view.size)
        while cols * rows > 1 and 1 + cols * rows > most:
            cols, rows = (cols - 1, rows) if cols >= rows else (cols, rows - 1)
        if cols * rows == 1:
            return TilePlan(width, height, 0, 0, 1)
        return TilePlan(width, height, cols, rows, 1 + cols * rows)

    def cut(self, image: Image.Image, plan: TilePlan, view: ViewFormat) -> Tiles:
        size = view.size
        views = [np.asarray(image.resize((size, size), Image.Resampling.NEAREST))]
        if plan.views > 1:
            wide = image.resize((plan.cols * size, plan.rows * size), Image.Resampling.NEAREST)
            views += [
                np.asarray(wide.crop((c * size, r * size, (c + 1) * size, (r + 1) * size)))
                for r in range(plan.rows)
                for c in range(plan.cols)
            ]
        pixels = np.stack(views).transpose(0, 3, 1, 2).copy()
        return Tiles(pixels, np.arange(plan.views * view.patches).reshape(plan.views, -1) % 3 > 0)


def png(width: int, height: int, colour: int) -> bytes:
    """An encoded picture whose pixels depend on all three numbers."""
    y, x = np.mgrid[:height, :width]
    pixels = np.stack([x * 3 + colour, y * 5 + colour, x + y * 7 + colour], axis=-1) % 256
    buffer = io.BytesIO()
    Image.fromarray(pixels.astype(np.uint8)).save(buffer, "PNG")
    return buffer.getvalue()


@attrs.frozen
class MemorySource:
    """Rows that a spec describes; ``opened`` remembers what was read, in order."""

    spec: MemorySpec
    opened: list[str] = attrs.field(factory=list)

    def shards(self) -> Sequence[Shard]:
        return [Shard(f"s{i}", f"{self.spec.path}/s{i}") for i in range(len(self.spec.rows))]

    def length(self, shard: Shard) -> int:
        self.opened.append(shard.name)
        if shard.name == self.spec.unreadable:
            raise OSError("disk on fire")
        return self.spec.rows[int(shard.name[1:])]

    def rows(self, shard: Shard, start: int, stop: int) -> Iterator[Row]:
        for number in range(start, stop):
            if (shard.name, number) == self.spec.breaks_at:
                raise OSError("read error")
            yield {"number": number, "shard": shard.name}

    def parse(self, row: Row, key: SampleKey) -> Sample:
        random = np.random.default_rng([self.spec.seed, *f"{key.shard} {key.row}".encode()])
        kind = random.random()
        if kind < self.spec.bad:
            raise Rejection("bad-row", "as the test wants it")
        if self.spec.kills_at in (key.row, -2):
            os._exit(7)
        if key.row == self.spec.bug_at:
            raise KeyError("caption")
        words = " ".join([f"{key.row}"] * (1 + int(random.lognormal(self.spec.words, 0.8))))
        parts: list[Part] = []
        for colour in range(int(random.integers(0, self.spec.pictures + 1))):
            width, height = (int(side) for side in random.integers(4, 30, 2))
            data = png(width, height, colour + key.row)
            if random.random() < self.spec.broken:
                data = data[: len(data) // 2]  # the header is whole, the pixels are not
            parts.append(ImagePart(ImageRef(data=data), self.spec.roles[0]))
        if self.spec.roles[0] == "user":
            parts.append(TextPart("why?", "user", loss=False))
        parts.append(TextPart(words, self.spec.roles[1]))
        if not self.spec.gives_pairs:
            return Sample(key, tuple(parts))
        worse = "no " * int(random.integers(1, 12))
        return Sample(key, tuple(parts), dispreferred=(TextPart(worse, "assistant"),))


@attrs.frozen(kw_only=True)
class MemorySpec(SourceSpec):
    """Rows made up in memory."""

    name: ClassVar[str] = "memory"
    path: str = "memory"
    rows: tuple[int, ...] = (40, 25, 0, 1)
    seed: int = 0
    words: float = 1.5
    pictures: int = 2
    roles: tuple[Any, Any] = ("document", "document")
    bad: float = 0.0
    broken: float = 0.0
    bug_at: int = -1
    kills_at: int = -1  # the row at which the process ends; -2: any
    unreadable: str = ""
    breaks_at: tuple[str, int] = ("", 0)
    rivals: bool = False

    @property
    def gives_pairs(self) -> bool:
        return self.rivals

    def open(self) -> MemorySource:
        return MemorySource(self)

    def synthesize(self, folder: Path, content: SyntheticContent) -> None:
        raise NotImplementedError

    def relocated(self, folder: Path) -> Self:
        return self

    @property
    def folder(self) -> Path:
        return Path(self.path)


def make_preparer(**changes: Any) -> Preparer:
    settings = {
        "text": ByteText(),
        "tiler": GridTiler(),
        "view": VIEW,
        "tokens_per_view": 3,
        "max_tokens": 96,
        "max_views": 8,
    }
    return Preparer(**{**settings, **changes})


@pytest.fixture(scope="session")
def memory() -> type[MemorySpec]:
    return MemorySpec


@pytest.fixture(scope="session")
def preparer() -> Any:
    """Makes preparers: byte text, small tiler, packs of 96 tokens and 8 views, or as changed."""
    return make_preparer


@pytest.fixture(scope="session")
def encoded() -> Any:
    """Makes encoded pictures of a width, a height and a colour."""
    return png
