"""Pictures decoded and cut by one core, beside a plain loop that does the same with Pillow.

Letters: N views, C/H/W channels, height, width.
"""

from __future__ import annotations

import io
import math
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial

import attrs
import numpy as np
import torch
from PIL import Image
from torchvision.transforms import functional  # type: ignore[import-untyped]

from mmcore.data.images import decode, image_size
from mmcore.data.prepare import realise
from mmcore.data.tokenized import PlannedPicture
from mmcore.interfaces import ImageRef, TilePlan, TilerSpec, Tiles, ViewFormat
from mmcore.recipe import Recipe

MEAN = STD = (0.5, 0.5, 0.5)
"""What the plain loop normalises with: SigLIP's."""


@attrs.frozen
class PictureTimes:
    """What was measured with one picture. Seconds are those that the core itself was at work.

    Attributes:
        width, height: of the picture, in pixels.
        encoded_bytes: length of its JPEG file.
        views: how many views it was cut into.
        seconds: of the framework, once for every repeat.
        decode_seconds, cut_seconds: of its two halves, each measured by itself.
        plain_seconds: of the plain loop.
        largest_difference, mean_difference: of the views of both, in grey levels.
    """

    width: int
    height: int
    encoded_bytes: int
    views: int
    seconds: Sequence[float]
    decode_seconds: Sequence[float]
    cut_seconds: Sequence[float]
    plain_seconds: Sequence[float]
    largest_difference: int
    mean_difference: float

    @property
    def ratio(self) -> float:
        """How much faster the framework is; of the medians."""
        return statistics.median(self.plain_seconds) / statistics.median(self.seconds)


@attrs.frozen
class TilerTimes:
    """A tiler of a recipe, the stages that use it, and what was measured with it."""

    tiler: TilerSpec
    stages: Sequence[str]
    times: Sequence[PictureTimes]

    def to_dict(self) -> dict[str, object]:
        """Plain values, as ``--json`` prints them."""
        tiler = {"use": self.tiler.name, **attrs.asdict(self.tiler)}
        times = [{**attrs.asdict(one), "ratio": one.ratio} for one in self.times]
        return {"tiler": tiler, "stages": [*self.stages], "times": times}


def pictures_of(recipe: Recipe, sizes: Sequence[tuple[int, int]], repeats: int) -> list[TilerTimes]:
    """Measure every different tiler of a recipe with pictures of these sizes."""
    stages: dict[TilerSpec, list[str]] = {}
    for stage in recipe.stages:
        stages.setdefault(stage.tiler, []).append(stage.name)
    view = recipe.model.encoder.view
    return [
        TilerTimes(
            tiler, names, [measure_pictures(tiler, view, *size, repeats=repeats) for size in sizes]
        )
        for tiler, names in stages.items()
    ]


def measure_pictures(
    tiler: TilerSpec, view: ViewFormat, width: int, height: int, repeats: int
) -> PictureTimes:
    """Decode and cut one JPEG of this size again and again: here, in the plain loop, here, …

    Both run on one thread, and only the time is counted in which that thread was at work, so that
    other processes disturb as little as possible.
    """
    data = photograph(width, height)

    def ours() -> Tiles:
        plan = tiler.plan(*image_size(data), view)
        return realise(PlannedPicture(ImageRef(data=data), plan, start=0), tiler, view)

    plan = tiler.plan(width, height, view)
    decoded = partial(decode, data, least_size=tiler.least_size(plan, view))
    image = decoded()
    tasks: dict[str, Callable[[], object]] = {
        "ours": ours,
        "decode": decoded,
        "cut": lambda: tiler.cut(image, plan, view),
        "plain": lambda: plain_views(data, plan, view),
    }
    with one_thread():
        difference = np.abs(ours().pixels_NCHW - grey_levels(plain_views(data, plan, view)))
        seconds = _interleaved(tasks, repeats)
    return PictureTimes(
        width=width,
        height=height,
        encoded_bytes=len(data),
        views=plan.views,
        seconds=seconds["ours"],
        decode_seconds=seconds["decode"],
        cut_seconds=seconds["cut"],
        plain_seconds=seconds["plain"],
        largest_difference=int(difference.max()),
        mean_difference=float(difference.mean()),
    )


def plain_views(data: bytes, plan: TilePlan, view: ViewFormat) -> torch.Tensor:
    """``pixels_NCHW`` as the official BLIP-3 code makes them: float32, normalised.

    Pillow decodes, converts to RGB, squashes the picture to the thumbnail, resizes it to fit the
    canvas, pastes it on black and crops the tiles; torchvision makes every view a float tensor and
    normalises it; all are stacked. The grid is given, for finding it costs nothing.
    """
    image = Image.open(io.BytesIO(data)).convert("RGB")
    size = view.size
    views = [image.resize((size, size))]
    if plan.cols:
        width, height = plan.cols * size, plan.rows * size
        scale_x, scale_y = width / image.width, height / image.height
        if scale_x < scale_y:
            fitted = width, min(math.ceil(image.height * scale_x), height)
        else:
            fitted = min(math.ceil(image.width * scale_y), width), height
        canvas = Image.new("RGB", (width, height), (0, 0, 0))
        canvas.paste(image.resize(fitted), ((width - fitted[0]) // 2, (height - fitted[1]) // 2))
        views += [
            canvas.crop((left, top, left + size, top + size))
            for top in range(0, height, size)
            for left in range(0, width, size)
        ]
    return torch.stack(
        [functional.normalize(functional.to_tensor(one), MEAN, STD) for one in views]
    )


def grey_levels(pixels_NCHW: torch.Tensor) -> np.ndarray:
    """The bytes, as int16, that the plain loop's numbers were made from."""
    mean, std = torch.tensor(MEAN).view(3, 1, 1), torch.tensor(STD).view(3, 1, 1)
    return ((pixels_NCHW * std + mean) * 255).round().to(torch.int16).numpy()


def photograph(width: int, height: int, seed: int = 0) -> bytes:
    """A made-up picture that compresses like a photograph: large shapes, ever finer and fainter
    ones, and a little noise; as a JPEG of quality 90."""
    rng = np.random.default_rng(seed)
    pixels_HWC = rng.normal(128, 4, (height, width, 1)).repeat(3, axis=2)
    cells = 4
    while cells <= min(width, height) // 2:
        strength = 60 * cells**-0.6
        for channel in range(3):
            shapes = rng.normal(0, strength, (max(2, cells * height // width), cells))
            layer = Image.fromarray(shapes.astype(np.float32))
            pixels_HWC[..., channel] += np.asarray(layer.resize((width, height)))
        cells *= 2
    encoded = io.BytesIO()
    Image.fromarray(pixels_HWC.clip(0, 255).astype(np.uint8)).save(encoded, "JPEG", quality=90)
    return encoded.getvalue()


@contextmanager
def one_thread() -> Iterator[None]:
    """torch computes on one thread meanwhile."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _interleaved(
    tasks: dict[str, Callable[[], object]], repeats: int
) -> dict[str, Sequence[float]]:
    """Seconds of this process's work, every task once in each of the repeats."""
    seconds: dict[str, list[float]] = {name: [] for name in tasks}
    for _ in range(repeats):
        for name, task in tasks.items():
            began = time.process_time()
            task()
            seconds[name].append(time.process_time() - began)
    return dict(seconds)
