"""The encoded bytes of a picture: from the row, or from a file below a folder or URL."""

from __future__ import annotations

import errno
import posixpath
from pathlib import Path, PurePosixPath
from typing import Final
from urllib.parse import quote

from mmcore.interfaces import ImageRef, Rejection
from mmcore.kit import store

_NO_FILE: Final = (errno.ENOENT, errno.ENOTDIR)
_NOT_TO_BE_READ: Final = (errno.EISDIR, errno.EACCES, errno.EPERM, errno.ENAMETOOLONG, errno.ELOOP)
"""What the file of one row can be to blame for; other faults are the machine's."""


def picture_bytes(ref: ImageRef) -> bytes:
    """The encoded bytes of a picture.

    Raises:
        Rejection: ``image-outside-root``, ``image-missing`` or ``image-unreadable``, with the path.
        Exception: what the disk or the store raises; then nothing is known of the row.
    """
    if ref.data is not None:
        return ref.data
    if "\0" in ref.path:
        raise Rejection("image-missing", f"no file can be called {ref.path!r}")
    return _of_url(ref) if store.is_url(ref.root) else _of_file(ref)


def _of_file(ref: ImageRef) -> bytes:
    root = Path(store.local(ref.root)).resolve()
    try:
        target = (root / ref.path).resolve()
        if PurePosixPath(ref.path).is_absolute() or not target.is_relative_to(root):
            raise _outside(ref)
        return target.read_bytes()
    except OSError as error:
        if error.errno in _NO_FILE:
            raise Rejection("image-missing", f"no file {str(root / ref.path)!r}") from None
        if error.errno in _NOT_TO_BE_READ:
            raise Rejection("image-unreadable", f"{ref.path!r}: {error}") from error
        raise


def _of_url(ref: ImageRef) -> bytes:
    # A store knows neither "." nor "..": it would look for an object of that very name.
    name = posixpath.normpath(ref.path)
    if PurePosixPath(ref.path).is_absolute() or name == ".." or name.startswith("../"):
        raise _outside(ref)
    # A web server's client would undo escapes, after the check, and cut off what ? and # begin.
    escaped = quote(name) if ref.root.startswith(("http://", "https://")) else name
    target = store.join(ref.root, escaped)
    try:
        # Access that is denied is no fault of a row: it will be denied for all.
        return store.read_bytes(target)
    except FileNotFoundError:
        raise Rejection("image-missing", f"no file {target!r}") from None
    except IsADirectoryError as error:
        raise Rejection("image-unreadable", f"{target!r}: {error}") from error


def _outside(ref: ImageRef) -> Rejection:
    return Rejection("image-outside-root", f"{ref.path!r} leaves {ref.root!r}")
