"""A picture in several sizes, bicubic: by Pillow, or by weighted sums of whole lines of pixels.

Pillow goes through a picture pixel by pixel. Its filter is separable, though: it makes every
column of the result a weighted sum of a few columns, rounds, and then does the same with rows; and
torch has a fast kernel for weighted sums of rows of bytes, made for tables of embeddings.

Pillow adds in integers, the kernel in float32. Sums that lie just between two grey levels would
therefore be rounded either way, and two such roundings, one after the other, could differ by two
levels. So the first sums are made exact: by weights of 11 bits and, apart, the 11 bits below, so
that float32 rounds neither. The second are not, and so differ by one level at most.

Letters: C/H/W channels, height, width; L lines that are summed, X pixels of a line, T taps of all
results.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache, lru_cache
from typing import Final

import attrs
import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from mmcore_tiling.grids import Size

_REACH: Final = 2.0
"""How far a pixel of the result looks to either side, in pixels of the smaller picture."""

_HALF: Final = 2**11
_WHOLE: Final = _HALF * _HALF
"""Pillow rounds its weights to whole parts of this."""

_SUMS_AT_A_TIME: Final = 2**19
"""Float32 values that stay in a core's cache until they are bytes."""

_FEW_PIXELS: Final = 2**15
"""Where picture and results have fewer, Pillow is done before the kernel is prepared."""


def resize_exactly(image: Image.Image, sizes: Sequence[Size]) -> list[NDArray[np.uint8]]:
    """Pillow's own pixels: an RGB picture in each of the (width, height), as CHW."""
    resized = [image.resize(size, Image.Resampling.BICUBIC) for size in sizes]
    return [np.asarray(one).transpose(2, 0, 1) for one in resized]


def resize_fast(image: Image.Image, sizes: Sequence[Size]) -> list[NDArray[np.uint8]]:
    """The same within one grey level, sooner.

    Where the processor has no fast kernel, or the picture is small, it is Pillow that is sooner.
    """
    pixels = image.width * image.height + sum(width * height for width, height in sizes)
    if pixels < _FEW_PIXELS or not has_kernel():
        return resize_exactly(image, sizes)
    # Pillow holds four bytes a pixel, and so does this: one int32 is moved at once.
    held = bytearray(image.tobytes("raw", "RGBX"))
    pixels_HW = torch.frombuffer(held, dtype=torch.int32).view(image.height, image.width)
    columns = _lines(pixels_HW, turn=True)
    return [_channels(_resize(pixels_HW, columns, size)) for size in sizes]


def _resize(pixels_HW: torch.Tensor, columns: torch.Tensor, size: Size) -> torch.Tensor:
    """One size; ``columns`` are the lines of the picture on its side."""
    (old_height, old_width), (width, height) = pixels_HW.shape, size
    across, down = _taps(old_width, width), _taps(old_height, height)
    if height == old_height:
        return pixels_HW if width == old_width else _exact_sums(columns, across).t()
    if width == old_width:
        return _exact_sums(_lines(pixels_HW), down)
    if _pillow_chooses() and height < old_height and old_height - height > 2 * (old_width - width):
        low_HW = _exact_sums(_lines(pixels_HW), down)
        return _sums(_lines(low_HW, turn=True, bias=0.5), across).t()
    narrow_WH = _exact_sums(columns, across)
    return _sums(_lines(narrow_WH, turn=True, bias=0.5), down)


@cache
def has_kernel() -> bool:
    """Whether torch has the kernel in a form that is faster than Pillow: on x86 processors."""
    engines = torch.backends.quantized.supported_engines
    return "fbgemm" in engines and hasattr(
        torch.ops.quantized, "embedding_bag_byte_rowwise_offsets"
    )


@cache
def _pillow_chooses() -> bool:
    """Whether this Pillow lowers a picture before it narrows it, where that is less work; older
    ones never do."""
    noise = np.random.default_rng(0).integers(0, 256, (64, 8, 3), dtype=np.uint8)
    picture = Image.fromarray(noise)
    (found,) = resize_exactly(picture, [(7, 16)])
    low = picture.resize((8, 16), Image.Resampling.BICUBIC)
    return bool((found == resize_exactly(low, [(7, 16)])[0]).all())


@attrs.frozen(eq=False)
class _Taps:
    """Which lines are summed with which weights.

    Attributes:
        lines_T: int32; for each result, its lines one after another.
        weights_T: float32.
        upper_T, lower_T: float32; the weights' upper bits, and ``_HALF`` times those below.
        starts: where each result's taps begin, and where the last one's end.
    """

    lines_T: torch.Tensor
    weights_T: torch.Tensor
    upper_T: torch.Tensor
    lower_T: torch.Tensor
    starts: torch.Tensor

    def part(self, begin: int, end: int) -> _Taps:
        """Those of results from ``begin`` to before ``end``."""
        starts = self.starts[begin : end + 1]
        taps = slice(int(starts[0]), int(starts[-1]))
        return _Taps(
            lines_T=self.lines_T[taps],
            weights_T=self.weights_T[taps],
            upper_T=self.upper_T[taps],
            lower_T=self.lower_T[taps],
            starts=starts - starts[0],
        )


@lru_cache(maxsize=256)
def _taps(length: int, new_length: int) -> _Taps:
    """Pillow's bicubic filter (``precompute_coeffs`` of its Resample.c) from length to length."""
    scale = length / new_length
    stretch = max(scale, 1.0)
    centres = (np.arange(new_length) + 0.5) * scale
    first = np.maximum((centres - _REACH * stretch + 0.5).astype(np.int64), 0)
    behind = np.minimum((centres + _REACH * stretch + 0.5).astype(np.int64), length)
    lines = first[:, None] + np.arange((behind - first).max())
    is_tap = lines < behind[:, None]
    weights = np.where(is_tap, _bicubic((lines - centres[:, None] + 0.5) / stretch), 0.0)
    weights /= weights.sum(1, keepdims=True)
    whole_T = np.rint(weights * _WHOLE).astype(np.int64)[is_tap]
    upper_T = whole_T // _HALF
    starts = np.concatenate([[0], np.cumsum(behind - first)])
    return _Taps(
        lines_T=torch.from_numpy(lines[is_tap].astype(np.int32)),
        weights_T=_float32(whole_T / _WHOLE),
        upper_T=_float32(upper_T / _HALF),
        lower_T=_float32((whole_T - upper_T * _HALF) / _HALF),
        starts=torch.from_numpy(starts.astype(np.int32)),
    )


def _float32(values: NDArray[np.float64]) -> torch.Tensor:
    return torch.from_numpy(values.astype(np.float32))


def _bicubic(distance: NDArray[np.float64]) -> NDArray[np.float64]:
    """Keys' kernel with a = -1/2, as Pillow has it."""
    x, a = np.abs(distance), -0.5
    near = ((a + 2) * x - (a + 3)) * x * x + 1
    far = (((x - 5) * x + 8) * x - 4) * a
    return np.where(x < 1, near, np.where(x < 2, far, 0.0))


def _lines(pixels_HW: torch.Tensor, *, turn: bool = False, bias: float = 0.0) -> torch.Tensor:
    """A table for the kernel: rows of pixels (turned: columns), and behind each, as it wants
    them, a scale and a bias that every byte is read with."""
    # Turned first and copied then: torch turns block by block only what it lays out closely.
    pixels_LX = pixels_HW.t().contiguous() if turn else pixels_HW
    count, length = pixels_LX.shape
    lines = torch.empty((count, length + 2), dtype=torch.int32)
    lines[:, :length] = pixels_LX
    lines[:, length:] = torch.tensor([1.0, bias]).view(torch.int32)
    return lines


def _sums(lines: torch.Tensor, taps: _Taps) -> torch.Tensor:
    """Weighted sums of lines that have a bias of one half, which rounds them."""
    results, parts = _results(lines, taps)
    for begin, part in parts:
        sums = _bags(lines, part, part.weights_T).clamp_(0, 255)
        # numpy cuts off what is behind the point, in a quarter of torch's time.
        np.copyto(results[begin : begin + len(sums)], sums.numpy(), casting="unsafe")
    return torch.from_numpy(results).view(torch.int32)


def _exact_sums(lines: torch.Tensor, taps: _Taps) -> torch.Tensor:
    """Weighted sums of lines that have no bias, rounded as integers are."""
    results, parts = _results(lines, taps)
    half = np.float32(0.5)
    for begin, part in parts:
        sums = _bags(lines, part, part.upper_T)
        sums.add_(_bags(lines, part, part.lower_T).floor_(), alpha=1 / _HALF).clamp_(0, 255)
        np.add(sums.numpy(), half, out=results[begin : begin + len(sums)], casting="unsafe")
    return torch.from_numpy(results).view(torch.int32)


def _results(lines: torch.Tensor, taps: _Taps) -> tuple[NDArray[np.uint8], list[tuple[int, _Taps]]]:
    """Room for the sums' bytes, and the taps for as many at a time as a cache holds."""
    count, width = len(taps.starts) - 1, 4 * (lines.shape[1] - 2)
    step = max(1, _SUMS_AT_A_TIME // width)
    parts = [(begin, taps.part(begin, begin + step)) for begin in range(0, count, step)]
    return np.empty((count, width), dtype=np.uint8), parts


def _bags(lines: torch.Tensor, taps: _Taps, weights_T: torch.Tensor) -> torch.Tensor:
    """Weighted sums of lines, float32."""
    sums: torch.Tensor = torch.ops.quantized.embedding_bag_byte_rowwise_offsets(
        lines.view(torch.uint8),
        taps.lines_T,
        taps.starts,
        per_sample_weights=weights_T,
        include_last_offset=True,
    )
    return sums


def _channels(pixels_HW: torch.Tensor) -> NDArray[np.uint8]:
    """The three colours of pixels of four bytes, as CHW."""
    pixels = np.ascontiguousarray(pixels_HW.numpy())
    return pixels.view(np.uint8).reshape(*pixels.shape, 4)[..., :3].transpose(2, 0, 1)
