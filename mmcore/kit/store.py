"""Files wherever they lie: a local path is opened plainly, a URL through fsspec.

URLs are those that fsspec knows: ``s3://``, ``gs://``, ``https://``, ``memory://`` and others.
Credentials and endpoints come from the environment, as the store's own tools read them. fsspec is
imported when the first URL is met.
"""

from __future__ import annotations

import errno
import functools
import io
import os
import posixpath
import time
from typing import TYPE_CHECKING, BinaryIO, Final, cast

if TYPE_CHECKING:
    from fsspec import AbstractFileSystem

Version = tuple[object, ...]
"""Two versions of a file differ; what is kept about a file is kept under its version."""

AHEAD: Final = 4 * 1024 * 1024
"""What is asked of a store at a time where a file is read from one end to the other."""

TRUSTED_SECONDS: Final = 60
"""So long a file of a store is taken to be unchanged without asking again."""

_STAMPS: Final = (
    "ETag",
    "etag",
    "md5Hash",
    "LastModified",
    "last_modified",
    "updated",
    "mtime",
    "created",
    "size",
)


def is_url(path: str) -> bool:
    """Whether a path names a file of a store; ``file://`` is the local disk."""
    return "://" in path and not path.startswith("file://")


def local(path: str) -> str:
    """A local path without ``file://`` before it; anything else as it is."""
    return path.removeprefix("file://")


def join(root: str, name: str) -> str:
    """A name below a folder or URL."""
    return f"{root.rstrip('/')}/{name}" if is_url(root) else os.path.join(local(root), name)


def filesystem(url: str) -> tuple[AbstractFileSystem, str]:
    """The store of a URL, and the path in it.

    Raises:
        ValueError: the store is of an unknown kind, or the package that reads it is missing.
    """
    # fsspec keeps one of a kind for every thread, and renews them in a forked process.
    from fsspec.core import url_to_fs

    try:
        return cast("tuple[AbstractFileSystem, str]", url_to_fs(url))
    except ImportError as error:
        kind = url.partition("://")[0]
        if kind in ("s3", "s3a"):
            help_ = "pip install 'mmcore[s3]'"
        else:
            help_ = f"fsspec's page of {kind}:// says which package"
        raise ValueError(f"{url}: what reads {kind}:// is not installed: {help_}") from error


def version(path: str) -> Version:
    """What changes when the file is written anew: its time and size, or the store's own mark.

    Raises:
        FileNotFoundError: there is no such file.
    """
    if not is_url(path):
        status = os.stat(local(path))
        return status.st_mtime_ns, status.st_size
    info = _info(path, int(time.monotonic() // TRUSTED_SECONDS))
    return tuple(str(info[stamp]) for stamp in _STAMPS if stamp in info)


def size(path: str) -> int:
    """Bytes of a file."""
    if not is_url(path):
        return os.stat(local(path)).st_size
    return int(cast(int, _info(path, int(time.monotonic() // TRUSTED_SECONDS))["size"]))


def is_file(path: str) -> bool:
    """Whether there is such a file."""
    if not is_url(path):
        return os.path.isfile(local(path))
    store, inner = filesystem(path)
    return bool(store.isfile(inner))


def names_in(url: str) -> frozenset[str]:
    """Names of what lies in a folder of a store; none where there is no such folder."""
    store, inner = filesystem(url)
    try:
        return frozenset(posixpath.basename(path) for path in store.ls(inner, detail=False))
    except FileNotFoundError:
        return frozenset()


def read_bytes(path: str) -> bytes:
    """A whole file."""
    if not is_url(path):
        with open(local(path), "rb") as file:
            return file.read()
    store, inner = filesystem(path)
    try:
        # From the first byte on: for a whole file, s3fs would ask for its size first.
        return cast(bytes, store.cat_file(inner, start=0))
    except Exception as error:
        # An empty file has no first byte.
        if getattr(error, "errno", None) != errno.EINVAL and getattr(error, "status", None) != 416:
            raise
        return cast(bytes, store.cat_file(inner))


def open_binary(path: str, ahead: int = 0) -> BinaryIO:
    """The file, to seek and read in.

    Args:
        ahead: bytes that are asked of a store at a time; 0: those that are read, no more.
    """
    if not is_url(path):
        return open(local(path), "rb")
    remote = RemoteFile(path)
    return cast(BinaryIO, io.BufferedReader(remote, ahead) if ahead else remote)


class RemoteFile(io.RawIOBase):
    """A file of a store; every read is one request for that range.

    Raises:
        FileNotFoundError: there is no such file.
    """

    def __init__(self, url: str) -> None:
        super().__init__()
        self._url, self._size, self._at = url, size(url), 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        start = {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self._size}[whence]
        self._at = max(0, start + offset)
        return self._at

    def tell(self) -> int:
        return self._at

    def read(self, size: int | None = -1) -> bytes:
        end = self._size if size is None or size < 0 else min(self._at + size, self._size)
        if end <= self._at:
            return b""
        store, inner = filesystem(self._url)
        data = cast(bytes, store.cat_file(inner, start=self._at, end=end))
        if len(data) != end - self._at:
            raise ConnectionError(
                f"{self._url}: {len(data)} bytes came from byte {self._at} on, "
                f"wanted {end - self._at}"
            )
        self._at = end
        return data

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]  # any buffer
        data = self.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)


@functools.lru_cache(maxsize=4096)
def _info(url: str, _period: int) -> dict[str, object]:
    """What the store says of a file; asked once in every period."""
    store, inner = filesystem(url)
    # A listing that the store's driver keeps would never show that the file has changed.
    store.invalidate_cache(posixpath.dirname(inner))
    return cast(dict[str, object], store.info(inner))
