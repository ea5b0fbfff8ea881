"""Pictures of prepared pairs, kept beside them under the hash of their content."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import Final

from mmcore.interfaces import ImageRef
from mmcore.kit.picture_bytes import picture_bytes
from mmcore.training.checkpoint_format import write_file

FOLDER: Final = "pictures"

_BEGINNINGS: Final = (
    (b"\x89PNG", "png"),
    (b"\xff\xd8", "jpg"),
    (b"GIF8", "gif"),
    (b"RIFF", "webp"),
    (b"BM", "bmp"),
    (b"II", "tif"),
    (b"MM", "tif"),
)
"""By how a file begins, its suffix; a picture with another beginning has the suffix "image"."""


def keep(folder: Path, ref: ImageRef) -> str:
    """Copy a picture's bytes as they are, if they are not there yet; its name below ``folder``.

    Raises:
        Rejection: there is no such picture.
    """
    data = picture_bytes(ref)
    digest = hashlib.blake2b(data, digest_size=16).hexdigest()
    suffix = next((one for start, one in _BEGINNINGS if data.startswith(start)), "image")
    name = f"{FOLDER}/{digest[:2]}/{digest}.{suffix}"
    target = folder / name
    if not target.exists():
        target.parent.mkdir(parents=True, exist_ok=True)
        new = target.with_suffix(".new")
        write_file(new, [data])
        os.replace(new, target)
    return name
