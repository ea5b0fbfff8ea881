"""One bad row among good ones, in true files: it is counted by its reason, and no other is lost."""

from __future__ import annotations

import io
import json
import re
import struct
import tarfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from mmcore.data.faults import DataFault
from mmcore.data.lanes import RejectedRow
from mmcore.data.loader import PackLoader
from mmcore.interfaces import SourceSpec
from mmcore_blip3.captions_spec import Cc12mSpec
from mmcore_blip3.spec import LlavaJsonSpec

ROWS, BAD = 9, 4


def encode(image: Image.Image, form: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, form, **options)
    return buffer.getvalue()


def plain() -> Image.Image:
    """Left red, right blue, and a little wider than high."""
    image = Image.new("RGB", (24, 16), (200, 20, 20))
    image.paste((20, 20, 200), (12, 0, 24, 16))
    return image


def bomb() -> bytes:
    """The beginning of a PNG of 30,000 x 30,000 pixels; unpacked, it would take 2.7 GB."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    header = struct.pack(">IIBBBBB", 30_000, 30_000, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0" * 99))


def broken() -> dict[str, tuple[Any, Any, str, str]]:
    """Caption, picture, the reason for which the row is rejected, and what the detail says."""
    good, noise = encode(plain(), "JPEG"), np.random.default_rng(0).integers(0, 256, (64, 64, 3))
    large = encode(Image.fromarray(noise.astype(np.uint8)), "JPEG")
    return {
        "truncated-jpeg": (b"x", large[: len(large) // 2], "image-unreadable", "truncated"),
        "zero-byte": (b"x", b"", "image-unreadable", "no bytes"),
        "html": (b"x", b"<!DOCTYPE html><html>404", "image-unreadable", "begins with b'<!DOCTYPE"),
        "bomb": (b"x", bomb(), "image-too-large", "900000000 pixels"),
        "bad-utf8": (b"caf\xe9", good, "malformed-row", "wanted UTF-8"),
        "null-byte": (b"x\0y", good, "malformed-row", "null bytes"),
        "no-caption": (None, good, "caption-missing", "caption"),
        "no-picture": (b"x", None, "image-missing", "no picture"),
    }


def write_parquet(folder: Path, captions: list[Any], pictures: list[Any]) -> SourceSpec:
    raw = pa.array(captions, pa.binary())
    # Arrow does not look into the strings that it writes.
    text = pa.StringArray.from_buffers(
        len(raw), raw.buffers()[1], raw.buffers()[2], raw.buffers()[0]
    )
    table = pa.table(
        {"caption": text, "image_bytes": pa.array(pictures, pa.binary()), "n": captions}
    )
    pq.write_table(table, folder / "a.parquet", row_group_size=3)
    return Cc12mSpec(path=str(folder / "*.parquet"))


def write_tar(folder: Path, captions: list[Any], pictures: list[Any]) -> SourceSpec:
    members = {}
    for number, (caption, picture) in enumerate(zip(captions, pictures, strict=True)):
        members |= {f"{number}.jpg": picture, f"{number}.txt": caption, f"{number}.json": b"{}"}
    pack_tar(folder / "a.tar", {k: v for k, v in members.items() if v is not None})
    return Cc12mSpec(path=str(folder / "*.tar"))


def pack_tar(path: Path, members: dict[str, bytes]) -> None:
    with tarfile.open(path, "w") as tar:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))


@pytest.fixture
def read_all(preparer: Callable[..., Any]) -> Any:
    """The views of every row of the first epoch by number, and the rows that were rejected."""

    def read_all(spec: SourceSpec) -> tuple[dict[int, Any], list[RejectedRow]]:
        loader = PackLoader(
            sources=[("x", spec)],
            preparer=preparer(max_tokens=60),
            seed=3,
            lanes=1,
            packs_per_step=1,
            look_ahead=2,
            block_rows=4,
        )
        views: dict[int, Any] = {}
        rejected: dict[int, RejectedRow] = {}
        for _ in range(2 * ROWS):
            step = loader.next_step()
            for batch in step.batches:
                first = 0
                for segment in batch.segments:
                    views[segment.key.row] = batch.pixels_NCHW[first : first + segment.views]
                    first += segment.views
            rejected |= {one.key.row: one for one in step.rejected}
            assert step.counts.get("rejected", 0) == len(step.rejected)
        loader.close()
        return views, list(rejected.values())

    return read_all


@pytest.mark.parametrize("write", [write_parquet, write_tar])
@pytest.mark.parametrize("fault", broken())
@pytest.mark.filterwarnings("ignore:Truncated File Read")
def test_a_bad_row_is_counted_and_no_other_is_lost(
    fault: str, write: Any, read_all: Any, tmp_path: Path
) -> None:
    caption, picture, reason, detail = broken()[fault]
    captions: list[Any] = [b"caption %d" % number for number in range(ROWS)]
    pictures: list[Any] = [encode(plain(), "JPEG")] * ROWS
    captions[BAD], pictures[BAD] = caption, picture
    views, rejected = read_all(write(tmp_path, captions, pictures))
    assert set(views) == set(range(ROWS)) - {BAD}
    (found,) = rejected
    assert (found.key.source, found.key.row, found.reason) == ("x", BAD, reason)
    assert detail in found.detail


def unusual() -> dict[str, bytes]:
    """The plain picture in other ways of writing it."""
    image = plain()
    exif = Image.Exif()
    exif[0x0112] = 6  # turn right to see it upright
    wide = np.asarray(image.convert("L")).astype(np.uint16) * 257
    other = Image.new("RGB", image.size, (0, 200, 0))
    return {
        "cmyk": encode(image.convert("CMYK"), "JPEG", quality=100, subsampling=0),
        "palette": encode(image.convert("P", palette=Image.Palette.ADAPTIVE), "PNG"),
        "animated": encode(image, "GIF", save_all=True, append_images=[other]),
        "exif-rotated": encode(
            image.transpose(Image.Transpose.ROTATE_90),
            "JPEG",
            quality=100,
            subsampling=0,
            exif=exif,
        ),
        "16-bit": encode(Image.fromarray(wide), "PNG"),
    }


@pytest.mark.parametrize("write", [write_parquet, write_tar])
@pytest.mark.parametrize("kind", unusual())
def test_an_unusual_picture_arrives_with_the_right_pixels(
    kind: str, write: Any, read_all: Any, tmp_path: Path
) -> None:
    pictures = [encode(plain(), "PNG")] * ROWS
    pictures[BAD] = unusual()[kind]
    views, rejected = read_all(write(tmp_path, [b"x"] * ROWS, pictures))
    assert rejected == []
    assert set(views) == set(range(ROWS))
    # The neighbour is the same picture, written plainly: red and blue, or their greys.
    wanted = views[BAD - 1].float()
    if kind == "16-bit":
        weights = wanted.new_tensor([0.299, 0.587, 0.114])[:, None, None]
        wanted = (wanted * weights).sum(1, keepdim=True).expand_as(wanted)
    assert views[BAD].shape == wanted.shape
    assert (views[BAD].float() - wanted).abs().max() <= 4


def test_a_tar_cut_in_the_middle_loses_the_row_of_the_cut_alone(
    read_all: Any, tmp_path: Path
) -> None:
    spec = write_tar(tmp_path, [b"x"] * ROWS, [encode(plain(), "PNG")] * ROWS)
    whole = (tmp_path / "a.tar").read_bytes()
    row = whole.index(b"5.jpg")
    (tmp_path / "a.tar").write_bytes(whole[: row + 512 + 20])
    with pytest.warns(UserWarning, match=r"a\.tar ends at byte .* in the middle of '5\.jpg'"):
        views, (found,) = read_all(spec)
    assert set(views) == {0, 1, 2, 3, 4}
    assert (found.key.row, found.reason) == (5, "tar-cut")


def test_names_that_leave_the_folder_touch_no_file(read_all: Any, tmp_path: Path) -> None:
    """In a tar such a name is a name; of a picture's file it is a fault."""
    folder = tmp_path / "data"
    folder.mkdir()
    picture = encode(plain(), "PNG")
    pack_tar(folder / "a.tar", {"../../evil.jpg": picture, "../../evil.txt": b"x"})
    views, rejected = read_all(Cc12mSpec(path=str(folder / "*.tar")))
    assert (set(views), rejected) == ({0}, [])
    (tmp_path / "secret.png").write_bytes(picture)
    (folder / "fine.png").write_bytes(picture)
    names = ["fine.png", "../secret.png", str(tmp_path / "secret.png"), "gone.png", "./fine.png"]
    turns = [{"from": "human", "value": "?"}, {"from": "gpt", "value": "!"}]
    rows = [{"image": name, "conversations": turns} for name in names]
    (folder / "a.json").write_text(json.dumps(rows))
    views, rejected = read_all(LlavaJsonSpec(path=str(folder / "a.json")))
    assert set(views) == {0, 4}
    outside = "image-outside-root"
    assert {one.key.row: one.reason for one in rejected} == {
        1: outside,
        2: outside,
        3: "image-missing",
    }
    assert not (tmp_path.parent / "evil.jpg").exists()


@pytest.mark.parametrize("column", ["caption", "image_bytes"])
def test_a_missing_column_stops_the_run(column: str, read_all: Any, tmp_path: Path) -> None:
    spec = write_parquet(tmp_path, [b"x"] * ROWS, [encode(plain(), "PNG")] * ROWS)
    table = pq.read_table(tmp_path / "a.parquet")
    pq.write_table(table.drop_columns([column]), tmp_path / "a.parquet")
    kept = ", ".join(name for name in table.column_names if name != column)
    said = (
        rf"^source 'x', shard 'a\.parquet' .*a\.parquet has no column '{column}'.*it has: {kept}$"
    )
    with pytest.raises(DataFault, match=said):
        read_all(spec)


def test_a_shard_that_went_missing_stops_the_run(read_all: Any, tmp_path: Path) -> None:
    spec = write_parquet(tmp_path, [b"x"] * ROWS, [encode(plain(), "PNG")] * ROWS)
    (tmp_path / "b.parquet").symlink_to(tmp_path / "gone.parquet")
    views, _ = read_all(spec)
    assert set(views) == set(range(ROWS)), "a link to nothing is no shard"
    source = spec.open()
    (shard,) = source.shards()
    (tmp_path / "a.parquet").unlink()
    with pytest.raises(FileNotFoundError, match=re.escape(shard.path)):
        source.length(shard)
    with pytest.raises(DataFault, match=r"^source 'x', path '.*no file matches"):
        read_all(spec)


def test_damaged_pages_stop_the_run_and_name_the_file(read_all: Any, tmp_path: Path) -> None:
    spec = write_parquet(tmp_path, [b"x"] * ROWS, [encode(plain(), "PNG")] * ROWS)
    whole = bytearray((tmp_path / "a.parquet").read_bytes())
    whole[4:200] = b"\xff" * 196
    (tmp_path / "a.parquet").write_bytes(whole)
    with pytest.raises(
        DataFault, match=r"^source 'x', shard 'a\.parquet' .*cannot be read as parq"
    ):
        read_all(spec)
