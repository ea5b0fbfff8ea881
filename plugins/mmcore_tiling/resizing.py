"""A picture in several sizes, bicubic: by Pillow, or by weighted sums of whole lines of pixels.

Pillow goes through a picture pixel by pixel. Its filter is separable, though: it makes every
column of the result a weighted sum of a few columns, rounds, and then does the same with rows; and
torch has a fast kernel for weighted sums of rows of bytes, made for tables of embeddings.

Pillow adds in integers, the kernel in float32. Sums that lie just between two grey levels would
therefore be rounded either way, and two such roundings, one after the other, could differ by two
levels. So the first sums are made exact: by weights of 11 bits and, apart, the 11 bits below, so
that float32 rounds neither (for certain up to 64 taps, a picture made 16 times as small). The
second are not, and so differ by one level at most.

Letters: C/H/W channels, height, width; L lines that are summed, X pixels of a line, T taps of all
results.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache, lru_cache
from typing import Final, Literal

import attrs
import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from mmcore_tiling.grids import Size

Way = Literal["across", "down"]
"""Across, columns are summed; down, rows are."""

_REACH: Final = 2.0
"""How far a pixel of the result looks to either side, in pixels of the smaller picture."""

_HALF: Final = 2**11
_WHOLE: Final = _HALF * _HALF
"""Pillow rounds its weights to whole parts of this."""

_STRIP: Final = 96
"""Pixels of the lines that are summed first: a strip of the picture stays in a core's cache."""

_SUMS_AT_A_TIME: Final = 2**18
"""Float32 values that stay in a core's cache until they are bytes."""

_SCALE, _ROUNDING, _NO_BIAS = np.array([1.0, 0.5, 0.0], dtype=np.float32).view(np.int32)

_FEW_PIXELS: Final = 2**15
"""Where picture and results have fewer, Pillow is done before the kernel is prepared."""


def resize_exactly(image: Image.Image, sizes: Sequence[Size]) -> list[NDArray[np.uint8]]:
    """Pillow's own pixels: an RGB picture in each of the (width, height), as CHW."""
    resized = [image.resize(size, Image.Resampling.BICUBIC) for size in sizes]
    return [np.asarray(one).transpose(2, 0, 1) for one in resized]


@torch.inference_mode()
def resize_fast(image: Image.Image, sizes: Sequence[Size]) -> list[NDArray[np.uint8]]:
    """The same within one grey level, sooner.

    Where the processor has no fast kernel, or the picture is small, it is Pillow that is sooner.
    """
    pixels = image.width * image.height + sum(width * height for width, height in sizes)
    if pixels < _FEW_PIXELS or not has_kernel():
        return resize_exactly(image, sizes)
    resized = {image.size: _channels(_held(image))} if image.size in sizes else {}
    ways: tuple[Way, ...] = ("across", "down")
    for way in ways:
        chosen = [one for one in sizes if one != image.size and _first(image.size, one) == way]
        if chosen:
            resized.update(zip(chosen, _resize(image, chosen, way), strict=True))
    return [resized[size] for size in sizes]


@cache
def has_kernel() -> bool:
    """Whether torch has the kernel in a form that is faster than Pillow: on x86 processors."""
    known = hasattr(torch.ops.quantized, "embedding_bag_byte_rowwise_offsets")
    return known and "fbgemm" in torch.backends.quantized.supported_engines


def _first(old: Size, new: Size) -> Way:
    """Which way Pillow resizes first, which decides what is rounded in between.

    Older ones begin across; later ones begin down where they take that for less work.
    """
    if old[0] == new[0]:
        return "down"
    lower = old[1] - new[1]
    is_less = lower > 0 and lower > 2 * (old[0] - new[0])
    return "down" if is_less and _pillow_chooses() else "across"


@cache
def _pillow_chooses() -> bool:
    """Whether this Pillow is one of the later ones."""
    noise = np.random.default_rng(0).integers(0, 256, (64, 8, 3), dtype=np.uint8)
    picture = Image.fromarray(noise)
    (found,) = resize_exactly(picture, [(7, 16)])
    low = picture.resize((8, 16), Image.Resampling.BICUBIC)
    return bool((found == resize_exactly(low, [(7, 16)])[0]).all())


def _resize(image: Image.Image, sizes: Sequence[Size], way: Way) -> list[NDArray[np.uint8]]:
    """Sizes that are all made this way first; as CHW."""
    along, beside = (0, 1) if way == "across" else (1, 0)
    count = image.size[beside]
    taps = _joined(image.size[along], tuple(size[along] for size in sizes))
    tables = [_table(count, size[along]) for size in sizes]
    for begin in range(0, count, _STRIP):
        sums_LX = torch.from_numpy(_exact_sums(_strip(image, begin, way), taps))
        turned_XL, first = sums_LX.t().contiguous().numpy(), 0
        for size, table in zip(sizes, tables, strict=True):
            part = table[begin : begin + _STRIP, : size[along]]
            part[:] = turned_XL[: len(part), first : first + size[along]]
            first += size[along]
    resized = []
    for size, table in zip(sizes, tables, strict=True):
        done = size[beside] == count
        pixels = table if done else _sums(table, _taps(count, size[beside]))
        pixels = pixels[:, : size[along]]
        resized.append(_channels(pixels if way == "across" else pixels.T))
    return resized


def _strip(image: Image.Image, begin: int, way: Way) -> NDArray[np.int32]:
    """A table of the lines that are summed this way, of each ``_STRIP`` pixels from ``begin``."""
    end = begin + _STRIP
    if way == "across":
        part = image.crop((0, begin, image.width, end)).transpose(Image.Transpose.TRANSPOSE)
    else:
        part = image.crop((begin, 0, end, image.height))
    table = _table(part.height, _STRIP)
    table[:, :_STRIP] = _held(part)
    return table


def _held(image: Image.Image) -> NDArray[np.int32]:
    """HW pixels as Pillow holds them and the tables too: four bytes each, moved as an int32."""
    pixels = np.frombuffer(image.tobytes("raw", "RGBX"), dtype=np.int32)
    return pixels.reshape(image.height, image.width)


def _table(lines: int, length: int) -> NDArray[np.int32]:
    """Room for lines of pixels, and behind each, as the kernel wants them, a scale and a bias that
    its bytes are read with; the bias of one half rounds sums whose weights add up to one.

    Lines are a little longer than asked for: the kernel is made anew for every length.
    """
    table = np.empty((lines, -(-length // _STRIP) * _STRIP + 2), dtype=np.int32)
    table[:, length:-2] = 0
    table[:, -2], table[:, -1] = _SCALE, _ROUNDING
    return table


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

    @property
    def results(self) -> int:
        return len(self.starts) - 1

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


@lru_cache(maxsize=32)
def _joined(length: int, new_lengths: tuple[int, ...]) -> _Taps:
    """Taps of several results, one after another."""
    each = [_taps(length, one) for one in new_lengths]
    befores = np.cumsum([0, *(len(one.lines_T) for one in each)])
    starts = [one.starts[:-1] + int(before) for one, before in zip(each, befores, strict=False)]
    return _Taps(
        lines_T=torch.cat([one.lines_T for one in each]),
        weights_T=torch.cat([one.weights_T for one in each]),
        upper_T=torch.cat([one.upper_T for one in each]),
        lower_T=torch.cat([one.lower_T for one in each]),
        starts=torch.cat([*starts, torch.tensor(befores[-1:], dtype=torch.int32)]),
    )


@lru_cache(maxsize=128)
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
    starts = np.concatenate([[0], np.cumsum(behind - first)])
    upper_T = (whole_T + _HALF // 2) // _HALF
    # Upper parts of a result add up to one, so that a bias comes through them unchanged.
    upper_T[starts[:-1]] += _HALF - np.add.reduceat(upper_T, starts[:-1])
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


def _exact_sums(table: NDArray[np.int32], taps: _Taps) -> NDArray[np.int32]:
    """Weighted sums of lines, rounded as integers are; as pixels."""
    # A sum of the lower parts is a whole number of the last bits of the upper ones and some.
    table[:, -1] = _NO_BIAS
    lower = _bags(table, taps, taps.lower_T).floor_()
    table[:, -1] = _ROUNDING
    return _bytes(_bags(table, taps, taps.upper_T).add_(lower, alpha=1 / _HALF))


def _sums(table: NDArray[np.int32], taps: _Taps) -> NDArray[np.int32]:
    """Weighted sums of lines, rounded after float32 has rounded them; as pixels."""
    results = np.empty((taps.results, table.shape[1] - 2), dtype=np.int32)
    step = max(1, _SUMS_AT_A_TIME // results.view(np.uint8).shape[1])
    for begin in range(0, taps.results, step):
        part = taps.part(begin, begin + step)
        _bytes(_bags(table, part, part.weights_T), out=results[begin : begin + step])
    return results


def _bags(table: NDArray[np.int32], taps: _Taps, weights_T: torch.Tensor) -> torch.Tensor:
    """Weighted sums of a table's lines, float32."""
    sums: torch.Tensor = torch.ops.quantized.embedding_bag_byte_rowwise_offsets(
        torch.from_numpy(table).view(torch.uint8),
        taps.lines_T,
        taps.starts,
        per_sample_weights=weights_T,
        include_last_offset=True,
    )
    return sums


def _bytes(sums: torch.Tensor, out: NDArray[np.int32] | None = None) -> NDArray[np.int32]:
    """Sums as pixels; what is behind the point is cut off."""
    pixels = np.empty((len(sums), sums.shape[1] // 4), dtype=np.int32) if out is None else out
    # numpy does this in a quarter of torch's time.
    np.copyto(pixels.view(np.uint8), sums.clamp_(0, 255).numpy(), casting="unsafe")
    return pixels


def _channels(pixels_HW: NDArray[np.int32]) -> NDArray[np.uint8]:
    """The three colours of pixels of four bytes, as CHW."""
    channels_CHW = np.empty((3, *pixels_HW.shape), dtype=np.uint8)
    for number, channel_HW in enumerate(channels_CHW):
        # Shifting whole pixels takes a third of the time of taking every fourth byte.
        np.copyto(channel_HW, pixels_HW >> 8 * number, casting="unsafe")
    return channels_CHW
