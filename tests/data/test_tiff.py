"""Any page of a TIFF is read as Pillow reads it, without the pages before it."""

import io
import struct

import numpy as np
import pytest
from PIL import Image

from mmcore.data.images import decode, image_size
from mmcore.data.tiff import at_page, is_tiff
from mmcore.interfaces import Rejection

RNG = np.random.default_rng(0)
PAGES = [
    Image.fromarray(RNG.integers(0, 256, (height, width, 3), np.uint8))
    for height, width in ((40, 30), (7, 90), (64, 64), (33, 21))
]


def pages(**options):
    buffer = io.BytesIO()
    PAGES[0].save(buffer, "TIFF", save_all=True, append_images=PAGES[1:], **options)
    return buffer.getvalue()


def one_page(order, big):
    """A page of one grey pixel a directory, three of them, written by hand."""
    count, place = ("Q", "Q") if big else ("H", "I")
    mark = b"II" if order == "<" else b"MM"
    head = mark + (struct.pack(order + "HHH", 43, 8, 0) if big else struct.pack(order + "H", 42))
    data = head + struct.pack(order + place, 0)
    links = [len(head)]
    tags = {256: 1, 257: 1, 258: 8, 259: 1, 262: 1, 277: 1, 278: 1, 279: 1}
    for value in (10, 20, 30):
        pixel, directory = len(data), len(data) + 8
        entries = {**tags, 273: pixel}
        packed = b"".join(
            struct.pack(order + "HH" + place, tag, 4, 1)
            + struct.pack(order + "I", entries[tag])
            + b"\0" * (4 if big else 0)
            for tag in sorted(entries)
        )
        at = directory + struct.calcsize(order + count) + len(packed)
        data += bytes([value]) + b"\0" * 7 + struct.pack(order + count, len(entries)) + packed
        data += struct.pack(order + place, 0)
        size = struct.calcsize(order + place)
        data = data[: links[-1]] + struct.pack(order + place, directory) + data[links[-1] + size :]
        links.append(at)
    return data, links


@pytest.mark.parametrize("compression", [None, "tiff_lzw", "tiff_adobe_deflate", "jpeg"])
@pytest.mark.parametrize("big", [False, True])
def test_pages_are_those_that_pillow_finds(compression, big):
    data = pages(compression=compression, big_tiff=big)
    assert is_tiff(data)
    for number, page in enumerate(PAGES):
        with Image.open(io.BytesIO(data)) as whole:
            whole.seek(number)
            wanted = np.asarray(whole.convert("RGB"))
        assert image_size(data, number) == page.size
        assert np.array_equal(np.asarray(decode(data, number)), wanted)
    with pytest.raises(Rejection, match="frame-missing: the file ends before it: 4 pages"):
        decode(data, 4)


@pytest.mark.parametrize(
    ("order", "big"),
    [("<", False), (">", False), ("<", True)],  # Pillow opens no BigTIFF that begins with MM
)
def test_both_orders_of_bytes(order, big):
    data, _ = one_page(order, big)
    values = [int(np.asarray(Image.open(at_page(data, page)))[0, 0]) for page in range(3)]
    assert values == [10, 20, 30]


def test_a_chain_that_bites_its_tail_ends():
    data, links = one_page("<", big=False)
    (first,) = struct.unpack_from("<I", data, 4)
    data = data[: links[-1]] + struct.pack("<I", first) + data[links[-1] + 4 :]
    with pytest.raises(EOFError, match="3 pages"):
        at_page(data, 3)


@pytest.mark.filterwarnings("ignore:Corrupt EXIF data")
def test_a_page_beyond_the_end_of_a_cut_file_is_unreadable():
    data, links = one_page("<", big=False)
    cut = data[: links[1] + 4]
    assert decode(cut, 0).size == (1, 1)
    with pytest.raises(Rejection, match="image-unreadable"):
        decode(cut, 1)
    with pytest.raises(Rejection, match="frame-missing"):
        decode(cut, 2)


@pytest.mark.parametrize("data", [b"", b"II*\0", b"GIF89a" + b"\0" * 20, b"\x89PNG\r\n\x1a\n" * 3])
def test_other_bytes_are_no_tiff(data):
    assert not is_tiff(data)


def test_no_page_is_visited_on_the_way_to_another(monkeypatch):
    data = pages()
    monkeypatch.setattr(Image.Image, "seek", lambda self, frame: pytest.fail("sought"))
    assert [image_size(data, page) for page in (3, 0, 2)] == [PAGES[n].size for n in (3, 0, 2)]


def test_the_first_bytes_are_replaced_wherever_they_are_read():
    data, _ = one_page("<", big=False)
    whole = at_page(data, 1)
    expected = whole.read()
    assert expected[8:] == data[8:]
    assert expected[4:8] != data[4:8]
    for begin, size in ((0, 3), (3, 4), (7, 5), (8, 4), (2, -1)):
        whole.seek(begin)
        assert whole.read(size) == expected[begin:][: size if size >= 0 else None]
