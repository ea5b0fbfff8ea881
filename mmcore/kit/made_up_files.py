"""What made-up files are made of: encoded pictures, and tars of members with one key."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Final

from PIL import Image

_FORMATS: Final[Mapping[str, str]] = {"jpg": "jpeg", "tif": "tiff"}
"""Pillow's names of formats, where they differ from the suffix."""


def encoded(image: Image.Image, suffix: str) -> bytes:
    """The picture as a file with this suffix."""
    out = io.BytesIO()
    image.save(out, _FORMATS.get(suffix, suffix))
    return out.getvalue()


def frames(images: Sequence[Image.Image]) -> bytes:
    """Several pictures in one TIFF."""
    first, *others = images
    out = io.BytesIO()
    first.save(out, "tiff", save_all=True, append_images=others)
    return out.getvalue()


def write_tar(path: Path, rows: Iterable[tuple[str, Mapping[str, bytes]]]) -> None:
    """Write members ``<key>.<suffix>``; the same rows always give the same bytes."""
    with tarfile.open(path, "w") as tar:
        for key, members in rows:
            for suffix, data in members.items():
                member = tarfile.TarInfo(f"{key}.{suffix}")
                member.size = len(data)
                tar.addfile(member, io.BytesIO(data))
