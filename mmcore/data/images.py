"""Encoded bytes to an RGB picture, bounded in pixels; every failure is a named rejection."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

import numpy as np
from PIL import Image, UnidentifiedImageError

from mmcore.data.faults import patiently
from mmcore.data.tiff import at_page, is_tiff
from mmcore.interfaces import ImageRef, Rejection
from mmcore.kit.picture_bytes import picture_bytes

Read = TypeVar("Read")

MAX_PIXELS = 64 * 1024 * 1024
"""The largest picture that is decoded: 8192 x 8192, an A3 page at 600 dots per inch."""

_ORIENTATION = 0x0112
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""How a picture is turned upright, by its EXIF orientation."""

_ON_ITS_SIDE = (5, 6, 7, 8)
"""Orientations in which width and height are exchanged."""


def image_size(data: bytes, frame: int = 0) -> tuple[int, int]:
    """Width and height of the picture as ``decode`` returns it, read from its header alone.

    Raises:
        Rejection: ``image-unreadable``, ``image-too-large``, or ``frame-missing``.
    """
    with _opened(data, frame) as (image, turn):
        width, height = image.size
        return (height, width) if turn in _ON_ITS_SIDE else (width, height)


def decode(data: bytes, frame: int = 0, least_size: tuple[int, int] | None = None) -> Image.Image:
    """The picture as RGB, upright; transparency on white; of several frames this one.

    Args:
        data: the encoded picture.
        frame: counted from 0.
        least_size: width and height, upright. A JPEG is decoded at a half, a quarter or an eighth
            of its size, rounded up, if both its sides stay this long; nothing else is reduced.

    Raises:
        Rejection: ``image-unreadable``, ``image-too-large``, ``frame-missing``, or ``image-mode``
            for pixels whose range is not known.
    """
    with _opened(data, frame) as (image, turn):
        if least_size is not None and image.format in ("JPEG", "MPO"):
            image.draft(None, least_size[::-1] if turn in _ON_ITS_SIDE else least_size)
        image.load()
        picture = _rgb(image)
        return picture.transpose(_UPRIGHT[turn]) if turn in _UPRIGHT else picture


def of_picture(ref: ImageRef, read: Callable[[bytes, int], Read]) -> Read:
    """What ``read`` (one of the above) finds in a picture; a rejection says which picture it was.

    Raises:
        Rejection: as ``read``, or as ``picture_bytes``.
        MachineFault: the disk or the store does not answer.
    """
    data = patiently(f"picture {ref.path!r}", lambda: picture_bytes(ref))
    try:
        return read(data, ref.frame)
    except Rejection as rejection:
        if not ref.path and not ref.frame:
            raise
        frame = f"frame {ref.frame}" if ref.frame else ""
        place = " ".join(filter(None, (repr(ref.path) if ref.path else "", frame)))
        raise Rejection(rejection.reason, f"{place}: {rejection.detail}") from rejection


@contextmanager
def _opened(data: bytes, frame: int) -> Iterator[tuple[Image.Image, int]]:
    """The frame, not decoded yet, and its EXIF orientation."""
    try:
        direct = frame > 0 and is_tiff(data)
        with Image.open(_at_page(data, frame) if direct else io.BytesIO(data)) as image:
            _check_size(image)
            if frame and not direct:
                # What is decoded on the way to a frame of an animation is bounded by the first.
                _seek(image, frame)
                _check_size(image)
            yield image, _orientation(image)
    except (Rejection, MemoryError):  # the machine's fault is not the row's
        raise
    except Image.DecompressionBombError as error:
        raise Rejection("image-too-large", str(error)) from error
    except Exception as error:
        # Pillow's decoders raise nearly anything on damaged bytes: OSError, SyntaxError,
        # struct.error, IndexError; all of them mean the same to us.
        if isinstance(error, UnidentifiedImageError):
            found = f"no picture: it begins with {data[:16]!r}" if data else "no bytes"
        else:
            found = f"{type(error).__name__}: {error}"
        raise Rejection("image-unreadable", found) from error


def _check_size(image: Image.Image) -> None:
    width, height = image.size
    if width * height > MAX_PIXELS:
        raise Rejection(
            "image-too-large", f"{width} x {height} pixels, at most {MAX_PIXELS} in all"
        )


def _at_page(data: bytes, page: int) -> io.BytesIO:
    try:
        return at_page(data, page)
    except EOFError as error:
        raise Rejection("frame-missing", f"the file ends before it: {error}") from error


def _seek(image: Image.Image, frame: int) -> None:
    try:
        image.seek(frame)
    except EOFError as error:
        raise Rejection("frame-missing", "the file ends before it") from error


def _orientation(image: Image.Image) -> int:
    # A PNG may carry EXIF behind its pixels, and Pillow would decode them to look for it.
    if image.format == "PNG" and "exif" not in image.info:
        return 1
    return int(image.getexif().get(_ORIENTATION, 1))


def _rgb(image: Image.Image) -> Image.Image:
    if image.mode == "RGB" and "transparency" not in image.info:
        return image
    if image.mode.startswith("I"):
        # Pillow clips 16 bits at 255 instead of scaling them; "I" holds 16-bit values as well.
        wide = np.clip(np.asarray(image).astype(np.int64), 0, 65535)
        grey = ((wide + 128) // 257).astype(np.uint8)
        return Image.fromarray(grey).convert("RGB")
    if image.mode == "F":
        raise Rejection("image-mode", "floating point pixels have no known range")
    if image.has_transparency_data:
        layer = image.convert("RGBA")
        white = Image.new("RGBA", layer.size, (255, 255, 255, 255))
        return Image.alpha_composite(white, layer).convert("RGB")
    return image.convert("RGB")
