"""A picture in several sizes, bicubic: by Pillow, or by torch.

Both filter alike, an axis after the other, and round to bytes in between. Pillow's weights have 22
bits and torch's 15, so that a sum that lies nearly between two grey levels may be rounded the
other way: a few values in a thousand differ by one grey level, and far fewer, of 1024 x 768 pixels
at most one in ten thousand, by two, for they were rounded the other way along both axes.

Letters: C/H/W channels, height, width.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch.nn import functional

from mmcore_tiling.grids import Size


def resize_exactly(image: Image.Image, sizes: Sequence[Size]) -> list[NDArray[np.uint8]]:
    """Pillow's own pixels: an RGB picture in each of the (width, height), as CHW."""
    resized = [image.resize(size, Image.Resampling.BICUBIC) for size in sizes]
    return [np.asarray(one).transpose(2, 0, 1) for one in resized]


@torch.inference_mode()
def resize_fast(image: Image.Image, sizes: Sequence[Size]) -> list[NDArray[np.uint8]]:
    """The same within rounding, several times sooner on processors with AVX2."""
    pixels_CHW = torch.from_numpy(np.array(image)).permute(2, 0, 1)
    return [_resized(pixels_CHW, size) for size in sizes]


def _resized(pixels_CHW: torch.Tensor, size: Size) -> NDArray[np.uint8]:
    (_, old_height, old_width), (width, height) = pixels_CHW.shape, size
    # Where that is less work, Pillow 13 lowers a picture before it narrows it.
    if height < old_height and old_height - height > 2 * (old_width - width):
        pixels_CHW = _interpolated(pixels_CHW, (old_width, height))
    return np.asarray(_interpolated(pixels_CHW, size).numpy())


def _interpolated(pixels_CHW: torch.Tensor, size: Size) -> torch.Tensor:
    width, height = size
    return functional.interpolate(
        pixels_CHW[None], size=(height, width), mode="bicubic", antialias=True
    )[0]
