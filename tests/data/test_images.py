"""Every kind of picture becomes upright RGB of the size that its header says, or a rejection."""

import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mmcore.data import images
from mmcore.data.images import decode, image_size, of_picture
from mmcore.interfaces import ImageRef, Rejection


def encode(image: Image.Image, form: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, form, **options)
    return buffer.getvalue()


def corner(data: bytes) -> tuple[int, ...]:
    image = decode(data)
    assert image.mode == "RGB"
    return tuple(np.asarray(image)[0, 0].tolist())


@pytest.mark.parametrize("turn", range(1, 9))
@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP"])
def test_exif_orientation_turns_picture_and_size(turn: int, form: str) -> None:
    """The reference is Pillow's own exif_transpose."""
    from PIL import ImageOps

    pixels = np.zeros((40, 64, 3), np.uint8)
    pixels[:20, :32], pixels[20:, 32:] = (250, 0, 0), (0, 0, 250)
    exif = Image.Exif()
    exif[0x0112] = turn
    data = encode(Image.fromarray(pixels), form, exif=exif)
    wanted = ImageOps.exif_transpose(Image.open(io.BytesIO(data))).convert("RGB")
    assert image_size(data) == wanted.size == ((40, 64) if turn > 4 else (64, 40))
    assert np.array_equal(np.asarray(decode(data)), np.asarray(wanted))


def test_sixteen_bits_are_scaled_not_clipped() -> None:
    grey = np.array([[0, 257 * 100 + 128, 257 * 100 + 129, 65535]], np.uint16)
    data = encode(Image.fromarray(grey), "PNG")
    assert np.asarray(decode(data))[0, :, 0].tolist() == [0, 100, 101, 255]


def test_transparency_shows_white() -> None:
    assert corner(encode(Image.new("RGBA", (4, 4), (9, 9, 9, 0)), "PNG")) == (255, 255, 255)
    assert corner(encode(Image.new("LA", (4, 4), (0, 51)), "PNG")) == (204, 204, 204)
    palette = Image.new("P", (4, 4), 1)
    palette.putpalette([0, 0, 0, 10, 20, 30])
    assert corner(encode(palette, "PNG")) == (10, 20, 30)
    assert corner(encode(palette, "PNG", transparency=1)) == (255, 255, 255)
    keyed = encode(Image.new("RGB", (4, 4), (1, 2, 3)), "PNG", transparency=(1, 2, 3))
    assert corner(keyed) == (255, 255, 255)


def test_cmyk_and_one_bit() -> None:
    red = corner(encode(Image.new("CMYK", (8, 8), (0, 255, 255, 0)), "JPEG", quality=100))
    assert red[0] > 240
    assert max(red[1:]) < 15
    assert corner(encode(Image.new("1", (4, 4), 1), "PNG")) == (255, 255, 255)


def test_first_frame_of_an_animation() -> None:
    frames = [Image.new("RGB", (4, 4), colour) for colour in ("red", "blue")]
    data = encode(frames[0], "GIF", save_all=True, append_images=frames[1:])
    assert corner(data) == (255, 0, 0)


PAGES = [("red", (4, 6)), ("lime", (9, 5)), ("blue", (3, 3))]


def pages() -> bytes:
    first, *rest = (Image.new("RGB", size, colour) for colour, size in PAGES)
    return encode(first, "TIFF", save_all=True, append_images=rest)


@pytest.mark.parametrize("frame", [0, 1, 2])
def test_frames_of_a_tiff_have_their_own_sizes_and_pixels(frame: int) -> None:
    colour, size = PAGES[frame]
    ref = ImageRef(data=pages(), frame=frame)
    assert of_picture(ref, image_size) == size
    assert of_picture(ref, decode).tobytes() == Image.new("RGB", size, colour).tobytes()


def test_frame_of_an_animation() -> None:
    frames = [Image.new("RGB", (4, 4), colour) for colour in ("red", "blue")]
    data = encode(frames[0], "GIF", save_all=True, append_images=frames[1:])
    assert decode(data, 1).getpixel((0, 0)) == (0, 0, 255)


@pytest.mark.parametrize("read", [image_size, decode])
def test_frame_that_is_not_there_is_rejected(
    read: Callable[[bytes, int], object], tmp_path: Path
) -> None:
    with pytest.raises(Rejection, match="frame 3: the file ends before it") as caught:
        of_picture(ImageRef(data=pages(), frame=3), read)
    assert caught.value.reason == "frame-missing"
    (tmp_path / "a.png").write_bytes(encode(Image.new("L", (3, 3)), "PNG"))
    with pytest.raises(Rejection, match=r"frame-missing: 'a\.png' frame 1: the"):
        of_picture(ImageRef(path="a.png", root=str(tmp_path), frame=1), read)


def test_the_header_of_a_frame_gives_its_size(monkeypatch: pytest.MonkeyPatch) -> None:
    data = pages()
    monkeypatch.setattr(Image.Image, "load", lambda self: pytest.fail("decoded"))
    assert [image_size(data, frame) for frame in range(3)] == [size for _, size in PAGES]


def test_size_of_every_frame_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    data = pages()
    monkeypatch.setattr(images, "MAX_PIXELS", 30)
    assert image_size(data, 2) == (3, 3)
    with pytest.raises(Rejection, match="image-too-large: 9 x 5"):
        decode(data, 1)


@pytest.mark.filterwarnings("ignore:Truncated File Read")
def test_cut_frame_is_rejected() -> None:
    data = pages()
    with pytest.raises(Rejection, match="image-unreadable"):
        decode(data[: len(data) - 100], 2)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "image-unreadable"),
        (b"<html>not found</html>", "image-unreadable"),
        (b"\x89PNG\r\n\x1a\n" + b"\0" * 40, "image-unreadable"),
    ],
)
def test_no_picture_is_rejected_at_the_header(data: bytes, reason: str) -> None:
    with pytest.raises(Rejection) as caught:
        image_size(data)
    assert caught.value.reason == reason


@pytest.mark.parametrize("form", ["JPEG", "PNG", "GIF", "WEBP", "TIFF"])
def test_half_a_file_is_rejected(form: str) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    data = encode(Image.fromarray(noise), form)
    with pytest.raises(Rejection) as caught:
        decode(data[: len(data) // 2])
    assert caught.value.reason == "image-unreadable"


def test_size_is_bounded_before_decoding(monkeypatch: pytest.MonkeyPatch) -> None:
    data = encode(Image.new("L", (30, 20)), "PNG")
    monkeypatch.setattr(images, "MAX_PIXELS", 599)
    monkeypatch.setattr(Image.Image, "load", lambda self: pytest.fail("decoded"))
    for read in (image_size, decode):
        with pytest.raises(Rejection, match="30 x 20") as caught:
            read(data)
        assert caught.value.reason == "image-too-large"


def test_a_bomb_is_too_large() -> None:
    head = encode(Image.new("1", (20000, 20000)), "PNG")
    with pytest.raises(Rejection) as caught:
        image_size(head)
    assert caught.value.reason == "image-too-large"


def test_the_header_alone_gives_the_size(monkeypatch: pytest.MonkeyPatch) -> None:
    data = encode(Image.new("RGB", (30, 20)), "PNG")
    monkeypatch.setattr(Image.Image, "load", lambda self: pytest.fail("decoded"))
    assert image_size(data) == (30, 20)


def test_unknown_pixel_range_is_rejected() -> None:
    with pytest.raises(Rejection) as caught:
        decode(encode(Image.new("F", (4, 4)), "TIFF"))
    assert caught.value.reason == "image-mode"
