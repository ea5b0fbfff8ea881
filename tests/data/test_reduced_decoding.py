"""JPEGs that are decoded at a part of their size, upright, and cut as planned."""

from __future__ import annotations

import io
from typing import ClassVar

import attrs
import numpy as np
import pytest
from PIL import Image

from mmcore.data.images import decode, image_size
from mmcore.data.prepare import realise
from mmcore.data.tokenized import PlannedPicture
from mmcore.interfaces import ImageRef, Rejection, TilePlan, TilerSpec, Tiles, ViewFormat

VIEW = ViewFormat(size=8, patch_rows=2, patch_cols=2, patch_size=4)


def encoded(width: int, height: int, form: str = "JPEG", orientation: int = 1) -> bytes:
    y, x = np.mgrid[:height, :width]
    grey = (250 * x / width * y / height).astype(np.uint8)
    exif = Image.Exif()
    exif[0x0112] = orientation
    file = io.BytesIO()
    picture = Image.fromarray(np.stack([grey, grey // 2, 255 - grey], axis=-1))
    picture.save(file, form, exif=exif)
    return file.getvalue()


@pytest.mark.parametrize(
    ("least_size", "size"),
    [
        (None, (203, 100)),
        ((203, 100), (203, 100)),
        ((102, 50), (203, 100)),
        ((101, 50), (102, 50)),
        ((50, 51), (203, 100)),
        ((50, 25), (51, 25)),
        ((1, 1), (26, 13)),
    ],
)
def test_both_sides_stay_as_long_as_wanted(
    least_size: tuple[int, int] | None, size: tuple[int, int]
) -> None:
    assert decode(encoded(203, 100), least_size=least_size).size == size
    assert decode(encoded(203, 100, "PNG"), least_size=least_size).size == (203, 100)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_turned_picture_is_reduced_by_its_upright_sides(orientation: int) -> None:
    data = encoded(200, 104, orientation=orientation)
    width, height = image_size(data)
    # Only one of the two ways round leaves room for a quarter.
    reduced = decode(data, least_size=(width // 4, height // 4))
    assert reduced.size == (width // 4, height // 4)
    whole = decode(data).resize(reduced.size, Image.Resampling.BOX)
    difference = np.abs(np.asarray(reduced).astype(int) - np.asarray(whole))
    assert difference.mean() < 2


@attrs.frozen(kw_only=True)
class Squashing(TilerSpec):
    """One view; a picture may be reduced to it if the spec says so."""

    name: ClassVar[str] = "squashing"
    reduces: bool

    @property
    def max_views(self) -> int:
        return 1

    def plan(
        self, width: int, height: int, view: ViewFormat, max_views: int | None = None
    ) -> TilePlan:
        return TilePlan(width, height, 0, 0, 1)

    def least_size(self, plan: TilePlan, view: ViewFormat) -> tuple[int, int] | None:
        return (view.size, view.size) if self.reduces else None

    def cut(self, image: Image.Image, plan: TilePlan, view: ViewFormat) -> Tiles:
        assert image.size == ((18, 15) if self.reduces else (70, 60))
        pixels_HWC = np.asarray(image.resize((view.size, view.size)))
        return Tiles(pixels_HWC.transpose(2, 0, 1)[None], np.ones((1, 4), dtype=np.bool_))


@pytest.mark.parametrize("reduces", [False, True])
def test_a_tiler_that_allows_it_is_given_a_reduced_picture(reduces: bool) -> None:
    tiler = Squashing(reduces=reduces)
    picture = PlannedPicture(ImageRef(data=encoded(70, 60)), tiler.plan(70, 60, VIEW), start=0)
    assert realise(picture, tiler, VIEW).pixels_NCHW.shape == (1, 3, 8, 8)


@pytest.mark.parametrize("reduces", [False, True])
def test_another_picture_than_planned_is_rejected(reduces: bool) -> None:
    tiler = Squashing(reduces=reduces)
    picture = PlannedPicture(ImageRef(data=encoded(70, 50)), tiler.plan(70, 60, VIEW), start=0)
    with pytest.raises(Rejection, match="image-changed: planned as 70 x 60"):
        realise(picture, tiler, VIEW)


def test_half_a_picture_is_another_one_where_nothing_is_reduced() -> None:
    tiler = Squashing(reduces=False)
    picture = PlannedPicture(ImageRef(data=encoded(35, 30)), tiler.plan(70, 60, VIEW), start=0)
    with pytest.raises(Rejection, match="image-changed"):
        realise(picture, tiler, VIEW)


@pytest.mark.parametrize("frame", [0, 1])
def test_every_frame_of_a_stereo_picture_is_reduced(frame: int) -> None:
    file = io.BytesIO()
    left, right = (Image.new("RGB", (80, 40), colour) for colour in ("red", "blue"))
    left.save(file, "MPO", save_all=True, append_images=[right])
    reduced = decode(file.getvalue(), frame, least_size=(20, 10))
    assert reduced.size == (20, 10)
    red, _, blue = reduced.getpixel((5, 5))  # type: ignore[misc]
    assert (red > blue) == (frame == 0)


@pytest.mark.parametrize("mode", ["L", "CMYK"])
def test_pictures_of_other_colours_are_reduced_too(mode: str) -> None:
    file = io.BytesIO()
    Image.new("RGB", (80, 40), "white").convert(mode).save(file, "JPEG")
    reduced = decode(file.getvalue(), least_size=(20, 10))
    assert (reduced.mode, reduced.size) == ("RGB", (20, 10))
    assert min(reduced.getpixel((5, 5))) > 250  # type: ignore[arg-type, type-var]
